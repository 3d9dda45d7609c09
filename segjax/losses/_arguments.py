"""The arguments of a loss: what is compared with what, checked and brought to one dtype."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from segjax.errors import ConfigError
from segjax.losses._numerics import focus, focused_sigmoid, log_above, sigmoid_terms, softmax_terms

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Shaped

PredIs = Literal["logits", "probs"]
Classes = Literal["multilabel", "multiclass"]
ClassWeights = ArrayLike | Sequence[float] | None

_FORMER = {"independent": "multilabel", "exclusive": "multiclass"}


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
    classes: tuple[int, ...] = (),
) -> None:
    """Raise a ConfigError if a setting is not one number, or is out of range.

    The values of traced settings pass: they are not known yet. `above` excludes `low` itself; with
    `classes`, the shape [C], the setting may also be one number for each class.
    """
    if _is_concrete(value):
        try:
            known = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            raise ConfigError(f"{name}={value!r}: must be a number") from None
        if not np.all((known > low if above else known >= low) & (known <= high)):
            sign = ">" if above else ">="
            upper = "" if high == float("inf") else f" and <= {high:g}"
            raise ConfigError(f"{name}={value!r}: must be {sign} {low:g}{upper}")
    if np.shape(value) not in ((), classes):
        each = f", or one for each class {classes}" if classes else ""
        raise ConfigError(f"{name} has shape {np.shape(value)}: must be one number{each}")


def class_number(
    name: str, value: ArrayLike, shape: tuple[int, ...], dtype: Any, **limits: Any
) -> Any:
    """Return a setting that is one number or, for cells of `shape` [..., C], one for each class.

    Raises:
      ConfigError: as `check_number`, whose limits these are.
    """
    check_number(name, value, classes=shape[-1:], **limits)
    given = np.shape(as_array(name, value))
    if isinstance(value, (int, float)):
        return value
    return jnp.asarray(value, dtype).reshape((1,) * (len(shape) - 1) + given if given else ())


def as_array(name: str, value: Any) -> Any:
    """Return an array that JAX takes, or raise a ConfigError that says what was given."""
    try:
        if not isinstance(value, np.ndarray | np.generic | Array | list | tuple | int | float):
            raise TypeError
        array = jnp.asarray(value) if isinstance(value, list | tuple) else value
        jnp.result_type(array)
        return array
    except (TypeError, ValueError):
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        told = f"{name} is a {kind}: must be a NumPy or JAX array, or lists of numbers"
        raise ConfigError(told) from None


def as_float(*arrays: ArrayLike) -> tuple[Array, ...]:
    """Bring arrays to one floating dtype: float32, or float64 where one of them already is.

    float16 and bfloat16 are widened, so that no sum of a loss is taken in half precision.
    Integers and booleans become float32.
    """
    values = [jnp.asarray(array) for array in arrays]
    wide = any(v.dtype == jnp.float64 for v in values)
    for value in values:
        if jnp.issubdtype(value.dtype, jnp.complexfloating):
            raise ConfigError(f"a loss cannot read {value.dtype} arrays")
    return tuple(value.astype(jnp.float64 if wide else jnp.float32) for value in values)


def check_same_shape(pred: ArrayLike, target: ArrayLike, hint: str = "") -> None:
    """Raise a ConfigError unless both arrays have the same shape."""
    one, two = jnp.shape(pred), jnp.shape(target)
    if one != two:
        told = f"pred has shape {one} but target {two}: they must be equal"
        raise ConfigError(told + (hint if two == one[:-1] else ""))


def check_some(pred: ArrayLike) -> None:
    """Raise a ConfigError unless the array has an element."""
    if 0 in jnp.shape(pred):
        raise ConfigError(f"pred has shape {jnp.shape(pred)}: there is nothing to compare")


def compared(pred: Any, target: Any) -> tuple[Array, ...]:
    """Check raw values and targets of the same shape, and bring them to one floating dtype."""
    pred, target = as_array("pred", pred), as_array("target", target)
    check_same_shape(pred, target)
    check_some(pred)
    return as_float(pred, target)


def element_weights(
    valid: Any, shape: tuple[int, ...], *, per_element: bool = True
) -> Shaped[Array, "*shape"]:
    """Return what each element of `shape` weighs, 0 or False where it does not count.

    `valid` is bool, or the weights themselves; for each element, for each pixel (without the last
    axis) or for each sample (the first axis alone).
    """
    weights = jnp.asarray(as_array("valid", valid))
    if not (weights.dtype == jnp.bool_ or jnp.issubdtype(weights.dtype, jnp.floating)):
        raise ConfigError(
            f"valid has dtype {weights.dtype}: must be bool, True where a pixel counts, or "
            "floating, what it weighs"
        )
    if weights.dtype != jnp.bool_ and _is_concrete(valid):
        known = np.asarray(valid, np.float64)
        if not np.all((known >= 0) & (known < np.inf)):
            raise ConfigError("valid has weights below 0, infinite or NaN: must be finite and >= 0")
    allowed = [shape, shape[:-1], shape[:1]][not per_element :]
    if weights.shape not in allowed:
        told = " or ".join(map(str, dict.fromkeys(allowed)))
        raise ConfigError(f"valid has shape {weights.shape}: must be {told}")
    if weights.dtype != jnp.bool_:  # in a trace, what could not be refused does not count
        weights = jnp.where(weights > 0, weights, 0)
    ones = (1,) * (len(shape) - weights.ndim)
    return jnp.broadcast_to(weights.reshape(weights.shape + ones), shape)


class Terms(NamedTuple):
    """Probabilities and their logarithms, [B, ..., C] each, from one exponential per element."""

    probs: Array
    probs_not: Array  # 1 - probs, exact near 0 for logits of a multilabel loss
    nll: Array  # -log(probs), finite
    nll_not: Array  # -log(1 - probs), finite


@dataclass(frozen=True)
class Prediction:
    """Checked arguments of a loss, in float32 or wider.

    pred holds logits or probabilities; where a pixel does not count, 0 (logits) or 0.5, so that
    nothing it held can reach the loss or the gradient. target is 0 to 1, and 0 there. weights are
    0 there and 1 elsewhere, or what elements weigh; None if all weigh the same. one_hot says that
    the target came as labels: at most one class of a pixel is 1, the others are 0.

    What two terms of a loss both read is computed once: hand them the same Prediction.
    """

    pred: Float[Array, "B *space C"]
    target: Float[Array, "B *space C"]
    weights: Float[Array, "B *space C"] | None
    pred_is: PredIs
    classes: Classes
    one_hot: bool = False

    @property
    def _sigmoid(self) -> bool:
        return self.pred_is == "logits" and self.classes == "multilabel"

    @functools.cached_property
    def terms(self) -> Terms:
        """All terms; under jit, those that nothing reads cost nothing."""
        if self._sigmoid:
            return Terms(*sigmoid_terms(self.pred))
        if self.pred_is == "logits":
            nll, probs = softmax_terms(self.pred)
        else:
            nll, probs = -log_above(self.pred), self.pred
        return Terms(probs, 1 - probs, nll, -log_above(1 - probs))

    @property
    def probs(self) -> Array:
        """Probabilities [B, ..., C]; from the terms if those are there, alone they are cheaper."""
        if self._sigmoid and "terms" not in self.__dict__:
            return jax.nn.sigmoid(self.pred)
        return self.terms.probs

    def focused(self, gamma: ArrayLike) -> tuple[Array, Array]:
        """Focal terms: ``-(1 - p) ** gamma log p`` and ``-p ** gamma log(1 - p)`` [B, ..., C]."""
        if self._sigmoid and isinstance(gamma, (int, float)):
            return focused_sigmoid(self.pred, float(gamma))
        p, q, nll, nll_not = self.terms
        return focus(q, nll_not, gamma) * nll, focus(p, nll, gamma) * nll_not

    @functools.cached_property
    def nll_there(self) -> Array:
        """``-log`` of the probability of what is there, ``-sum_c t_c log p_c`` [B, ...]."""
        return jnp.sum(self.target * self.terms.nll, -1)

    @property
    def valid(self) -> Bool[Array, "B *space C"] | None:
        """Where an element counts; None if all do."""
        return None if self.weights is None else self.weights > 0


def _is_concrete(array: Any) -> bool:
    return not isinstance(array, jax.core.Tracer) and getattr(array, "is_fully_addressable", True)


def _check_range(name: str, array: ArrayLike, mask: Any, hint: str) -> None:
    """Refuse values outside [0, 1], where they are known outside of jit."""
    values = np.asarray(array).astype(np.float64)[mask]
    if values.size and not -1e-3 <= values.min() <= values.max() <= 1 + 1e-3:  # nor NaN
        raise ConfigError(
            f"{name} has values from {values.min():g} to {values.max():g}: must be in [0, 1]; "
            f"{hint}"
        )


def _check_labels(labels: ArrayLike, mask: Any, count: int) -> None:
    """Refuse labels that no channel stands for, where they are known outside of jit."""
    known = np.asarray(labels)[mask]
    if known.size and (known.min() < 0 or known.max() >= count):
        raise ConfigError(
            f"labels go from {known.min()} to {known.max()}: must be in 0..{count - 1}, one per "
            "channel of pred; leave others out with valid"
        )


def _check_sums(probs: ArrayLike, mask: Any) -> None:
    """Refuse probabilities of classes that exclude each other and do not sum to 1."""
    sums = np.asarray(probs).astype(np.float64).sum(-1)[mask]
    if sums.size and np.abs(sums - 1).max() > 1e-2:
        raise ConfigError(
            f"pred sums to {sums.min():g} to {sums.max():g} over the classes of a pixel: must be 1 "
            "where classes='multiclass'; say classes='multilabel' if they may overlap"
        )


def prepare(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    pred_is: PredIs,
    classes: Classes = "multilabel",
    valid: ArrayLike | None = None,
    accepts: tuple[str, ...] = ("logits", "probs"),
) -> Prediction:
    """Check a loss's arguments, as `segjax.losses` has them, and bring them to one dtype and shape.

    Args:
      accepts: what pred may hold for this loss.

    Raises:
      ConfigError: see `segjax.losses`; on values only where they are known outside of jit.
    """
    check_choice("pred_is", pred_is, accepts)
    if classes in _FORMER:
        raise ConfigError(f"classes={classes!r}: is called {_FORMER[classes]!r} now")
    check_choice("classes", classes, ("multilabel", "multiclass"))
    pred, target = as_array("pred", pred), as_array("target", target)
    if not jnp.issubdtype(jnp.result_type(pred), jnp.floating):
        raise ConfigError(f"pred has dtype {jnp.result_type(pred)}: must be floating")
    shape = jnp.shape(pred)
    if len(shape) < 2:
        raise ConfigError(f"pred has shape {shape}: must be [batch, ..., classes]")
    check_some(pred)
    if classes == "multiclass" and shape[-1] == 1:
        raise ConfigError(
            f"pred has shape {shape}: one channel is no choice of a class; give one for each, the "
            "background too, or say classes='multilabel'"
        )
    weights = None
    if valid is not None:
        weights = element_weights(valid, shape, per_element=classes == "multilabel")
    check_values = valid is None or _is_concrete(valid)
    known_mask = np.asarray(valid) > 0 if valid is not None and check_values else ...
    one_hot = classes == "multiclass" and jnp.shape(target) == shape[:-1]
    if one_hot:
        if not jnp.issubdtype(jnp.result_type(target), jnp.integer):
            raise ConfigError(
                f"labels have dtype {jnp.result_type(target)}: must be integer, one per pixel"
            )
        if check_values and _is_concrete(target):
            _check_labels(target, known_mask, shape[-1])
        target = jax.nn.one_hot(jnp.asarray(target), shape[-1], dtype=jnp.result_type(pred))
    else:
        hint = "; labels need classes='multiclass', or cross_entropy in place of bce"
        check_same_shape(pred, target, hint)
        if check_values and _is_concrete(target):
            _check_range("target", target, known_mask, "divide the masks by their class values")
    if pred_is == "probs" and check_values and _is_concrete(pred):
        _check_range("pred", pred, known_mask, "say pred_is='logits' if these are logits")
        if classes == "multiclass":
            _check_sums(pred, known_mask)
    p, t = as_float(pred, target)
    if weights is not None:
        weights = weights.astype(p.dtype)
        p = jnp.where(weights > 0, p, 0.0 if pred_is == "logits" else 0.5)
        t = jnp.where(weights > 0, t, 0)
    return Prediction(p, t, weights, pred_is, classes, one_hot)


def class_weight_row(class_weights: ClassWeights, shape: tuple[int, ...], dtype: Any) -> Any:
    """Return class weights, scaled to a mean of 1, for cells of `shape` [..., C]; None for None.

    Raises:
      ConfigError: not one weight per class, or (outside of jit) negative or all zero.
    """
    if class_weights is None:
        return None
    count = shape[-1]
    weights = jnp.asarray(as_array("class_weights", class_weights), dtype)
    if weights.shape != (count,):
        raise ConfigError(
            f"class_weights has shape {weights.shape}: must be ({count},), one weight per class"
        )
    if _is_concrete(class_weights):
        known = np.asarray(class_weights, np.float64)
        if not (known.min() >= 0 and 0 < known.sum() < np.inf):
            raise ConfigError(f"class_weights={class_weights}: must be >= 0 and not all zero")
    return jnp.broadcast_to(weights * (count / jnp.sum(weights)), shape)
