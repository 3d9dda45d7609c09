"""What the network is asked for: a loss, the targets it reads, and how outputs become masks."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from segjax.errors import ConfigError
from segjax.loss_table import Value, spec
from segjax.losses.registry import make_loss

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Objective:
    """A loss bound to a data set's classes. Static: holds no arrays, closes over its settings.

    Attributes:
      name: the loss's name.
      reads: 'values' (regression), 'sigmoid' (independent classes) or 'softmax' (exclusive
        classes, background as channel 0).
      class_values: mask value per class, in channel order.
      unit_targets: regress to 0 and 1 instead of the class values.
      loss_of: (outputs, targets, *, valid, step) -> scalar.
    """

    name: str
    reads: str
    class_values: tuple[int, ...]
    unit_targets: bool
    loss_of: Callable[..., Array]

    @property
    def num_outputs(self) -> int:
        """Channels that the network must have."""
        return len(self.class_values) + (self.reads == "softmax")

    def targets(self, masks: Array) -> Array:
        """Turn masks [B, H, W, C] (0 or the class value) into what the loss compares with.

        Returns float32 [B, H, W, C], or int32 [B, H, W] labels for 'softmax', where 0 is background
        and of overlapping classes the last wins.
        """
        if self.reads == "values" and not self.unit_targets:
            return masks.astype(jnp.float32)
        present = masks > 0
        if self.reads == "softmax":
            ranks = jnp.arange(1, masks.shape[-1] + 1, dtype=jnp.int32)
            return jnp.max(present * ranks, axis=-1)
        return present.astype(jnp.float32)

    def loss(
        self, outputs: Array, masks: Array, *, valid: Array | None = None, step: Array | int = 0
    ) -> Array:
        """Return the scalar loss of raw ``outputs`` [B, H, W, num_outputs] against ``masks``."""
        outputs = outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
        return self.loss_of(outputs, self.targets(masks), valid=valid, step=step)

    def scores(self, outputs: Array) -> Array:
        """Turn raw outputs into [..., C] on a scale where 1 is 'this class' and 0 is 'not'."""
        outputs = outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
        if self.reads == "sigmoid":
            return jax.nn.sigmoid(outputs)
        if self.reads == "softmax":
            return jax.nn.softmax(outputs)[..., 1:]
        if self.unit_targets:
            return outputs
        return outputs / jnp.asarray(self.class_values, outputs.dtype)

    def values(self, outputs: Array) -> Array:
        """Turn raw outputs into [..., C] on the scale of the mask values, for decoding.

        Exclusive classes become their value where they are the likeliest and 0 elsewhere.
        """
        outputs = outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
        if self.reads == "values" and not self.unit_targets:
            return outputs
        scale = jnp.asarray(self.class_values, outputs.dtype)
        if self.reads == "softmax":
            winner = jnp.argmax(outputs, axis=-1, keepdims=True)
            ranks = jnp.arange(1, len(self.class_values) + 1)
            return jnp.where(winner == ranks, scale, jnp.zeros_like(scale))
        return self.scores(outputs) * scale


def make_objective(
    loss: str,
    *,
    class_values: tuple[int, ...],
    targets: str = "values",
    parameters: Mapping[str, Value] | None = None,
) -> Objective:
    """Look the loss up and bind it to the classes.

    Raises ConfigError for an unknown loss or parameter, or classes without a positive value.
    """
    if not class_values or min(class_values) <= 0:
        raise ConfigError(f"class values {class_values}: each class needs a value above 0")
    about = spec(loss)
    return Objective(
        name=loss,
        reads=about.reads,
        class_values=tuple(class_values),
        unit_targets=targets == "unit",
        loss_of=make_loss(loss, parameters=dict(parameters or {})),
    )
