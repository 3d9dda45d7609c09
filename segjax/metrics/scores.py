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

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax.numpy as jnp
import numpy as np

from segjax.errors import ConfigError
from segjax.metrics.counts import Counts

Absent = Literal["skip", "nan", "zero", "one"]
Average = Literal["none", "micro", "macro", "weighted"]
Over = Literal["set", "image"]

_FILL = {"skip": float("nan"), "nan": float("nan"), "zero": 0.0, "one": 1.0}


def check_choice(name: str, value: str, choices: Any) -> None:
    """Raise ConfigError unless ``value`` is one of a Literal's (or tuple's) choices."""
    allowed = choices if isinstance(choices, tuple) else get_args(choices)
    if value not in allowed:
        raise ConfigError(f"{name}={value!r} is not one of {', '.join(map(repr, allowed))}")


def settle(num: Any, den: Any, *, gone: Any, otherwise: Any, absent: Absent) -> Any:
    """Return num / den, where den is 0 what the rule of this module says.

    Args:
        num: float array.
        den: float array, the same shape, 0 where the score is not defined.
        gone: bool array, whether the class is absent.
        otherwise: float array or number for classes that are there with den = 0.
        absent: what an absent class with den = 0 scores.
    """
    xp = np if isinstance(num, np.ndarray) else jnp
    undefined = den == 0
    value = xp.where(undefined, otherwise, num / xp.where(undefined, 1, den))
    return xp.where(undefined & gone, _FILL[absent], value)


def average_classes(value: Any, *, weights: Any, average: Average, absent: Absent) -> Any:
    """Return the average of per-class scores over the last axis.

    Args:
        value: float [..., C]; NaN marks an absent class.
        weights: float [..., C], for ``'weighted'``; where all are 0 the classes count the same.
        average: ``'none'`` returns ``value``, ``'micro'`` its only entry, ``'macro'`` the plain
            mean, ``'weighted'`` the mean by ``weights``.
        absent: ``'skip'`` leaves NaN out (nothing left: NaN); otherwise NaN spreads.
    """
    if average == "none":
        return value
    if average == "micro":
        return value[..., 0][()]
    xp = np if isinstance(value, np.ndarray) else jnp
    if average == "macro":
        weights = xp.ones_like(value)
    else:
        weights = xp.where(weights.sum(-1, keepdims=True) > 0, weights, 1.0)
    if absent == "skip":
        weights = xp.where(xp.isnan(value), 0.0, weights)
        value = xp.where(xp.isnan(value), 0.0, value)
    total = weights.sum(-1)
    mean = (weights * value).sum(-1) / xp.where(total > 0, total, 1.0)
    return xp.where(total > 0, mean, float("nan"))[()]


def mean_over_images(scores: Any) -> Any:
    """Return the mean over the first axis, leaving NaN out; NaN where nothing is left.

    Use it on per-image scores [N] or [N, C]. Infinite distances are not left out.
    """
    scores = np.asarray(scores, np.float64)
    seen = ~np.isnan(scores)
    number = seen.sum(axis=0)
    mean = np.where(seen, scores, 0.0).sum(axis=0) / np.maximum(number, 1)
    return np.where(number > 0, mean, np.nan)[()]


def _score(
    counts: Counts,
    ratio: Callable[..., tuple[Any, Any]],
    *,
    average: Average,
    absent: Absent,
    over: Over,
    extreme: Callable[..., Any] | None = None,
) -> Any:
    check_choice("average", average, Average)
    check_choice("absent", absent, Absent)
    check_choice("over", over, Over)
    if over == "image" and np.ndim(counts.tp) < 2:
        raise ConfigError("over='image' needs per-image counts: count(..., per_image=True)")
    if over == "set":
        counts = counts.total()
    if counts.traced:
        tp, fp, fn, tn = (leaf.astype(jnp.float32) for leaf in _columns(counts))
    else:
        tp, fp, fn, tn = (leaf.astype(np.float64) for leaf in _columns(counts.to_host()))
    support = tp + fn
    if average == "micro":
        tp, fp, fn, tn = (leaf.sum(-1, keepdims=True) for leaf in (tp, fp, fn, tn))
    num, den = ratio(tp, fp, fn, tn)
    otherwise = (fp + fn == 0) * 1.0 if extreme is None else extreme(tp, fp, fn, tn)
    value = settle(num, den, gone=tp + fp + fn == 0, otherwise=otherwise, absent=absent)
    return average_classes(value, weights=support, average=average, absent=absent)


def _columns(counts: Counts) -> tuple[Any, Any, Any, Any]:
    return counts.tp, counts.fp, counts.fn, counts.tn


def iou(
    counts: Counts, *, average: Average = "none", absent: Absent = "skip", over: Over = "set"
) -> Any:
    """Return intersection over union (Jaccard), tp / (tp + fp + fn), in [0, 1].

    Args:
        counts: confusion counts [C] or, with images kept apart, [N, C].
        average: ``'none'`` gives one score per class; ``'micro'`` adds the classes' counts up
            first; ``'macro'`` is the mean of the classes' scores; ``'weighted'`` is their mean
            weighted by each class's pixels in the target (equal weights if there are none).
        absent: what a class counts for that is in neither prediction nor target; see the module.
        over: ``'set'`` pools all images before scoring; ``'image'`` scores each image and keeps
            them apart (then :func:`mean_over_images`).

    Returns:
        float64 NumPy, or float32 in a trace: [C], with ``over='image'`` [N, C]; without the C
        for any average.

    Raises:
        ConfigError: at trace time, for an unknown choice or ``over='image'`` on counts [C].
    """
    return _score(
        counts,
        lambda tp, fp, fn, tn: (tp, tp + fp + fn),
        average=average,
        absent=absent,
        over=over,
    )


def dice(
    counts: Counts, *, average: Average = "none", absent: Absent = "skip", over: Over = "set"
) -> Any:
    """Return the Dice score (F1), 2 tp / (2 tp + fp + fn), in [0, 1]; arguments as :func:`iou`."""
    return _score(
        counts,
        lambda tp, fp, fn, tn: (2 * tp, 2 * tp + fp + fn),
        average=average,
        absent=absent,
        over=over,
    )


def precision(
    counts: Counts, *, average: Average = "none", absent: Absent = "skip", over: Over = "set"
) -> Any:
    """Return the share of predicted pixels that are right, tp / (tp + fp); as :func:`iou`."""
    return _score(
        counts, lambda tp, fp, fn, tn: (tp, tp + fp), average=average, absent=absent, over=over
    )


def recall(
    counts: Counts, *, average: Average = "none", absent: Absent = "skip", over: Over = "set"
) -> Any:
    """Return the share of target pixels that were found, tp / (tp + fn); as :func:`iou`."""
    return _score(
        counts, lambda tp, fp, fn, tn: (tp, tp + fn), average=average, absent=absent, over=over
    )


def specificity(
    counts: Counts, *, average: Average = "none", absent: Absent = "skip", over: Over = "set"
) -> Any:
    """Return the share of other pixels left alone, tn / (tn + fp); arguments as :func:`iou`.

    Defined for an absent class too (it is then 1 if a pixel is valid), so ``absent`` only acts
    where no pixel is valid.
    """
    return _score(
        counts, lambda tp, fp, fn, tn: (tn, tn + fp), average=average, absent=absent, over=over
    )


def accuracy(
    counts: Counts, *, average: Average = "none", absent: Absent = "skip", over: Over = "set"
) -> Any:
    """Return the share of pixels judged right, (tp + tn) / all; arguments as :func:`iou`.

    Per class, on or off. High by itself where most pixels are background. The pixel accuracy of
    exclusive classes, background included, is ``recall(counts, average='micro')``. As with
    :func:`specificity`, ``absent`` only acts where no pixel is valid.
    """
    return _score(
        counts,
        lambda tp, fp, fn, tn: (tp + tn, tp + fp + fn + tn),
        average=average,
        absent=absent,
        over=over,
    )


def mcc(
    counts: Counts, *, average: Average = "none", absent: Absent = "skip", over: Over = "set"
) -> Any:
    """Return Matthews' correlation coefficient, in [-1, 1]; arguments as :func:`iou`.

    (tp tn - fp fn) / sqrt((tp + fp) (tp + fn) (tn + fp) (tn + fn)). Where that is 0/0 and the
    class is there: 1 if nothing is wrong, -1 if nothing is right, else 0 (Chicco and Jurman,
    "The advantages of the Matthews correlation coefficient", 2020).
    """

    def ratio(tp: Any, fp: Any, fn: Any, tn: Any) -> tuple[Any, Any]:
        # Rooted in pairs: exactly 1 where nothing is wrong, and no product of four counts, which
        # leaves float32's range.
        return tp * tn - fp * fn, ((tp + fp) * (tp + fn)) ** 0.5 * ((tn + fp) * (tn + fn)) ** 0.5

    def extreme(tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
        return (fp + fn == 0) * 1.0 - (tp + tn == 0) * 1.0

    return _score(counts, ratio, average=average, absent=absent, over=over, extreme=extreme)


SCORES: dict[str, Callable[..., Any]] = {
    score.__name__: score for score in (iou, dice, precision, recall, specificity, accuracy, mcc)
}
"""The scores by name, for a report's columns."""
