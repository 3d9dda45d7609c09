"""What is compared with what: logits or probabilities of independent or exclusive classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from segjax.errors import ConfigError
from segjax.losses._arguments import as_float, broadcast_valid, check_choice, check_same_shape

PredIs = Literal["logits", "probs"]
Classes = Literal["independent", "exclusive"]


@dataclass(frozen=True)
class Prediction:
    """Checked arguments of a loss, [B, ..., C] in float32 or wider.

    pred holds logits or probabilities; where a pixel does not count, 0 (logits) or 0.5, so that
    nothing it held can reach the loss or the gradient. target is 0 to 1, and 0 there.
    """

    pred: jax.Array
    target: jax.Array
    valid: jax.Array | None
    pred_is: PredIs
    classes: Classes

    @property
    def probs(self) -> jax.Array:
        """Probabilities [B, ..., C]."""
        if self.pred_is == "probs":
            return self.pred
        if self.classes == "exclusive":
            return jax.nn.softmax(self.pred, axis=-1)
        return jax.nn.sigmoid(self.pred)

    @property
    def surprise(self) -> jax.Array:
        """``-log(probs)`` [B, ..., C], finite."""
        if self.pred_is == "probs":
            return -log_above(self.pred)
        if self.classes == "exclusive":
            return -jax.nn.log_softmax(self.pred, axis=-1)
        return softplus(-self.pred)

    @property
    def surprise_not(self) -> jax.Array:
        """``-log(1 - probs)`` [B, ..., C], finite."""
        if self.pred_is == "logits" and self.classes == "independent":
            return softplus(self.pred)
        return -log_above(1 - self.probs)

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
def softplus(x: jax.Array) -> jax.Array:
    """Return log(1 + exp(x)) without overflow; its derivative shares the one exponential."""
    return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


@softplus.defjvp
def _softplus_jvp(
    primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    (x,), (x_dot,) = primals, tangents
    return softplus(x), _sigmoid(x) * x_dot


@jax.custom_jvp
def _sigmoid(x: jax.Array) -> jax.Array:
    small = jnp.exp(-jnp.abs(x))
    return jnp.where(x >= 0, 1, small) / (1 + small)


@_sigmoid.defjvp
def _sigmoid_jvp(
    primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    (x,), (x_dot,) = primals, tangents
    return _sigmoid(x), _sigmoid(x) * _sigmoid(-x) * x_dot


def power_from_zero(x: jax.Array, exponent: ArrayLike) -> jax.Array:
    """Return ``x ** exponent`` for x >= 0, with a finite gradient at 0 for any exponent > 0.

    Below the dtype's eps the power is replaced by the line from (0, 0) to (eps, eps ** exponent);
    for an exponent of 0 the result is 1.
    """
    eps = jnp.finfo(x.dtype).eps
    inner = jnp.maximum(x, eps) ** exponent
    line = jnp.maximum(x, 0) * (jnp.asarray(eps, x.dtype) ** exponent / eps)
    if isinstance(exponent, (int, float)) and exponent == 0:
        return jnp.ones_like(x)
    return jnp.where(x < eps, line, inner)


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
    if classes == "exclusive" and jnp.shape(target) == shape[:-1]:
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
    return Prediction(p, t, mask, pred_is, classes)


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
