"""What every loss does with its arguments before any maths: dtypes, shapes, masks, reductions."""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from segjax.errors import ConfigError

Reduction = Literal["none", "mean", "sum"]

REDUCTIONS = ("none", "mean", "sum")


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise a ConfigError unless `value` is one of `choices`."""
    if value not in choices:
        raise ConfigError(f"{name}={value!r}: must be one of {', '.join(choices)}")


def check_number(
    name: str,
    value: ArrayLike,
    *,
    low: float = 0.0,
    high: float = float("inf"),
    above: bool = False,
) -> None:
    """Raise a ConfigError if a setting given as a Python number is out of range.

    Traced settings pass: their values are not known yet. `above` excludes `low` itself.
    """
    if isinstance(value, (int, float)) and not (
        (value > low if above else value >= low) and value <= high
    ):
        sign = ">" if above else ">="
        upper = "" if high == float("inf") else f" and <= {high:g}"
        raise ConfigError(f"{name}={value!r}: must be {sign} {low:g}{upper}")


def as_float(*arrays: ArrayLike) -> tuple[jax.Array, ...]:
    """Bring arrays to one floating dtype: float32, or float64 where one of them already is.

    float16 and bfloat16 are widened, so that no sum of a loss is taken in half precision.
    Integers and booleans become float32.
    """
    values = [jnp.asarray(array) for array in arrays]
    floats = [v.dtype for v in values if jnp.issubdtype(v.dtype, jnp.floating)]
    dtype = jnp.result_type(jnp.float32, *floats) if floats else jnp.dtype(jnp.float32)
    for value in values:
        if jnp.issubdtype(value.dtype, jnp.complexfloating):
            raise ConfigError(f"a loss cannot read {value.dtype} arrays")
    return tuple(value.astype(dtype) for value in values)


def check_same_shape(pred: ArrayLike, target: ArrayLike) -> None:
    """Raise a ConfigError unless both arrays have the same shape, and at least one element."""
    if jnp.shape(pred) != jnp.shape(target):
        raise ConfigError(
            f"pred has shape {jnp.shape(pred)} but target {jnp.shape(target)}: they must be equal"
        )
    if 0 in jnp.shape(pred):
        raise ConfigError(f"pred has shape {jnp.shape(pred)}: there is nothing to compare")


def broadcast_valid(valid: ArrayLike, shape: tuple[int, ...]) -> jax.Array:
    """Return the mask of pixels that count, as bool of `shape`.

    `valid` has the shape of the predictions, or that without the last axis (a mask per pixel,
    for all channels).
    """
    mask = jnp.asarray(valid)
    if mask.dtype != jnp.bool_:
        raise ConfigError(f"valid has dtype {mask.dtype}: must be bool, True where a pixel counts")
    if mask.shape == shape:
        return mask
    if mask.shape == shape[:-1]:
        return jnp.broadcast_to(mask[..., None], shape)
    raise ConfigError(f"valid has shape {mask.shape}: must be {shape} or {shape[:-1]}")


def divide(numerator: jax.Array, denominator: jax.Array, *, empty: float) -> jax.Array:
    """Divide, giving `empty` with zero gradient where the denominator is zero."""
    zero = denominator == 0
    return jnp.where(zero, empty, numerator / jnp.where(zero, 1.0, denominator))


@jax.custom_jvp
def total(x: jax.Array) -> jax.Array:
    """Return the sum of all elements.

    As a product with ones: XLA on a CPU draws the arithmetic before a plain sum into the sum's
    loop, which then takes one element at a time and twice as long.
    """
    if x.ndim < 2:
        return jnp.sum(x)
    rows = x.reshape(-1, x.shape[-2] * x.shape[-1])
    ones = jnp.ones(rows.shape[-1], x.dtype)
    return jnp.sum(jnp.dot(rows, ones, precision=jax.lax.Precision.HIGHEST))


@total.defjvp
def _total_jvp(
    primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    return total(*primals), jnp.sum(*tangents)


def reduce_cells(cells: jax.Array, weights: jax.Array | None, reduction: Reduction) -> jax.Array:
    """Reduce a loss that has one value per cell (pixel, sample or class).

    Args:
      cells: the losses, 0 where a cell does not count.
      weights: None, or the cells' weights, of the same shape, 0 where a cell does not count.
      reduction: 'none' gives ``weights * cells``, 'sum' their sum, 'mean' their sum over the sum
        of the weights (0 if no cell counts).
    """
    check_choice("reduction", reduction, REDUCTIONS)
    weighted = cells if weights is None else cells * weights
    if reduction == "none":
        return weighted
    if reduction == "sum":
        return total(weighted)
    if weights is None:
        return total(cells) / cells.size
    return divide(total(weighted), jnp.sum(weights), empty=0.0)
