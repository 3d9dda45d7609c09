"""Scores from confusion counts, under one rule for classes that are not there.

The rule. A score that is not 0/0 is never touched. One that is 0/0 depends on the class:

- the class is *absent* (neither prediction nor target has a valid pixel of it,
  tp + fp + fn = 0): ``absent`` decides. ``'skip'``, the default, gives NaN for the class and
  leaves it out of averages; ``'nan'`` gives NaN for the class and for every average over it;
  ``'zero'`` and ``'one'`` give that number and average it like any other.
- the class is there: 1 if nothing is wrong (fp + fn = 0), else 0. So precision is 0 where an
  object was missed altogether, and recall is 0 where a class was made up.

So a false positive is never excused as "absent": IoU is then 0, not NaN.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, get_args

import jax
import jax.numpy as jnp
import numpy as np

from segjax.errors import ConfigError
from segjax.metrics.counts import Counts

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Num

Absent = Literal["skip", "nan", "zero", "one"]
Average = Literal["none", "micro", "macro", "weighted"]
Over = Literal["set", "image"]
Function = TypeVar("Function", bound=Callable[..., Any])


def check_choice(name: str, value: str, choices: Any) -> None:
    """Raise ConfigError unless ``value`` is one of a Literal's (or tuple's) choices."""
    allowed = choices if isinstance(choices, tuple) else get_args(choices)
    if value not in allowed:
        raise ConfigError(f"{name}={value!r} is not one of {', '.join(map(repr, allowed))}")


def described(score: Function, formula: Callable[..., Any], arguments: str) -> Function:
    """Give ``score`` the name of its formula, and its docstring with the family's arguments."""
    for name in ("__module__", "__name__", "__qualname__"):
        setattr(score, name, getattr(formula, name))
    score.__doc__ = f"{inspect.getdoc(formula)}\n{arguments}"
    return score


class Ratio(NamedTuple):
    """A score as a fraction per class, with what the rule of this module asks."""

    num: "Float[Any, '*any C']"
    den: "Float[Any, '*any C']"  # 0 where the score is not defined
    gone: "Bool[Any, '*any C']"  # the class is absent
    weight: "Float[Any, '*any C']"  # for the 'weighted' average
    otherwise: Any = 0.0  # the score of a class that is there with den = 0


def score_classes(
    formula: Callable[..., Ratio],
    leaves: "Sequence[Num[Any, '*any C']]",
    *,
    average: str,
    absent: str,
) -> "Float[Any, '...']":
    """Return ``formula(*leaves)`` per class by the rule of this module, or its average."""
    check_choice("average", average, Average)
    check_choice("absent", absent, Absent)
    xp: Any = np if isinstance(leaves[0], np.ndarray) else jnp
    leaves = [leaf.astype(np.float64 if xp is np else np.float32) for leaf in leaves]
    if average == "micro":
        leaves = [leaf.sum(-1, keepdims=True) for leaf in leaves]
    num, den, gone, weight, otherwise = formula(*leaves)
    undefined = den == 0
    value = xp.where(undefined, otherwise, num / xp.where(undefined, 1.0, den))
    fill = {"zero": 0.0, "one": 1.0}.get(absent, float("nan"))
    value = xp.where(undefined & gone, fill, value)
    if average == "none":
        return value
    if average == "micro":
        return value[..., 0][()]
    kept = ~xp.isnan(value) if absent == "skip" else xp.ones_like(value, bool)
    if average == "macro":
        return mean_of(value, kept, axis=-1)
    weight = xp.where(weight.sum(-1, keepdims=True) > 0, weight, 1.0)
    return mean_of(value, kept, weight, axis=-1)


def mean_of(
    value: "Float[Any, '*shape']",
    kept: "Bool[Any, '*shape']",
    weight: "Num[Any, '*shape'] | None" = None,
    *,
    axis: int,
) -> "Float[Any, '...']":
    """Return the mean over an axis of the values that are kept; NaN where none weighs anything."""
    xp = np if isinstance(value, np.ndarray) else jnp
    weight = xp.where(kept, xp.ones_like(value) if weight is None else weight, 0.0)
    total = weight.sum(axis)
    mean = (weight * xp.where(kept, value, 0.0)).sum(axis) / xp.where(total > 0, total, 1.0)
    return xp.where(total > 0, mean, float("nan"))[()]


def mean_over_images(scores: Any) -> Any:
    """Return the mean over the first axis, leaving NaN out; NaN where nothing is left.

    Args:
        scores: per-image scores, float [N] or [N, C]. Infinite distances are not left out.

    Returns:
        float64, a number or [C].
    """
    scores = np.asarray(scores, np.float64)
    return mean_of(scores, ~np.isnan(scores), axis=0)


_ARGUMENTS = """
Args:
    counts: confusion counts in pixels, [C] or, with images kept apart, [N, C].
    average: ``'none'`` gives one score per class; ``'micro'`` adds the classes' counts up
        first; ``'macro'`` is the mean of the classes' scores; ``'weighted'`` is their mean
        weighted by each class's pixels in the target (equal weights if there are none).
    absent: what a class counts for that is in neither prediction nor target: ``'skip'`` (NaN,
        left out of averages), ``'nan'``, ``'zero'`` or ``'one'``.
    over: ``'set'`` pools all images before scoring; ``'image'`` scores each image and keeps
        them apart (then `mean_over_images`).

Returns:
    float64 NumPy, or float32 in a trace: [C], with ``over='image'`` [N, C]; without the C
    for any average.

Raises:
    ConfigError: at trace time, for an unknown choice or ``over='image'`` on counts [C].
"""


def _score(formula: Callable[..., tuple[Any, Any]], *, worst: float = 0.0) -> Callable[..., Any]:
    """Make (tp, fp, fn, tn) -> (num, den) a score; 0/0 is ``worst`` where nothing is right."""

    def ratio(tp: Any, fp: Any, fn: Any, tn: Any) -> Ratio:
        xp = np if isinstance(tp, np.ndarray) else jnp
        otherwise = xp.where(fp + fn == 0, 1.0, xp.where(tp + tn == 0, worst, 0.0))
        num, den = formula(tp, fp, fn, tn)
        return Ratio(num, den, gone=tp + fp + fn == 0, weight=tp + fn, otherwise=otherwise)

    def score(
        counts: Counts, *, average: Average = "none", absent: Absent = "skip", over: Over = "set"
    ) -> Any:
        return score_classes(ratio, _leaves(counts, over), average=average, absent=absent)

    return described(score, formula, _ARGUMENTS)


def _leaves(counts: Counts, over: Over) -> list[Any]:
    """Return tp, fp, fn and tn of the set or of each image."""
    check_choice("over", over, Over)
    if over == "image" and np.ndim(counts.tp) < 2:
        raise ConfigError("over='image' needs per-image counts: count(..., per_image=True)")
    if over == "set":
        counts = counts.total()
    return jax.tree.leaves(counts if counts.traced else counts.to_host())


@_score
def iou(tp: Any, fp: Any, fn: Any, tn: Any) -> tuple[Any, Any]:
    """Return intersection over union, tp / (tp + fp + fn), in [0, 1].

    Source: Jaccard, "The distribution of the flora in the alpine zone", 1912.
    """
    return tp, tp + fp + fn


@_score
def dice(tp: Any, fp: Any, fn: Any, tn: Any) -> tuple[Any, Any]:
    """Return the Dice score, 2 tp / (2 tp + fp + fn), in [0, 1]; of one class also called F1.

    Source: Dice, "Measures of the amount of ecologic association between species", 1945.
    """
    return 2 * tp, 2 * tp + fp + fn


@_score
def precision(tp: Any, fp: Any, fn: Any, tn: Any) -> tuple[Any, Any]:
    """Return the share of predicted pixels that are right, tp / (tp + fp), in [0, 1].

    Source: van Rijsbergen, "Information Retrieval", 1979, as `recall`.
    """
    return tp, tp + fp


@_score
def recall(tp: Any, fp: Any, fn: Any, tn: Any) -> tuple[Any, Any]:
    """Return the share of target pixels that were found, tp / (tp + fn), in [0, 1]."""
    return tp, tp + fn


@_score
def specificity(tp: Any, fp: Any, fn: Any, tn: Any) -> tuple[Any, Any]:
    """Return the share of other pixels left alone, tn / (tn + fp), in [0, 1].

    Defined for an absent class too (it is then 1 if a pixel is valid), so ``absent`` only acts
    where no pixel is valid.

    Source: Yerushalmy, "Statistical problems in assessing methods of medical diagnosis", 1947.
    """
    return tn, tn + fp


@_score
def accuracy(tp: Any, fp: Any, fn: Any, tn: Any) -> tuple[Any, Any]:
    """Return the share of pixels judged right, (tp + tn) / (tp + fp + fn + tn), in [0, 1].

    Per class, on or off. High by itself where most pixels are background. The pixel accuracy of
    multiclass labels, background included, is ``recall(counts, average='micro')``. As with
    `specificity`, ``absent`` only acts where no pixel is valid.
    """
    return tp + tn, tp + fp + fn + tn


@functools.partial(_score, worst=-1.0)
def mcc(tp: Any, fp: Any, fn: Any, tn: Any) -> tuple[Any, Any]:
    """Return Matthews' correlation coefficient, in [-1, 1].

    (tp tn - fp fn) / sqrt((tp + fp) (tp + fn) (tn + fp) (tn + fn)). Where that is 0/0 and the
    class is there: 1 if nothing is wrong, -1 if nothing is right, else 0.

    Source: Chicco and Jurman, "The advantages of the Matthews correlation coefficient", 2020.
    """
    # Rooted in pairs: exactly 1 where nothing is wrong, and no product of four counts, which
    # leaves float32's range.
    return tp * tn - fp * fn, ((tp + fp) * (tp + fn)) ** 0.5 * ((tn + fp) * (tn + fn)) ** 0.5


def f_beta(
    counts: Counts,
    *,
    average: Average = "none",
    absent: Absent = "skip",
    over: Over = "set",
    beta: float = 1.0,
) -> Any:
    """Return F-beta, (1 + b^2) tp / ((1 + b^2) tp + b^2 fn + fp), in [0, 1].

    b weighs recall against precision: 1 is `dice`, 2 cares more for what was missed, 0.5 for
    what was made up.

    Source: van Rijsbergen, "Information Retrieval", 1979.
    """
    if not (isinstance(beta, Real) and 0 <= beta < float("inf")):
        raise ConfigError(f"f_beta: beta must be a number of at least 0, got {beta!r}")
    square = beta * beta

    def formula(tp: Any, fp: Any, fn: Any, tn: Any) -> tuple[Any, Any]:
        return (1 + square) * tp, (1 + square) * tp + square * fn + fp

    return _score(formula)(counts, average=average, absent=absent, over=over)


_BETA = "    beta: what recall weighs against precision, at least 0.\n"
described(f_beta, f_beta, _ARGUMENTS.replace("\nReturns:", f"{_BETA}\nReturns:"))


def generalized_dice(
    counts: Counts, *, absent: Absent = "skip", over: Over = "set", power: float = 2.0
) -> Any:
    """Return generalized Dice, 2 sum_c w_c tp_c / sum_c w_c (2 tp_c + fp_c + fn_c), in [0, 1].

    ``w_c = 1 / (tp_c + fn_c) ** power``: of each class as much as of any other. A class that is
    not in the target weighs as the rarest one that is.

    Source: Crum et al. 2006; Sudre et al., "Generalised Dice overlap", 2017.

    Args:
        counts: confusion counts in pixels, [C] or, with images kept apart, [N, C].
        absent: the score where no class is in prediction or target: ``'skip'`` and ``'nan'``
            (NaN), ``'zero'`` or ``'one'``.
        over: ``'set'`` pools all images before scoring; ``'image'`` scores each image.
        power: 2 as in the paper, 1 by size, 0 without weights.

    Returns:
        float64 NumPy, or float32 in a trace: a number, with ``over='image'`` [N].

    Raises:
        ConfigError: at trace time, for an unknown choice, a power that is no number of at least 0,
            or ``over='image'`` on counts [C].
    """
    if not (isinstance(power, Real) and 0 <= power < float("inf")):
        raise ConfigError(f"generalized_dice: power must be a number of at least 0, got {power!r}")
    leaves = _leaves(counts, over)
    xp: Any = np if isinstance(leaves[0], np.ndarray) else jnp
    tp, fp, fn, _ = (leaf.astype(np.float64 if xp is np else np.float32) for leaf in leaves)
    true = tp + fn
    least = xp.where(true > 0, true, np.inf).min(-1, keepdims=True)
    weights = xp.where(true > 0, least / xp.where(true > 0, true, 1), 1) ** power
    sums = [(weights * part).sum(-1, keepdims=True) for part in (2 * tp, 2 * tp + fp + fn)]
    return score_classes(
        lambda num, den: Ratio(num, den, gone=den == 0, weight=den),
        sums,
        average="micro",
        absent=absent,
    )


SCORES: dict[str, Callable[..., Any]] = {
    score.__name__: score for score in (iou, dice, precision, recall, specificity, accuracy, mcc)
}
"""The scores by name, for a report's columns."""
