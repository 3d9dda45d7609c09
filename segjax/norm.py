"""Batch normalisation as one function with a hand-written gradient.

Two passes for the statistics, so that a mean far from zero costs no precision, and a gradient that
needs two sums where the compiler's own takes five.
"""

import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array

BATCH_NORM_EPSILON = 1e-5
SEGMENT = 256  # rows that channel_sums adds one after the other


@jax.custom_vjp
def normalise(x: Array, scale: Array, bias: Array) -> tuple[Array, Array, Array]:
    """Normalise ``x`` [..., C] by its own statistics: (y, mean [C], biased variance [C]).

    y = (x - mean) / sqrt(variance + 1e-5) * scale + bias, all in ``scale``'s dtype, float32 at
    least. The statistics are for the running averages and carry no gradient.
    """
    return _forward(x, scale, bias)[0]


def channel_sums(x: Array) -> Array:
    """Sum ``x`` [..., C] over all axes but the last, in segments, so that long sums stay exact."""
    return product_sums(x) if jax.default_backend() == "cpu" else plain_sums(x)


def plain_sums(x: Array) -> Array:
    """Sum ``x`` over all axes but the last."""
    return x.sum(tuple(range(x.ndim - 1)))


def product_sums(x: Array) -> Array:
    """Compute ``plain_sums`` as a row of ones times ``x``, which XLA:CPU runs much faster."""
    channels = x.shape[-1]
    rows = x.size // channels
    segments = 1
    while rows % (2 * segments) == 0 and rows // segments > SEGMENT:
        segments *= 2
    ones = jnp.ones((1, rows // segments), x.dtype)
    sums = jnp.matmul(ones, x.reshape(rows // segments, segments * channels))
    return sums.reshape(segments, channels).sum(0)


Saved = tuple[Array, Array, Array, Array]


def _forward(x: Array, scale: Array, bias: Array) -> tuple[tuple[Array, Array, Array], Saved]:
    wide = jnp.promote_types(scale.dtype, jnp.float32)
    count = x.size // x.shape[-1]
    mean = channel_sums(x.astype(wide)) / count
    var = channel_sums(jnp.square(x.astype(wide) - mean)) / count
    inverse = lax.rsqrt(var + BATCH_NORM_EPSILON)
    y = (x.astype(wide) - mean) * (scale.astype(wide) * inverse) + bias.astype(wide)
    return (y, mean, var), (x, mean, inverse, scale)


def _backward(saved: Saved, cotangents: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
    x, mean, inverse, scale = saved
    by_y, _, _ = cotangents
    count = x.size // x.shape[-1]
    centred = x.astype(by_y.dtype) - mean
    by_bias = channel_sums(by_y)
    by_scale = channel_sums(by_y * centred) * inverse
    by_x = by_y - by_bias / count - centred * (by_scale * inverse / count)
    by_x = by_x * (scale.astype(by_y.dtype) * inverse)
    return by_x.astype(x.dtype), by_scale.astype(scale.dtype), by_bias.astype(scale.dtype)


normalise.defvjp(_forward, _backward)
