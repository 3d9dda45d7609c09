"""segjax's network and losses on DLStudio's names, so that both sides compare like with like."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from segjax import losses
from segjax.dlstudio import weights as dlstudio
from segjax.networks.munet import MUnet
from segjax.training import backend
from tests.goldens import recipe

LOSSES = {
    "mse": losses.mse,
    "dice": losses.dice,
    "combo": functools.partial(losses.combo, dice_scale=recipe.DICE_SCALE),
}


def precision(dtype):
    """Let JAX compute in 'float64' while the context lasts, or leave it at 'float32'."""
    return jax.enable_x64(dtype == "float64")


@functools.lru_cache(maxsize=2)
def _functions(depth, skip, dtype):
    kind = jnp.dtype(dtype)
    model = MUnet(depth=depth, skip_connections=skip, dtype=kind, param_dtype=kind)

    def loss_of(params, stats, images, masks, which):
        variables = {"params": params, "batch_stats": stats}
        outputs, updated = model.apply(variables, images, train=True, mutable=["batch_stats"])
        # One compiled program for the three losses.
        loss = jax.lax.switch(which, list(LOSSES.values()), outputs, masks)
        return loss, (updated["batch_stats"], outputs)

    @backend.jit
    def gradient(variables, *given):
        params, stats = variables["params"], variables["batch_stats"]
        return jax.value_and_grad(loss_of, has_aux=True)(params, stats, *given)

    @backend.jit
    def evaluate(variables, images):
        return model.apply(variables, images, train=False)

    return gradient, evaluate


class Network:
    """segjax's mUnet with a state_dict's weights; inside ``precision(dtype)`` only."""

    def __init__(self, state, *, skip, depth, dtype):
        self.dtype = np.dtype(dtype)
        cast = {n: v.astype(self.dtype) if v.dtype.kind == "f" else v for n, v in state.items()}
        imported = dlstudio.from_state_dict(cast, skip_connections=skip)
        assert imported.depth == depth
        self.variables, self.extra = imported.variables, imported.extra
        self._gradient, self._evaluate = _functions(depth, skip, dtype)

    def forward(self, batch, *, train):
        """Return the outputs [B, H, W, C]; a training pass moves the running statistics."""
        if not train:
            return np.asarray(self._evaluate(self.variables, batch[0].astype(self.dtype)))
        (_, (stats, outputs)), _ = self._value_and_grad(batch, "mse")
        self.variables = {**self.variables, "batch_stats": stats}
        return np.asarray(outputs)

    def gradients(self, batch, *, loss):
        _, grads = self._value_and_grad(batch, loss)
        found = dlstudio.to_arrays({**self.variables, "params": grads}, extra=self.extra)
        return {name: value for name, value in found.items() if name not in self.extra}

    def sgd_steps(self, batches, *, loss):
        """Take SGD-with-momentum steps, one a batch; return the losses before each."""
        optimizer = optax.sgd(recipe.LEARNING_RATES[loss], momentum=recipe.MOMENTUM)
        params = self.variables["params"]
        state, step, values = optimizer.init(params), jax.jit(optimizer.update), []
        for batch in batches:
            (value, (stats, _)), grads = self._value_and_grad(batch, loss)
            updates, state = step(grads, state, params)
            params = optax.apply_updates(params, updates)
            self.variables = {"params": params, "batch_stats": stats}
            values.append(float(value))
        return values

    def state(self):
        return dlstudio.to_arrays(self.variables, extra=self.extra)

    def _value_and_grad(self, batch, loss):
        images, masks = (array.astype(self.dtype) for array in batch)
        return self._gradient(self.variables, images, masks, list(LOSSES).index(loss))
