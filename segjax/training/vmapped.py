"""Many runs in one program: losses, seeds and learning rates side by side, the data set shared.

A batch of 4 leaves an accelerator idle; R runs of 4 cost it little more. The runs never mix: each
has its own weights, optimizer state, random stream and batches. On XLA:CPU the same program is
slower than the runs one after another, because convolutions with R sets of kernels become a grouped
convolution, which has no fast path there.
"""

import types
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from segjax.errors import ConfigError
from segjax.training.augment import Augment, Batch
from segjax.training.objective import Objective
from segjax.training.step import TrainState, make_steps, make_train_step


class Member(NamedTuple):
    """What tells a run from the others, its seed aside: that is in its state and its batches."""

    objective: Objective
    learning_rate: float


def train_many(
    state: TrainState,
    arrays: Batch,
    indices: np.ndarray | Array,
    *,
    model: nn.Module,
    optimizer_of: Callable[[Any], optax.GradientTransformation],
    members: Sequence[Member],
    augment: Augment | None = None,
    ema_decay: float = 0.0,
    scan: bool | None = None,
) -> tuple[TrainState, Array]:
    """Take K steps of R runs in one compiled program; each equals its run alone up to rounding.

    Args:
      state: the runs' states as `stack_states` joins them, each leaf [R, ...]. It is donated: use
        the one that comes back.
      arrays: the data set, shared: 'images' uint8 [N, H, W, 3], 'masks' uint8 [N, H, W, C] and
        perhaps 'valid' bool [N, H, W].
      indices: int32 [K, R, B], the rows that each run's steps take.
      model: the network of every run.
      optimizer_of: learning rate, float32 [] and traced -> optimizer, such as
        ``lambda rate: make_optimizer(config, steps, learning_rate=rate)``; its state was made with
        any rate.
      members: R of them, in the order of the states.
      augment, ema_decay: as in `make_train_step`; each run draws from its own key.
      scan: as in `make_steps`; None: on accelerators.

    Returns:
      The states after K steps and the losses, float32 [K, R], of the weights before each step.

    Raises:
      ConfigError: at trace time as `make_many_step`, or if indices are not [K, R, B].
    """
    if np.ndim(indices) != 3 or np.shape(indices)[1] != len(members):
        raise ConfigError(
            f"indices {list(np.shape(indices))}: {len(members)} runs need [K, {len(members)}, B]"
        )
    step = make_many_step(model, optimizer_of, members, augment=augment, ema_decay=ema_decay)
    steps = make_steps(step, scan=jax.default_backend() != "cpu" if scan is None else scan)
    state, losses = steps(state, arrays, indices)
    return state, jnp.concatenate(losses)


def make_many_step(
    model: nn.Module,
    optimizer_of: Callable[[Any], optax.GradientTransformation],
    members: Sequence[Member],
    *,
    augment: Augment | None = None,
    ema_decay: float = 0.0,
) -> Callable[[TrainState, Batch], tuple[TrainState, Array]]:
    """Return the pure function (states, batches) -> (next states, losses [R]), not yet jitted.

    It is `make_train_step` under ``jax.vmap``: every leaf of the states and the batches has a
    leading axis of R runs. The network runs once for all; of several losses each is computed for
    all runs and each run takes its own, which costs little beside the network. For `make_steps`.

    Raises:
      ConfigError: no members, or losses that need networks of different outputs.
    """
    objectives = tuple(dict.fromkeys(member.objective for member in members))
    outputs = {objective.name: objective.num_outputs for objective in objectives}
    if not objectives or len(set(outputs.values())) > 1:
        raise ConfigError(
            f"runs in one program need losses for the same network outputs, not {outputs}"
        )
    choices = jnp.asarray([objectives.index(member.objective) for member in members], jnp.int32)
    rates = jnp.asarray([member.learning_rate for member in members], jnp.float32)

    def one(state: TrainState, batch: Batch, choice: Array, rate: Array) -> tuple[TrainState, Any]:
        def loss(*given: Any, **keywords: Any) -> Array:
            branches = [lambda g, k, o=o: o.loss(*g, **k) for o in objectives]
            return jax.lax.switch(choice, branches, given, keywords)

        objective: Any = types.SimpleNamespace(loss=loss)
        step = make_train_step(
            model, optimizer_of(rate), objective, augment=augment, ema_decay=ema_decay
        )
        return step(state, batch)

    return lambda state, batch: jax.vmap(one)(state, batch, choices, rates)


def stack_states(states: Sequence[TrainState]) -> TrainState:
    """Join the states of R runs into one whose leaves have a leading axis of R."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


@jax.jit
def member_state(state: TrainState, index: Array | int) -> TrainState:
    """Return the state of one run out of the joined ones; the others stay as they are."""
    return jax.tree.map(lambda leaf: leaf[index], state)
