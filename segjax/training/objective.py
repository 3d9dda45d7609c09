"""What the network is asked for: a loss, the targets it reads, and how outputs become masks."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
from jax import Array

from segjax.classes import DLSTUDIO_WINDOWS
from segjax.errors import ConfigError
from segjax.loss_table import Value, spec
from segjax.losses.registry import make_loss


@dataclasses.dataclass(frozen=True)
class Objective:
    """A loss bound to a data set's classes. Static: holds no arrays, closes over its settings."""

    name: str
    reads: str  # 'values' (regression), 'sigmoid' (multilabel) or 'softmax' (background first)
    class_values: tuple[int, ...]  # mask value per class, in channel order
    unit_targets: bool  # regress to 0 and 1 instead of the class values
    loss_of: Callable[..., Array]  # (outputs, targets, *, valid, step) -> scalar

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
            ranks = jax.lax.broadcasted_iota(jnp.int32, masks.shape, masks.ndim - 1) + 1
            return jnp.max(jnp.where(present, ranks, 0), axis=-1)
        return present.astype(jnp.float32)

    def loss(
        self, outputs: Array, masks: Array, *, valid: Array | None = None, step: Array | int = 0
    ) -> Array:
        """Return the scalar loss of raw ``outputs`` [B, H, W, num_outputs] against ``masks``."""
        return self.loss_of(_widened(outputs), self.targets(masks), valid=valid, step=step)

    def scores(self, outputs: Array) -> Array:
        """Turn raw outputs into [..., C] on a scale where 1 is 'this class' and 0 is 'not'."""
        outputs = _widened(outputs)
        if self.reads == "sigmoid":
            return jax.nn.sigmoid(outputs)
        if self.reads == "softmax":
            return jax.nn.softmax(outputs)[..., 1:]
        return outputs if self.unit_targets else outputs / _per_channel(self.class_values, outputs)

    def values(self, outputs: Array) -> Array:
        """Turn raw outputs into [..., C] on the scale of the mask values, for decoding.

        Exclusive classes become their value where they are the likeliest and 0 elsewhere.
        """
        outputs = _widened(outputs)
        if self.reads == "values" and not self.unit_targets:
            return outputs
        shares = self.scores(outputs)
        if self.reads == "softmax":
            winner = jnp.argmax(outputs, axis=-1)
            shares = jax.nn.one_hot(winner, outputs.shape[-1], dtype=outputs.dtype)[..., 1:]
        return shares * _per_channel(self.class_values, shares)


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
    return Objective(
        name=loss,
        reads=spec(loss).reads,
        class_values=tuple(class_values),
        unit_targets=targets == "unit",
        loss_of=make_loss(loss, parameters=dict(parameters or {})),
    )


def half_value(values: Array, class_values: Sequence[float]) -> Array:
    """Return bool [..., C]: where ``values`` [..., C] exceed half their class's mask value."""
    return values > _per_channel(class_values, values) / 2


def dlstudio_windows(values: Array) -> Array:
    """Return bool [..., 5]: where ``values`` [..., 5] lie in DLStudio's window for their channel.

    Source: DLStudio 2.3.6, run_code_for_testing_semantic_segmentation.
    """
    ends = zip(*DLSTUDIO_WINDOWS.values(), strict=True)
    low, high = (_per_channel(numbers, values) for numbers in ends)
    return (values > low) & (values < high)


def windows_apply(class_values: Sequence[float]) -> bool:
    """Tell whether the windows mean anything: they are written for PurdueShapes' five values."""
    return tuple(class_values) == tuple(DLSTUDIO_WINDOWS)


def _per_channel(numbers: Sequence[float], values: Array) -> Array:
    """Return a number per channel in the rank and dtype of ``values`` [..., C]."""
    if values.shape[-1] != len(numbers):
        raise ConfigError(
            f"values have {values.shape[-1]} channels for {len(numbers)} class values"
        )
    return jnp.expand_dims(jnp.asarray(numbers, values.dtype), range(values.ndim - 1))


def _widened(outputs: Array) -> Array:
    """Return outputs as float32 at least."""
    return outputs if outputs.dtype == jnp.float64 else outputs.astype(jnp.float32)
