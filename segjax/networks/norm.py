"""Batch normalisation as one function with a hand-written gradient.

The statistics are taken around a centre near the mean, so that a mean far from zero costs no
precision, and the gradient needs two sums where the compiler's own takes five.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Array = jax.Array

BATCH_NORM_EPSILON = 1e-5
SEGMENT = 64  # rows that product_sums adds one after the other
FOLDS = 8  # rows that folded_sums adds before it writes any down


@jax.custom_vjp
def normalise(x: Array, scale: Array, bias: Array) -> tuple[Array, Array, Array]:
    """Normalise ``x`` [..., C] by its own statistics: (y, mean [C], biased variance [C]).

    y = (x - mean) / sqrt(variance + 1e-5) * scale + bias, all in ``scale``'s dtype, float32 at
    least. The statistics are for the running averages and carry no gradient.
    """
    return _forward(x, scale, bias, channel_sums())[0]


def per_channel(values: Array, x: Array) -> Array:
    """Shape ``values`` [C] for arithmetic with ``x`` [..., C]: [1, ..., C], of its rank."""
    return values.reshape((1,) * (x.ndim - 1) + (-1,))


def wide_dtype(dtype: Any) -> np.dtype:
    """Return ``dtype``, but float32 at least."""
    return np.promote_types(dtype, np.float32)


Sums = Callable[..., list[Array]]  # (function, *arrays) -> sums of function(*arrays)


def channel_sums() -> Sums:
    """Return what the default backend runs fastest to sum over all axes but the last.

    It takes a function and its arrays, and sums each array that the function, taken by element,
    returns.
    """
    return folded_sums if jax.default_backend() == "cpu" else staged_sums


def staged_sums(function: Callable[..., tuple[Array, ...]], *arrays: Array) -> list[Array]:
    """Sum each array [B, ..., W, C] of ``function(*arrays)``: along W first, then the rest.

    As one sum XLA:GPU gives it to a few blocks of threads. The barrier keeps the two apart.
    """
    found = []
    for x in function(*arrays):
        width, channels = x.shape[-2:]
        found.append(lax.optimization_barrier(x.reshape(-1, width, channels).sum(1)).sum(0))
    return found


def product_sums(x: Array) -> Array:
    """Sum ``x`` over all axes but the last, as a row of ones times ``x``.

    XLA:CPU runs that much faster than a sum. It adds in segments, so that long sums stay exact.
    """
    channels = x.shape[-1]
    rows, segments = x.size // channels, 1
    while rows % 2 == 0 and rows > SEGMENT:
        rows, segments = rows // 2, segments * 2
    sums = jnp.matmul(jnp.ones((1, rows), x.dtype), x.reshape(rows, segments * channels))
    return sums.reshape(segments, channels).sum(0)


def folded_sums(function: Callable[..., tuple[Array, ...]], *arrays: Array) -> list[Array]:
    """Compute ``product_sums`` of each array of ``function(*arrays)``, with one look at ``arrays``.

    A product does not fuse with what makes its operands, an addition of slices does: the arrays
    [B, ..., C] are read once, and an eighth as many rows are left for the product.
    """
    parts = [folds(array) for array in arrays]
    values = [function(*(part[:, i] for part in parts)) for i in range(parts[0].shape[1])]
    added = [sum(column[1:], start=column[0]) for column in zip(*values, strict=True)]
    return jnp.split(product_sums(jnp.concatenate(added, axis=-1)), len(added))


def folds(x: Array) -> Array:
    """Cut each image of ``x`` [B, ..., C] into up to eight parts: [B, parts, rows, C].

    Each image for itself, so that a batch spread over devices stays where it is.
    """
    batch, channels = x.shape[0], x.shape[-1]
    return x.reshape(batch, math.gcd(x.size // (batch * channels), FOLDS), -1, channels)


def moments(x: Array, sums: Sums) -> tuple[Array, Array]:
    """Return the mean and the biased variance [C] of ``x`` [B, ..., C], in one pass over it.

    The sums are of the distances from ``centre``, the mean of an eighth of all pixels. It is no
    further from the mean than sqrt(7) standard deviations, so the subtraction at the end costs no
    more than three bits, whatever the mean is.
    """
    part = folds(x)[:, 0]
    (total,) = sums(lambda x: (x,), part)
    centre = total / (part.size // part.shape[-1])

    def powers(x: Array) -> tuple[Array, Array]:
        distance = x - per_channel(centre, x)
        return distance, jnp.square(distance)

    count = x.size // x.shape[-1]
    shift, square = (total / count for total in sums(powers, x))
    return centre + shift, jnp.maximum(square - jnp.square(shift), 0)


Saved = tuple[Array, Array, Array, Array]


# Traced once for all layers of a shape, which saves a deep network's first step a second.
@functools.partial(jax.jit, static_argnums=3)
def _forward(
    x: Array, scale: Array, bias: Array, sums: Sums
) -> tuple[tuple[Array, Array, Array], Saved]:
    wide = wide_dtype(scale.dtype)
    mean, var = moments(x.astype(wide), sums)
    inverse = lax.rsqrt(var + BATCH_NORM_EPSILON)
    centred, factor = x.astype(wide) - per_channel(mean, x), scale.astype(wide) * inverse
    y = centred * per_channel(factor, x) + per_channel(bias.astype(wide), x)
    return (y, mean, var), (x, mean, inverse, scale)


@functools.partial(jax.jit, static_argnums=2)
def _backward(
    saved: Saved, cotangents: tuple[Array, ...], sums: Sums
) -> tuple[Array, Array, Array]:
    x, mean, inverse, scale = saved
    by_y, _, _ = cotangents
    count = x.size // x.shape[-1]

    def centred(x: Array) -> Array:
        return x.astype(by_y.dtype) - per_channel(mean, x)

    by_bias, by_scale = sums(lambda g, x: (g, g * centred(x)), by_y, x)
    by_scale = by_scale * inverse
    by_x = by_y - per_channel(by_bias / count, x)
    by_x = by_x - centred(x) * per_channel(by_scale * inverse / count, x)
    by_x = by_x * per_channel(scale.astype(by_y.dtype) * inverse, x)
    return by_x.astype(x.dtype), by_scale.astype(scale.dtype), by_bias.astype(scale.dtype)


normalise.defvjp(
    lambda *given: _forward(*given, channel_sums()),
    lambda *given: _backward(*given, channel_sums()),
)
