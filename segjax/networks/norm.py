"""Batch normalisation as one function with a hand-written gradient.

The statistics are taken around a centre near the mean, so that a mean far from zero costs no
precision, and the gradient needs two sums where the compiler's own takes five.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Array = jax.Array

BATCH_NORM_EPSILON = 1e-5


@jax.custom_vjp
def normalise(x: Array, scale: Array, bias: Array) -> tuple[Array, Array, Array]:
    """Normalise ``x`` [..., C] by its own statistics: (y, mean [C], biased variance [C]).

    y = (x - mean) / sqrt(variance + 1e-5) * scale + bias, all in ``scale``'s dtype, float32 at
    least. The statistics are for the running averages and carry no gradient.
    """
    return _forward(x, scale, bias)[0]


def per_channel(values: Array, x: Array) -> Array:
    """Shape ``values`` [C] for arithmetic with ``x`` [..., C]: [1, ..., C], of its rank."""
    return values.reshape((1,) * (x.ndim - 1) + (-1,))


def wide_dtype(dtype: Any) -> np.dtype:
    """Return ``dtype``, but float32 at least."""
    return np.promote_types(dtype, np.float32)


def staged_sums(*arrays: Array) -> list[Array]:
    """Sum each array [B, ..., W, C] over all axes but the last: along W first, then the rest.

    As one sum XLA:GPU gives it to a few blocks of threads, and float32 rounds more. The barrier
    keeps the two apart.
    """
    rows = [x.reshape(-1, *x.shape[-2:]).sum(1) for x in arrays]
    return [lax.optimization_barrier(row).sum(0) for row in rows]


def moments(x: Array) -> tuple[Array, Array]:
    """Return the mean and the biased variance [C] of ``x`` [B, ..., C], in one pass over it.

    The sums are of the distances from ``centre``, the mean of an eighth of all pixels. It is no
    further from the mean than sqrt(7) standard deviations, so the subtraction at the end costs no
    more than three bits, whatever the mean is.
    """
    batch, channels, count = x.shape[0], x.shape[-1], x.size // x.shape[-1]
    parts = math.gcd(count // batch, 8)  # of each image: a batch spread over devices stays there
    [total] = staged_sums(x.reshape(batch, parts, -1, channels)[:, 0])
    centre = total / (count // parts)
    distance = x - per_channel(centre, x)
    shift, square = (total / count for total in staged_sums(distance, jnp.square(distance)))
    return centre + shift, jnp.maximum(square - jnp.square(shift), 0)


Saved = tuple[Array, Array, Array, Array]


# Traced once for all layers of a shape, which saves a deep network's first step a second.
@jax.jit
def _forward(x: Array, scale: Array, bias: Array) -> tuple[tuple[Array, Array, Array], Saved]:
    wide = wide_dtype(scale.dtype)
    mean, var = moments(x.astype(wide))
    inverse = lax.rsqrt(var + BATCH_NORM_EPSILON)
    centred, factor = x.astype(wide) - per_channel(mean, x), scale.astype(wide) * inverse
    y = centred * per_channel(factor, x) + per_channel(bias.astype(wide), x)
    return (y, mean, var), (x, mean, inverse, scale)


@jax.jit
def _backward(saved: Saved, cotangents: tuple[Array, ...]) -> tuple[Array, Array, Array]:
    x, mean, inverse, scale = saved
    by_y, _, _ = cotangents
    count = x.size // x.shape[-1]
    centred = x.astype(by_y.dtype) - per_channel(mean, x)
    by_bias, by_scale = staged_sums(by_y, by_y * centred)
    by_scale = by_scale * inverse
    by_x = by_y - per_channel(by_bias / count, x)
    by_x = by_x - centred * per_channel(by_scale * inverse / count, x)
    by_x = (by_x * per_channel(scale.astype(by_y.dtype) * inverse, x)).astype(x.dtype)
    # Written down here, or each of its readers computes it again: a kernel's gradient three times.
    by_x = lax.optimization_barrier(by_x)
    return by_x, by_scale.astype(scale.dtype), by_bias.astype(scale.dtype)


normalise.defvjp(_forward, _backward)
