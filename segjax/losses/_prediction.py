"""What is compared with what: logits or probabilities of independent or exclusive classes."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from segjax.errors import ConfigError
from segjax.losses._arguments import as_float, broadcast_valid, check_choice, check_same_shape

PredIs = Literal["logits", "probs"]
Classes = Literal["independent", "exclusive"]


class Terms(NamedTuple):
    """Probabilities and their logarithms, [B, ..., C] each, from one exponential per element."""

    probs: jax.Array
    probs_not: jax.Array  # 1 - probs, exact near 0 for logits of independent classes
    surprise: jax.Array  # -log(probs), finite
    surprise_not: jax.Array  # -log(1 - probs), finite


@dataclass(frozen=True)
class Prediction:
    """Checked arguments of a loss, [B, ..., C] in float32 or wider.

    pred holds logits or probabilities; where a pixel does not count, 0 (logits) or 0.5, so that
    nothing it held can reach the loss or the gradient. target is 0 to 1, and 0 there. one_hot says
    that the target came as labels: at most one class of a pixel is 1, the others are 0.

    What two terms of a loss both read is computed once: hand them the same Prediction.
    """

    pred: jax.Array
    target: jax.Array
    valid: jax.Array | None
    pred_is: PredIs
    classes: Classes
    one_hot: bool = False

    @functools.cached_property
    def terms(self) -> Terms:
        """All terms; under jit, those that nothing reads cost nothing."""
        if self.pred_is == "logits" and self.classes == "independent":
            return Terms(*_sigmoid_terms(self.pred))
        if self.pred_is == "logits":
            surprise, probs = _softmax_terms(self.pred)
        else:
            surprise, probs = -log_above(self.pred), self.pred
        return Terms(probs, 1 - probs, surprise, -log_above(1 - probs))

    @property
    def probs(self) -> jax.Array:
        """Probabilities [B, ..., C]; from the terms if those are there, alone they are cheaper."""
        sigmoid = self.pred_is == "logits" and self.classes == "independent"
        if sigmoid and "terms" not in self.__dict__:
            return jax.nn.sigmoid(self.pred)
        return self.terms.probs

    @property
    def surprise(self) -> jax.Array:
        """``-log(probs)`` [B, ..., C], finite."""
        return self.terms.surprise

    @property
    def surprise_not(self) -> jax.Array:
        """``-log(1 - probs)`` [B, ..., C], finite."""
        return self.terms.surprise_not

    def focused(self, gamma: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """Focal terms: ``-(1 - p) ** gamma log p`` and ``-p ** gamma log(1 - p)`` [B, ..., C]."""
        sigmoid = self.pred_is == "logits" and self.classes == "independent"
        if sigmoid and isinstance(gamma, (int, float)):
            return _focused(self.pred, float(gamma))
        focus, focus_not = _focus(self.terms, gamma)
        return focus * self.terms.surprise, focus_not * self.terms.surprise_not

    @functools.cached_property
    def surprise_there(self) -> jax.Array:
        """``-log`` of the probability of what is there, ``sum_c t_c surprise_c`` [B, ...]."""
        return jnp.sum(self.target * self.surprise, -1)

    @property
    def counted(self) -> jax.Array | None:
        """1 where an element counts, else 0 [B, ..., C]; None if all count."""
        return None if self.valid is None else self.valid.astype(self.pred.dtype)


def log_above(x: jax.Array) -> jax.Array:
    """Return log(x), continued below the dtype's eps by its tangent there.

    Finite at 0, and its gradient (1 / eps there) still pushes.
    """
    eps = jnp.finfo(x.dtype).eps
    return jnp.log(jnp.maximum(x, eps)) + jnp.minimum(x - eps, 0) / eps


@jax.custom_jvp
def _sigmoid_terms(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
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


@_sigmoid_terms.defjvp
def _sigmoid_terms_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[Any, Any]:
    (x,), (x_dot,) = primals, tangents
    terms = _sigmoid_terms(x)
    p, q = terms[:2]
    p_dot = p * q * x_dot
    return terms, (p_dot, -p_dot, -q * x_dot, p * x_dot)


def _focus(terms: Terms, gamma: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Return ``(1 - p) ** gamma`` and ``p ** gamma``."""
    if isinstance(gamma, (int, float)) and gamma in range(5):
        focus, focus_not = (
            jax.lax.integer_pow(base, int(gamma)) for base in (terms.probs_not, terms.probs)
        )
        return focus, focus_not
    # A root of the probability itself would have an infinite gradient at 0.
    return jnp.exp(-(gamma * terms.surprise_not)), jnp.exp(-(gamma * terms.surprise))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _focused(x: jax.Array, gamma: float) -> tuple[jax.Array, jax.Array]:
    terms = Terms(*_sigmoid_terms(x))
    focus, focus_not = _focus(terms, gamma)
    return focus * terms.surprise, focus_not * terms.surprise_not


@_focused.defjvp
def _focused_jvp(
    gamma: float, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    (x,), (x_dot,) = primals, tangents
    terms = Terms(*_sigmoid_terms(x))
    p, q = terms.probs, terms.probs_not
    focus, focus_not = _focus(terms, gamma)
    slope = -focus * (gamma * p * terms.surprise + q)
    slope_not = focus_not * (gamma * q * terms.surprise_not + p)
    values = focus * terms.surprise, focus_not * terms.surprise_not
    return values, (slope * x_dot, slope_not * x_dot)


@jax.custom_jvp
def _softmax_terms(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return -log p and p of logits, over the last axis.

    Their gradients share one sum over the classes.
    """
    below = x - jnp.max(x, axis=-1, keepdims=True)
    powers = jnp.exp(below)
    total = jnp.sum(powers, axis=-1, keepdims=True)
    return jnp.log(total) - below, powers / total


@_softmax_terms.defjvp
def _softmax_terms_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[Any, Any]:
    (x,), (x_dot,) = primals, tangents
    surprise, p = _softmax_terms(x)
    log_dot = x_dot - jnp.sum(p * x_dot, axis=-1, keepdims=True)
    return (surprise, p), (-log_dot, p * log_dot)


def power_from_zero(x: jax.Array, exponent: ArrayLike) -> jax.Array:
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
def _fixed_power(x: jax.Array, exponent: float) -> jax.Array:
    return _power_and_slope(x, exponent)[0]


@_fixed_power.defjvp
def _fixed_power_jvp(
    exponent: float, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    (x,), (x_dot,) = primals, tangents
    value, slope = _power_and_slope(x, exponent)
    return value, slope * x_dot


def _power_and_slope(x: jax.Array, exponent: float) -> tuple[jax.Array, jax.Array]:
    """Return the power and its derivative, from one logarithm: a pow takes as long as four."""
    eps = float(jnp.finfo(x.dtype).eps)
    base = jnp.maximum(x, eps)
    inner = jnp.sqrt(base) if exponent == 0.5 else jnp.exp(exponent * jnp.log(base))
    steep = eps ** (exponent - 1)
    small = x < eps
    value = jnp.where(small, jnp.maximum(x, 0) * steep, inner)
    return value, jnp.where(small, jnp.where(x < 0, 0.0, steep), exponent * inner / base)


def _is_concrete(array: Any) -> bool:
    return not isinstance(array, jax.core.Tracer) and getattr(array, "is_fully_addressable", True)


def _check_range(name: str, array: ArrayLike, mask: np.ndarray | None, hint: str) -> None:
    """Refuse values outside [0, 1], where they are known outside of jit."""
    values = np.asarray(array).astype(np.float64)
    if mask is not None:
        values = values[mask]
    if values.size and (values.min() < -1e-3 or values.max() > 1 + 1e-3):
        raise ConfigError(
            f"{name} has values from {values.min():g} to {values.max():g}: must be in [0, 1]; "
            f"{hint}"
        )


def _check_labels(labels: ArrayLike, mask: np.ndarray | None, count: int) -> None:
    """Refuse labels that no channel stands for, where they are known outside of jit."""
    known = np.asarray(labels) if mask is None else np.asarray(labels)[mask]
    if known.size and (known.min() < 0 or known.max() >= count):
        raise ConfigError(
            f"labels go from {known.min()} to {known.max()}: must be in 0..{count - 1}, one per "
            "channel of pred; leave others out with valid"
        )


def prepare(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    pred_is: PredIs,
    classes: Classes = "independent",
    valid: ArrayLike | None = None,
    accepts: tuple[str, ...] = ("logits", "probs"),
) -> Prediction:
    """Check a loss's arguments and bring them to one dtype and shape.

    Args:
      pred: [B, ..., C], floating.
      target: 0 to 1, of the same shape; for exclusive classes also integer labels [B, ...].
      pred_is: what pred holds.
      classes: 'independent' (each channel for itself, sigmoid) or 'exclusive' (softmax).
      valid: None, or bool [B, ...] (or [B, ..., C] for independent classes).
      accepts: what pred may hold for this loss.

    Raises:
      ConfigError: see `segjax.losses`; on values only where they are known outside of jit.
    """
    check_choice("pred_is", pred_is, accepts)
    check_choice("classes", classes, ("independent", "exclusive"))
    if not jnp.issubdtype(jnp.result_type(pred), jnp.floating):
        raise ConfigError(f"pred has dtype {jnp.result_type(pred)}: must be floating")
    shape = jnp.shape(pred)
    if len(shape) < 2:
        raise ConfigError(f"pred has shape {shape}: must be [batch, ..., classes]")
    if valid is not None and classes == "exclusive" and jnp.shape(valid) != shape[:-1]:
        raise ConfigError(
            f"valid has shape {jnp.shape(valid)}: must be {shape[:-1]}, as classes exclude each "
            "other"
        )
    mask = None if valid is None else broadcast_valid(valid, shape)
    known_mask = np.asarray(valid) if valid is not None and _is_concrete(valid) else None
    check_values = valid is None or known_mask is not None
    one_hot = classes == "exclusive" and jnp.shape(target) == shape[:-1]
    if one_hot:
        if not jnp.issubdtype(jnp.result_type(target), jnp.integer):
            raise ConfigError(
                f"labels have dtype {jnp.result_type(target)}: must be integer, one per pixel"
            )
        if check_values and _is_concrete(target):
            _check_labels(target, known_mask, shape[-1])
        target = jax.nn.one_hot(jnp.asarray(target), shape[-1], dtype=jnp.result_type(pred))
    else:
        check_same_shape(pred, target)
        if check_values and _is_concrete(target):
            _check_range("target", target, known_mask, "divide the masks by their class values")
    if pred_is == "probs" and check_values and _is_concrete(pred):
        _check_range("pred", pred, known_mask, "say pred_is='logits' if these are logits")
    p, t = as_float(pred, target)
    if mask is not None:
        p = jnp.where(mask, p, 0.0 if pred_is == "logits" else 0.5)
        t = jnp.where(mask, t, 0)
    return Prediction(p, t, mask, pred_is, classes, one_hot)


def class_weight_row(
    class_weights: ArrayLike | Sequence[float] | None, count: int, dtype: Any
) -> jax.Array | None:
    """Return class weights as [C], scaled to a mean of 1, or None.

    Raises:
      ConfigError: not one weight per class, or (outside of jit) negative or all zero.
    """
    if class_weights is None:
        return None
    weights = jnp.asarray(class_weights, dtype)
    if weights.shape != (count,):
        raise ConfigError(
            f"class_weights has shape {weights.shape}: must be ({count},), one weight per class"
        )
    if isinstance(class_weights, (list, tuple, np.ndarray)):
        known = np.asarray(class_weights)
        if known.min() < 0 or known.sum() <= 0:
            raise ConfigError(f"class_weights={class_weights}: must be >= 0 and not all zero")
    return weights * (count / jnp.sum(weights))
