"""Arithmetic that stays finite, exact near its ends and quick, in value and gradient."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

if TYPE_CHECKING:
    from jaxtyping import Float


def divide(
    numerator: Float[Array, "*cells"], denominator: Float[Array, "*cells"], *, empty: float
) -> Float[Array, "*cells"]:
    """Divide, giving `empty` with zero gradient where the denominator is zero."""
    zero = denominator == 0
    return jnp.where(zero, empty, numerator / jnp.where(zero, 1.0, denominator))


@jax.custom_jvp
def total(x: Float[Array, "*cells"]) -> Float[Array, ""]:
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
def _total_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return total(*primals), jnp.sum(*tangents)


def log_above(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Return log(x), continued below the dtype's eps by its tangent there.

    Finite at 0, and its gradient (1 / eps there) still pushes.
    """
    eps = jnp.finfo(x.dtype).eps
    return jnp.log(jnp.maximum(x, eps)) + jnp.minimum(x - eps, 0) / eps


@jax.custom_jvp
def sigmoid_terms(x: Float[Array, "*s"]) -> tuple[Array, Array, Array, Array]:
    """Return p, 1 - p, -log p and -log(1 - p) of logits, without overflow or cancellation."""
    small = jnp.exp(-jnp.abs(x))
    larger = 1 / (1 + small)
    smaller, rest = small * larger, jnp.log1p(small)
    above = x >= 0
    return (
        jnp.where(above, larger, smaller),
        jnp.where(above, smaller, larger),
        jnp.maximum(-x, 0) + rest,
        jnp.maximum(x, 0) + rest,
    )


@sigmoid_terms.defjvp
def _sigmoid_terms_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Any, Any]:
    (x,), (x_dot,) = primals, tangents
    terms = sigmoid_terms(x)
    p, q = terms[:2]
    p_dot = p * q * x_dot
    return terms, (p_dot, -p_dot, -q * x_dot, p * x_dot)


@jax.custom_jvp
def softmax_terms(x: Float[Array, "*pixels C"]) -> tuple[Array, Array]:
    """Return -log p and p of logits, over the last axis.

    Their gradients share one sum over the classes. A logit of -inf, a class that is masked out, has
    p = 0 and a -log p that is finite, so that zero times it is zero.
    """
    below = x - jnp.max(x, axis=-1, keepdims=True)
    below = jnp.maximum(below, jnp.finfo(x.dtype).min / 4)
    powers = jnp.exp(below)
    summed = jnp.sum(powers, axis=-1, keepdims=True)
    return jnp.log(summed) - below, powers / summed


@softmax_terms.defjvp
def _softmax_terms_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Any, Any]:
    (x,), (x_dot,) = primals, tangents
    nll, p = softmax_terms(x)
    log_dot = x_dot - jnp.sum(p * x_dot, axis=-1, keepdims=True)
    return (nll, p), (-log_dot, p * log_dot)


def focus(base: Float[Array, "*s"], nll: Float[Array, "*s"], gamma: ArrayLike) -> Array:
    """Return ``base ** gamma`` of probabilities and their -log."""
    if isinstance(gamma, (int, float)) and gamma in range(5):
        return jax.lax.integer_pow(base, int(gamma))
    # A root of the probability itself would have an infinite gradient at 0.
    return jnp.exp(-(gamma * nll))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def focused_sigmoid(x: Float[Array, "*s"], gamma: float) -> tuple[Array, Array]:
    """Return ``-(1 - p) ** gamma log p`` and ``-p ** gamma log(1 - p)`` of logits."""
    p, q, nll, nll_not = sigmoid_terms(x)
    return focus(q, nll_not, gamma) * nll, focus(p, nll, gamma) * nll_not


@focused_sigmoid.defjvp
def _focused_sigmoid_jvp(
    gamma: float, primals: tuple[Array], tangents: tuple[Array]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    (x,), (x_dot,) = primals, tangents
    p, q, nll, nll_not = sigmoid_terms(x)
    there, not_there = focus(q, nll_not, gamma), focus(p, nll, gamma)
    slope = -there * (gamma * p * nll + q)
    slope_not = not_there * (gamma * q * nll_not + p)
    return (there * nll, not_there * nll_not), (slope * x_dot, slope_not * x_dot)


def power_from_zero(x: Float[Array, "*s"], exponent: ArrayLike) -> Float[Array, "*s"]:
    """Return ``x ** exponent`` for x >= 0, with a finite gradient at 0 for any exponent > 0.

    Below the dtype's eps the power is replaced by the line from (0, 0) to (eps, eps ** exponent);
    for an exponent of 0 the result is 1. Whole exponents up to 4 are products.
    """
    if isinstance(exponent, (int, float)):
        if exponent in range(5):
            return jax.lax.integer_pow(jnp.maximum(x, 0), int(exponent))
        return _fixed_power(x, float(exponent))
    eps = jnp.finfo(x.dtype).eps
    inner = jnp.maximum(x, eps) ** exponent
    line = jnp.maximum(x, 0) * (jnp.asarray(eps, x.dtype) ** exponent / eps)
    return jnp.where(x < eps, line, inner)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _fixed_power(x: Array, exponent: float) -> Array:
    return _power_and_slope(x, exponent)[0]


@_fixed_power.defjvp
def _fixed_power_jvp(
    exponent: float, primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
    value, slope = _power_and_slope(*primals, exponent)
    return value, slope * tangents[0]


def _power_and_slope(x: Array, exponent: float) -> tuple[Array, Array]:
    """Return the power and its derivative, from one logarithm: a pow takes as long as four."""
    eps = float(jnp.finfo(x.dtype).eps)
    base = jnp.maximum(x, eps)
    inner = jnp.sqrt(base) if exponent == 0.5 else jnp.exp(exponent * jnp.log(base))
    steep = eps ** (exponent - 1)
    small = x < eps
    value = jnp.where(small, jnp.maximum(x, 0) * steep, inner)
    return value, jnp.where(small, jnp.where(x < 0, 0.0, steep), exponent * inner / base)
