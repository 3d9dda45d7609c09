"""The overlap losses: Dice, Jaccard, Tversky and their kin.

Each compares sums over the pixels of a cell. With p the probability and t the target,
``I = sum(p t)``, ``P = sum(p)``, ``T = sum(t)``, ``FP = sum(p (1 - t))``, ``FN = sum((1 - p) t)``.
All take the options that `segjax.losses` describes; `generalized_dice` has no per_class and no
class_weights. `smooth` is added once to the numerator and once to the denominator, as if that many
pixels (for Dice, half as many) had been right already. It makes an empty prediction of an empty
target cost 0, and it is all that pushes false positives off an empty target: with 0 such a cell
costs 1 with no gradient.

Examples:
  >>> import numpy as np
  >>> target = np.zeros((1, 4, 4, 1))
  >>> target[:, 1:3, 1:3] = 1
  >>> round(float(dice_prob(0.5 * target, target, pred_is="probs", smooth=0)), 4)
  0.3333
"""

from typing import Unpack

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from segjax.losses._arguments import check_choice, check_number
from segjax.losses._cells import CellOptions, Cells, OverlapOptions, cells_of, reduce_cells
from segjax.losses._numerics import divide, power_from_zero


def dice_prob(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    smooth: ArrayLike = 1.0,
    squared: bool = False,
    **options: Unpack[OverlapOptions],
) -> Array:
    """Return the Dice loss on probabilities, ``1 - (2 I + s) / (P + T + s)``, in [0, 1].

    P and T are the sums of p and t, or of their squares if `squared` (V-Net). Milletari et al.
    2016; Drozdzal et al. 2016. Kaggle's is over='batch', per_class=False; SMP's smooth counts twice
    as much; MONAI's and nnU-Net's differ in its default.
    """
    return dice_of(cells_of(pred, target, **options), smooth=smooth, squared=squared)


def dice_of(cells: Cells, *, smooth: ArrayLike = 1.0, squared: bool = False) -> Array:
    """Return `dice_prob` of arguments that are checked already."""
    smooth = cells.number("smooth", smooth)
    sums = cells.sums(squared=squared)
    score = divide(2 * sums.both + smooth, sums.pred + sums.target + smooth, empty=1.0)
    return cells.reduce(1 - score, sums)


def jaccard(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    smooth: ArrayLike = 1.0,
    **options: Unpack[OverlapOptions],
) -> Array:
    """Return the Jaccard (IoU) loss, ``1 - (I + s) / (P + T - I + s)``, in [0, 1].

    Rahman & Wang 2016.
    """
    return tversky(pred, target, fp_weight=1.0, fn_weight=1.0, smooth=smooth, **options)


def tversky(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    fp_weight: ArrayLike = 0.3,
    fn_weight: ArrayLike = 0.7,
    smooth: ArrayLike = 1.0,
    **options: Unpack[OverlapOptions],
) -> Array:
    """Return the Tversky loss, ``1 - (I + s) / (I + fp_weight FP + fn_weight FN + s)``, in [0, 1].

    fp_weight is alpha of Salehi et al. 2017 and of Kaggle, fn_weight is beta (Keras 3.15 has them
    the other way round). 0.5 and 0.5 is Dice with twice the smooth; 1 and 1 is Jaccard.
    """
    weights = {"fp_weight": fp_weight, "fn_weight": fn_weight}
    return focal_tversky(pred, target, exponent=1.0, smooth=smooth, **weights, **options)


def focal_tversky(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    exponent: ArrayLike = 0.75,
    fp_weight: ArrayLike = 0.3,
    fn_weight: ArrayLike = 0.7,
    smooth: ArrayLike = 1.0,
    **options: Unpack[OverlapOptions],
) -> Array:
    """Return the focal Tversky loss, ``(1 - TI) ** exponent``, in [0, 1].

    TI is the index of `tversky`. exponent is 1 / gamma of Abraham & Khan 2019 (their gamma is 4/3)
    and gamma of Kaggle. Its gradient is finite at TI = 1 for exponents below 1 too.
    """
    cells = cells_of(pred, target, **options)
    exponent = cells.number("exponent", exponent, above=True)
    given = {"fp_weight": fp_weight, "fn_weight": fn_weight, "smooth": smooth}
    sums = cells.sums()
    loss = 1 - sums.tversky(**{name: cells.number(name, value) for name, value in given.items()})
    if not (isinstance(exponent, (int, float)) and exponent == 1):
        loss = power_from_zero(loss, exponent)
    return cells.reduce(loss, sums)


def log_cosh_dice(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    smooth: ArrayLike = 1.0,
    **options: Unpack[OverlapOptions],
) -> Array:
    """Return log-cosh Dice, ``log(cosh(Dice))``, in [0, 0.434].

    Dice is `dice_prob` of the same cell. Jadon 2020.
    """
    cells = cells_of(pred, target, **options)
    sums = cells.sums()
    index = sums.tversky(fp_weight=0.5, fn_weight=0.5, smooth=cells.number("smooth", smooth) / 2)
    # log(cosh(x)), exact near 0
    return cells.reduce(jnp.log1p(jnp.square(jnp.sinh(1 - index))) / 2, sums)


def generalized_dice(
    pred: ArrayLike, target: ArrayLike, *, smooth: float = 1.0, **options: Unpack[CellOptions]
) -> Array:
    """Return generalized Dice, ``1 - (2 sum_c w_c I_c + s) / (sum_c w_c (P_c + T_c) + s)``.

    ``w_c = 1 / T_c ** 2`` of the cell, scaled so that the largest is 1, which makes smooth a
    number of pixels of the rarest class. A class that is absent from the cell gets weight 1 as
    the rarest one, or with absent='skip' weight 0. In [0, 1]; a cell is a sample or the batch.
    Sudre et al. 2017; an infinite weight is MONAI's case too, optax lets it grow to 1e7 and more,
    so that one absent class decides alone.
    """
    check_number("smooth", smooth)
    cells = cells_of(pred, target, **options)
    skip = cells.absent == "skip"
    check_choice("absent", cells.absent, ("count", "skip"))
    sums = cells.sums()
    present = sums.target > 0
    smallest = jnp.min(jnp.where(present, sums.target, jnp.inf), axis=-1, keepdims=True)
    smallest = jnp.where(jnp.isfinite(smallest), smallest, 1)
    weights = jnp.square(smallest / jnp.where(present, sums.target, 1))
    weights = jnp.where(present, weights, 0 if skip else 1)
    cell, each = None, cells.weights[1]
    if each is not None:
        cell = jnp.max(each, -1)
        weights = weights * each / jnp.where(cell > 0, cell, 1)[..., None]
    top = 2 * jnp.sum(weights * sums.both, -1) + smooth
    bottom = jnp.sum(weights * (sums.pred + sums.target), -1) + smooth
    loss = 1 - divide(top, bottom, empty=1.0)
    if skip:
        some = jnp.any(present, -1).astype(loss.dtype)
        cell = some if cell is None else some * cell
    return reduce_cells(loss, cell, cells.reduction)


def mcc(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    smooth: ArrayLike = 1.0,
    **options: Unpack[OverlapOptions],
) -> Array:
    """Return one minus the Matthews correlation coefficient of soft counts, in [0, 2].

    ``1 - (TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN))``, where `smooth` pixels
    are added to TP and to TN: right ones, so an empty or a full target has a defined score (0 loss
    if predicted so) and a gradient. SMP and MONAI add their eps to all four counts instead, which
    makes any prediction of an empty target cost 1 with no gradient. smooth must be above 0.
    Abhishek & Hamarneh 2021.
    """
    cells = cells_of(pred, target, **options)
    smooth = cells.number("smooth", smooth, above=True)
    sums = cells.sums()
    # As shares of the pixels, so that the products stay far from the ends of float32.
    total = sums.pixels + 2 * smooth
    tp = (sums.both + smooth) / total
    fp = sums.false_positives / total
    fn = sums.false_negatives / total
    tn = (sums.neither + smooth) / total
    bottom = jnp.sqrt((tp + fp) * (tn + fn)) * jnp.sqrt((tp + fn) * (tn + fp))
    return cells.reduce(1 - (tp * tn - fp * fn) / bottom, sums)
