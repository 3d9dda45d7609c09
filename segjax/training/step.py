"""The training state and the pure, jitted steps that carry it forward."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import Array

from segjax.networks.build import initial_variables
from segjax.training import backend
from segjax.training.augment import Augment, Batch
from segjax.training.devices import ONE_DEVICE, Devices
from segjax.training.objective import Objective

SCAN_STEPS = 50  # steps that one compiled call runs on an accelerator

# Independent random streams are named by a number and drawn from the seed's key; see stream().
INIT_STREAM, STEP_STREAM = 0, 1


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """All that a step changes, and the key it draws from. Arrays only.

    Attributes:
      step: int32 [], steps taken.
      params: parameter tree, float32.
      batch_stats: running means and variances of the batch norms.
      opt_state: state of the optax optimizer.
      key: typed PRNG key of the run; step n draws from fold_in(key, n).
      ema: moving average of ``params``, or None when it is off.
    """

    step: Array
    params: Any
    batch_stats: Any
    opt_state: Any
    key: Array
    ema: Any = None

    def variables(self) -> dict[str, Any]:
        """Return what ``MUnet.apply`` takes, with the averaged parameters where there are any."""
        params = self.params if self.ema is None else self.ema
        return {"params": params, "batch_stats": self.batch_stats}


def stream(seed: int, number: int) -> Array:
    """Return the key of one of a seed's random streams."""
    return jax.random.fold_in(jax.random.key(seed), number)


def init_state(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    seed: int,
    image_shape: tuple[int, int, int] = (64, 64, 3),
    ema: bool = False,
) -> TrainState:
    """Draw initial weights from ``seed`` and build the state of step 0."""
    variables = initial_variables(model, stream(seed, INIT_STREAM), image_shape)
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer.init(params),
        key=stream(seed, STEP_STREAM),
        ema=jax.tree.map(jnp.copy, params) if ema else None,
    )


def make_train_step(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    objective: Objective,
    *,
    augment: Augment | None = None,
    ema_decay: float = 0.0,
) -> Callable[[TrainState, Batch], tuple[TrainState, Array]]:
    """Return the pure function (state, batch) -> (next state, loss), not yet jitted.

    ``batch`` holds 'images' [B, H, W, 3] (uint8, 0..255), 'masks' [B, H, W, C] (uint8, 0 or the
    class value) and, where some pixels have no truth, 'valid' bool [B, H, W]. The loss is float32
    [] and belongs to the weights before the step.
    """

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Array]:
        if augment is not None:
            batch = augment(jax.random.fold_in(state.key, state.step), batch)

        def loss_of(params: Any) -> tuple[Array, Any]:
            variables = {"params": params, "batch_stats": state.batch_stats}
            outputs, updated = model.apply(
                variables, batch["images"], train=True, mutable=["batch_stats"]
            )
            masks, valid = batch["masks"], batch.get("valid")
            loss = objective.loss(outputs, masks, valid=valid, step=state.step)
            return loss, updated.get("batch_stats", {})

        (loss, batch_stats), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        if (ema := state.ema) is not None:
            # Early on the average follows closely, so that it forgets the initial weights.
            taken = state.step.astype(jnp.float32)
            decay = jnp.minimum(ema_decay, (1.0 + taken) / (10.0 + taken))
            # In this form the average of equal numbers is that number, bit for bit.
            ema = jax.tree.map(lambda old, new: old + (1.0 - decay) * (new - old), ema, params)
        return TrainState(state.step + 1, params, batch_stats, opt_state, state.key, ema), loss

    return train_step


def take_batch(arrays: Batch, indices: Array) -> Batch:
    """Gather the rows ``indices`` [B], or of several runs [R, B], of each array."""
    return {name: jnp.take(array, indices, axis=0) for name, array in arrays.items()}


def make_steps(
    train_step: Callable[[TrainState, Batch], tuple[TrainState, Array]],
    *,
    scan: bool,
    devices: Devices = ONE_DEVICE,
) -> Callable[[TrainState, Batch, Any], tuple[TrainState, list[Array]]]:
    """Return (state, arrays, indices [K, B]) -> (state after K steps, losses), jitted.

    With the step of `segjax.training.vmapped` for R runs, indices are [K, R, B] and losses [k, R].

    The state is donated: use the one that comes back. ``arrays`` are the whole data set, resident
    on the device. With ``scan``, runs of SCAN_STEPS steps are one compiled call, which spares an
    accelerator the host's overhead; without, each step is a call, which on XLA:CPU is faster
    because convolution gradients inside a while loop take a slow path
    (https://github.com/jax-ml/jax/issues/12868). The numbers are the same. The losses come back as
    device arrays, [k] each, without waiting for them. With ``devices`` (default: one) state and
    arrays have to lie on them, and each batch is shared out among them.
    """

    def one(state: TrainState, arrays: Batch, indices: Array) -> tuple[TrainState, Array]:
        # The batch is the last axis of the indices, also of several runs'.
        axis = indices.ndim - 1
        batch = take_batch(arrays, devices.spread(indices, axis=axis))
        state, loss = train_step(state, devices.spread(batch, axis=axis))
        return devices.whole((state, loss))

    def many(state: TrainState, arrays: Batch, indices: Array) -> tuple[TrainState, Array]:
        return jax.lax.scan(lambda carry, rows: one(carry, arrays, rows), state, indices)

    step_once = backend.jit(one, donate_argnums=0)
    step_many = backend.jit(many, donate_argnums=0)

    def steps(state: TrainState, arrays: Batch, indices: Any) -> tuple[TrainState, list[Array]]:
        losses = []
        while len(indices):
            if scan and len(indices) >= SCAN_STEPS:
                state, loss = step_many(state, arrays, indices[:SCAN_STEPS])
            else:
                state, loss = step_once(state, arrays, indices[0])
                loss = loss[None]
            losses.append(loss)
            indices = indices[len(loss) :]
        return state, losses

    return steps
