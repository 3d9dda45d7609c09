"""The overlap losses: Dice, Jaccard, Tversky and their kin, on one core.

Each compares sums over pixels. With p the probability and t the target, over the pixels of a cell
``I = sum(p t)``, ``FP = sum(p (1 - t))``, ``FN = sum((1 - p) t)``.

Arguments that all share:
  pred: float [B, ..., C]; sums are taken in float32 or wider.
  target: 0 to 1, of the same shape; for exclusive classes also integer labels [B, ...].
  pred_is: 'logits' or 'probs'; never guessed.
  classes: 'independent' (a sigmoid per channel) or 'exclusive' (softmax over the channels).
  smooth: added once to the numerator and once to the denominator, as if that many pixels (for
    Dice, half as many) had been right already. It makes an empty prediction of an empty target
    cost 0, and it is all that pushes false positives off an empty target: with 0 such a cell
    costs 1 with no gradient.
  over: a cell is one 'sample', or the whole 'batch'. By sample, the mean over shards of a batch is
    the loss of the batch; by batch, it is not.
  per_class: a cell is one class (averaged afterwards), or all classes together.
  absent: 'count' cells whose target is empty, or 'skip' them.
  class_weights: [C], scaled to a mean of 1; needs per_class.
  valid: None, or bool [B, ...]: pixels that count. Others leave all sums; a cell without any leaves
    the mean. With no pixel left the loss is 0.
  reduction: 'mean' over cells, 'sum', or 'none': [B, C], [B], [C] or [], by over and per_class.

All raise ConfigError at trace time for wrong shapes, dtypes or settings, and outside of jit also
for targets outside [0, 1].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from segjax.errors import ConfigError
from segjax.losses._arguments import (
    Reduction,
    check_choice,
    check_number,
    divide,
    reduce_cells,
)
from segjax.losses._prediction import (
    Classes,
    Prediction,
    PredIs,
    class_weight_row,
    power_from_zero,
    prepare,
)

Over = Literal["sample", "batch"]
Absent = Literal["count", "skip"]


def cell_axes(ndim: int, *, over: Over, per_class: bool) -> tuple[int, ...]:
    """Return the axes of [B, ..., C] that a cell sums over."""
    check_choice("over", over, ("sample", "batch"))
    first = 1 if over == "sample" else 0
    return tuple(range(first, ndim - 1 if per_class else ndim))


@dataclass(frozen=True)
class Sums:
    """Sums over the pixels of each cell."""

    both: jax.Array  # sum(p t)
    pred: jax.Array  # sum(p), or sum(p p) if squared
    target: jax.Array  # sum(t), or sum(t t) if squared
    pixels: jax.Array  # how many count

    @property
    def false_positives(self) -> jax.Array:
        """Probability given to pixels that are not in the target."""
        return self.pred - self.both

    @property
    def false_negatives(self) -> jax.Array:
        """Target that the probability misses."""
        return self.target - self.both


def cell_sums(
    probs: jax.Array,
    target: jax.Array,
    counted: jax.Array | None,
    axes: tuple[int, ...],
    *,
    squared: bool = False,
) -> Sums:
    """Sum probabilities, targets and their product over the pixels of each cell.

    counted is 1 where an element counts, else 0; the target must be 0 there already.
    """
    p, t = (probs if counted is None else probs * counted), target
    both = jnp.sum(p * t, axes)
    if counted is None:
        pixels = jnp.full(both.shape, p.size // both.size, p.dtype)
    else:
        pixels = jnp.sum(counted, axes)
    if squared:
        return Sums(both, jnp.sum(p * p, axes), jnp.sum(t * t, axes), pixels)
    return Sums(both, jnp.sum(p, axes), jnp.sum(t, axes), pixels)


def cell_weights(
    sums: Sums,
    inputs: Prediction,
    *,
    per_class: bool,
    absent: Absent,
    class_weights: ArrayLike | Sequence[float] | None,
) -> jax.Array | None:
    """Return the weight of each cell in the mean, or None if all are 1."""
    check_choice("absent", absent, ("count", "skip"))
    if class_weights is not None and not per_class:
        raise ConfigError("class_weights needs per_class=True: together, classes have no cells")
    row = class_weight_row(class_weights, inputs.pred.shape[-1], inputs.pred.dtype)
    if row is None and absent == "count" and inputs.valid is None:
        return None
    weights = jnp.ones_like(sums.both) if row is None else jnp.broadcast_to(row, sums.both.shape)
    if absent == "skip":
        weights = jnp.where(sums.target > 0, weights, 0)
    return jnp.where(sums.pixels > 0, weights, 0)


def tversky_index(
    sums: Sums, *, fp_weight: ArrayLike, fn_weight: ArrayLike, smooth: ArrayLike
) -> jax.Array:
    """Return ``(I + smooth) / (I + fp_weight FP + fn_weight FN + smooth)``, 1 for 0 / 0."""
    top = sums.both + smooth
    bottom = top + fp_weight * sums.false_positives + fn_weight * sums.false_negatives
    return divide(top, bottom, empty=1.0)


def dice_prob(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    pred_is: PredIs,
    classes: Classes = "independent",
    smooth: float = 1.0,
    squared: bool = False,
    over: Over = "sample",
    per_class: bool = True,
    absent: Absent = "count",
    class_weights: ArrayLike | Sequence[float] | None = None,
    valid: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Return the Dice loss on probabilities, ``1 - (2 I + s) / (P + T + s)``, in [0, 1].

    P and T are the sums of p and t, or of their squares if `squared` (V-Net). See the module for
    the arguments. Milletari et al. 2016; Drozdzal et al. 2016. Kaggle's is over='batch',
    per_class=False; SMP's smooth counts twice as much; MONAI's and nnU-Net's differ in its default.
    """
    return dice_of(
        prepare(pred, target, pred_is=pred_is, classes=classes, valid=valid),
        smooth=smooth,
        squared=squared,
        over=over,
        per_class=per_class,
        absent=absent,
        class_weights=class_weights,
        reduction=reduction,
    )


def dice_of(
    inputs: Prediction,
    *,
    smooth: float = 1.0,
    squared: bool = False,
    over: Over = "sample",
    per_class: bool = True,
    absent: Absent = "count",
    class_weights: ArrayLike | Sequence[float] | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Return `dice_prob` of arguments that are checked already."""
    check_number("smooth", smooth)
    axes = cell_axes(inputs.pred.ndim, over=over, per_class=per_class)
    sums = cell_sums(inputs.probs, inputs.target, inputs.counted, axes, squared=squared)
    score = divide(2 * sums.both + smooth, sums.pred + sums.target + smooth, empty=1.0)
    weights = cell_weights(
        sums, inputs, per_class=per_class, absent=absent, class_weights=class_weights
    )
    return reduce_cells(1 - score, weights, reduction)


def jaccard(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    pred_is: PredIs,
    classes: Classes = "independent",
    smooth: float = 1.0,
    over: Over = "sample",
    per_class: bool = True,
    absent: Absent = "count",
    class_weights: ArrayLike | Sequence[float] | None = None,
    valid: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Return the Jaccard (IoU) loss, ``1 - (I + s) / (P + T - I + s)``, in [0, 1].

    See the module for the arguments. Rahman & Wang 2016.
    """
    return tversky(
        pred,
        target,
        pred_is=pred_is,
        classes=classes,
        fp_weight=1.0,
        fn_weight=1.0,
        smooth=smooth,
        over=over,
        per_class=per_class,
        absent=absent,
        class_weights=class_weights,
        valid=valid,
        reduction=reduction,
    )


def tversky(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    pred_is: PredIs,
    classes: Classes = "independent",
    fp_weight: float = 0.3,
    fn_weight: float = 0.7,
    smooth: float = 1.0,
    over: Over = "sample",
    per_class: bool = True,
    absent: Absent = "count",
    class_weights: ArrayLike | Sequence[float] | None = None,
    valid: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Return the Tversky loss, ``1 - (I + s) / (I + fp_weight FP + fn_weight FN + s)``, in [0, 1].

    fp_weight is alpha of Salehi et al. 2017 and of Kaggle, fn_weight is beta (Keras 3.15 has them
    the other way round). 0.5 and 0.5 is Dice with twice the smooth; 1 and 1 is Jaccard. See the
    module for the other arguments.
    """
    return focal_tversky(
        pred,
        target,
        pred_is=pred_is,
        classes=classes,
        exponent=1.0,
        fp_weight=fp_weight,
        fn_weight=fn_weight,
        smooth=smooth,
        over=over,
        per_class=per_class,
        absent=absent,
        class_weights=class_weights,
        valid=valid,
        reduction=reduction,
    )


def focal_tversky(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    pred_is: PredIs,
    classes: Classes = "independent",
    exponent: float = 0.75,
    fp_weight: float = 0.3,
    fn_weight: float = 0.7,
    smooth: float = 1.0,
    over: Over = "sample",
    per_class: bool = True,
    absent: Absent = "count",
    class_weights: ArrayLike | Sequence[float] | None = None,
    valid: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Return the focal Tversky loss, ``(1 - TI) ** exponent``, in [0, 1].

    TI is the index of `tversky`. exponent is 1 / gamma of Abraham & Khan 2019 (their gamma is 4/3)
    and gamma of Kaggle. Its gradient is finite at TI = 1 for exponents below 1 too. See the
    module for the other arguments.
    """
    check_number("exponent", exponent, above=True)
    check_number("fp_weight", fp_weight)
    check_number("fn_weight", fn_weight)
    check_number("smooth", smooth)
    inputs = prepare(pred, target, pred_is=pred_is, classes=classes, valid=valid)
    axes = cell_axes(inputs.pred.ndim, over=over, per_class=per_class)
    sums = cell_sums(inputs.probs, inputs.target, inputs.counted, axes)
    loss = 1 - tversky_index(sums, fp_weight=fp_weight, fn_weight=fn_weight, smooth=smooth)
    if not (isinstance(exponent, (int, float)) and exponent == 1):
        loss = power_from_zero(loss, exponent)
    weights = cell_weights(
        sums, inputs, per_class=per_class, absent=absent, class_weights=class_weights
    )
    return reduce_cells(loss, weights, reduction)


def log_cosh_dice(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    pred_is: PredIs,
    classes: Classes = "independent",
    smooth: float = 1.0,
    over: Over = "sample",
    per_class: bool = True,
    absent: Absent = "count",
    class_weights: ArrayLike | Sequence[float] | None = None,
    valid: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Return log-cosh Dice, ``log(cosh(Dice))``, in [0, 0.434].

    Dice is `dice_prob` of the same cell. See the module for the arguments. Jadon 2020.
    """
    check_number("smooth", smooth)
    inputs = prepare(pred, target, pred_is=pred_is, classes=classes, valid=valid)
    axes = cell_axes(inputs.pred.ndim, over=over, per_class=per_class)
    sums = cell_sums(inputs.probs, inputs.target, inputs.counted, axes)
    index = tversky_index(sums, fp_weight=0.5, fn_weight=0.5, smooth=smooth / 2)
    weights = cell_weights(
        sums, inputs, per_class=per_class, absent=absent, class_weights=class_weights
    )
    # log(cosh(x)), exact near 0
    loss = jnp.log1p(jnp.square(jnp.sinh(1 - index))) / 2
    return reduce_cells(loss, weights, reduction)


def generalized_dice(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    pred_is: PredIs,
    classes: Classes = "independent",
    smooth: float = 1.0,
    over: Over = "sample",
    absent: Absent = "count",
    valid: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Return generalized Dice, ``1 - (2 sum_c w_c I_c + s) / (sum_c w_c (P_c + T_c) + s)``.

    ``w_c = 1 / T_c ** 2`` of the cell, scaled so that the largest is 1, which makes smooth a
    number of pixels of the rarest class. A class that is absent from the cell gets weight 1 as
    the rarest one, or with absent='skip' weight 0. In [0, 1]; a cell is a sample or the batch. See
    the module for the other arguments. Sudre et al. 2017; an infinite weight is MONAI's case too,
    optax lets it grow to 1e7 and more, so that one absent class decides alone.
    """
    check_number("smooth", smooth)
    check_choice("absent", absent, ("count", "skip"))
    inputs = prepare(pred, target, pred_is=pred_is, classes=classes, valid=valid)
    axes = cell_axes(inputs.pred.ndim, over=over, per_class=True)
    sums = cell_sums(inputs.probs, inputs.target, inputs.counted, axes)
    present = sums.target > 0
    size = jnp.where(present, sums.target, jnp.inf)
    smallest = jnp.min(size, axis=-1, keepdims=True)
    smallest = jnp.where(jnp.isfinite(smallest), smallest, 1)
    weights = jnp.where(present, jnp.square(smallest / jnp.where(present, sums.target, 1)), 1)
    if absent == "skip":
        weights = jnp.where(present, weights, 0)
    top = 2 * jnp.sum(weights * sums.both, -1) + smooth
    bottom = jnp.sum(weights * (sums.pred + sums.target), -1) + smooth
    loss = 1 - divide(top, bottom, empty=1.0)
    cells = None
    if inputs.valid is not None or absent == "skip":
        counts = jnp.any(sums.pixels > 0, -1)
        counts = counts & jnp.any(present, -1) if absent == "skip" else counts
        cells = counts.astype(loss.dtype)
    return reduce_cells(loss, cells, reduction)


def mcc(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    pred_is: PredIs,
    classes: Classes = "independent",
    smooth: float = 1.0,
    over: Over = "sample",
    per_class: bool = True,
    absent: Absent = "count",
    class_weights: ArrayLike | Sequence[float] | None = None,
    valid: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Return one minus the Matthews correlation coefficient of soft counts, in [0, 2].

    ``1 - (TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN))``, where `smooth` pixels
    are added to TP and to TN: right ones, so an empty or a full target has a defined score (0 loss
    if predicted so) and a gradient. SMP and MONAI add their eps to all four counts instead, which
    makes any prediction of an empty target cost 1 with no gradient. smooth must be above 0. See
    the module for the other arguments. Abhishek & Hamarneh 2021.
    """
    check_number("smooth", smooth, above=True)
    inputs = prepare(pred, target, pred_is=pred_is, classes=classes, valid=valid)
    axes = cell_axes(inputs.pred.ndim, over=over, per_class=per_class)
    sums = cell_sums(inputs.probs, inputs.target, inputs.counted, axes)
    # As shares of the pixels, so that the products stay far from the ends of float32.
    total = sums.pixels + 2 * smooth
    tp = (sums.both + smooth) / total
    fp = sums.false_positives / total
    fn = sums.false_negatives / total
    tn = 1 - tp - fp - fn
    tn = jnp.maximum(tn, smooth / total)  # it is that at least; rounding may take it below
    bottom = jnp.sqrt((tp + fp) * (tn + fn)) * jnp.sqrt((tp + fn) * (tn + fp))
    weights = cell_weights(
        sums, inputs, per_class=per_class, absent=absent, class_weights=class_weights
    )
    return reduce_cells(1 - (tp * tn - fp * fn) / bottom, weights, reduction)
