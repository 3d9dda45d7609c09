"""Losses made of two: Dice with an entropy, exponential-logarithmic, unified focal.

All take the options that `segjax.losses` describes; `exp_log` and `unified_focal` have no
per_class. These have no value per pixel: reduction='none' gives [B], the loss of each sample alone,
and 'sum' their sum; both need over='sample'.

Examples:
  >>> import numpy as np
  >>> masks = np.array([1.0, 0.0]).reshape(1, 1, 2, 1)
  >>> probs = np.array([0.8, 0.4]).reshape(1, 1, 2, 1)
  >>> round(float(dice_ce(probs, masks, pred_is="probs", classes="multilabel")), 4)
  0.5545
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, Unpack

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from segjax.errors import ConfigError
from segjax.losses._arguments import (
    ClassWeights,
    Prediction,
    as_array,
    check_choice,
    check_number,
    element_weights,
)
from segjax.losses._cells import (
    CellOptions,
    Cells,
    OverlapOptions,
    Reduction,
    Sums,
    cells_of,
    reduce_cells,
    scaled,
)
from segjax.losses._numerics import log_above, power_from_zero
from segjax.losses.entropy import (
    bce_map,
    entropy_of,
    focal_of,
    multiclass_focus,
    reduce_elements,
    reduce_pixels,
)
from segjax.losses.overlap import dice_of

Variant = Literal["asymmetric", "symmetric"]


def _reduce_samples(
    loss: Callable[[Cells], Array],
    pred: ArrayLike,
    target: ArrayLike,
    *,
    valid: ArrayLike | None = None,
    reduction: Reduction = "mean",
    **options: Any,
) -> Array:
    """Check the arguments, then reduce: the batch's loss for 'mean', else one loss per sample."""
    check_choice("reduction", reduction, ("none", "mean", "sum"))
    if reduction == "mean":
        return loss(cells_of(pred, target, valid=valid, **options))
    if options.get("over", "sample") != "sample":
        raise ConfigError(f"reduction={reduction!r} needs over='sample': a batch has one value")

    def alone(arrays: dict[str, Any]) -> Array:
        return loss(cells_of(**{name: x[None] for name, x in arrays.items()}, **options))

    given = {"pred": pred, "target": target} | ({} if valid is None else {"valid": valid})
    arrays = {name: jnp.asarray(as_array(name, x)) for name, x in given.items()}
    each = jax.vmap(alone)(arrays)
    if valid is not None:
        weights = element_weights(arrays["valid"], arrays["pred"].shape).astype(each.dtype)
        each = each * scaled(weights, range(1, weights.ndim))[1]
    return jnp.sum(each) if reduction == "sum" else each


def _dice(cells: Cells, smooth: ArrayLike) -> Array:
    return dice_of(cells if cells.per_class else replace(cells, class_weights=None), smooth=smooth)


def dice_ce(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    dice_weight: float = 1.0,
    ce_weight: float = 1.0,
    label_smoothing: float = 0.0,
    smooth: ArrayLike = 1.0,
    **options: Unpack[OverlapOptions],
) -> Array:
    """Return ``dice_weight * Dice + ce_weight * CE``, in [0, inf).

    Dice is `dice_prob`; CE is `bce` for multilabel targets (then this is Kaggle's BCE-Dice, with
    over='batch', per_class=False) and `cross_entropy` for multiclass ones (nnU-Net's and MONAI's
    Dice + CE), with its label_smoothing. class_weights go to both, or to CE alone if per_class is
    False; `classes` has no default.
    """
    check_number("dice_weight", dice_weight)
    check_number("ce_weight", ce_weight)

    def whole(cells: Cells) -> Array:
        kind = cells.inputs.classes
        pixels = entropy_of(cells.inputs, kind, label_smoothing, cells.class_weights)
        return dice_weight * _dice(cells, smooth) + ce_weight * pixels

    return _reduce_samples(whole, pred, target, classes=options.pop("classes"), **options)


def dice_focal(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    dice_weight: float = 1.0,
    focal_weight: float = 1.0,
    gamma: ArrayLike = 2.0,
    fp_weight: ArrayLike = 1.0,
    fn_weight: ArrayLike = 1.0,
    smooth: ArrayLike = 1.0,
    **options: Unpack[OverlapOptions],
) -> Array:
    """Return ``dice_weight * Dice + focal_weight * focal``, in [0, inf).

    The parts are `dice_prob` and `focal`, which gamma, fp_weight and fn_weight are for;
    class_weights go to both, or to focal alone where per_class is False.
    """
    check_number("dice_weight", dice_weight)
    check_number("focal_weight", focal_weight)

    def whole(cells: Cells) -> Array:
        pixels = focal_of(cells.inputs, gamma, fp_weight, fn_weight, cells.class_weights)
        return dice_weight * _dice(cells, smooth) + focal_weight * pixels

    return _reduce_samples(whole, pred, target, **options)


def exp_log(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    gamma: float = 0.3,
    dice_weight: float = 0.8,
    ce_weight: float = 0.2,
    smooth: ArrayLike = 1.0,
    class_weights: ClassWeights = None,
    **options: Unpack[CellOptions],
) -> Array:
    """Return the exponential logarithmic loss, in [0, inf).

    ``dice_weight * mean_c((-log Dice_c)^gamma) + ce_weight * mean((-log p_t)^gamma)``, with the
    Dice score of `dice_prob` per class and p_t the probability of what is there. For gamma < 1 the
    gradient at a perfect score is kept finite. class_weights weigh the second mean by the pixel's
    class, as in the paper, where they are the root of the inverse frequencies. Wong et al. 2018.
    """
    check_number("gamma", gamma, above=True)
    check_number("dice_weight", dice_weight)
    check_number("ce_weight", ce_weight)

    def whole(cells: Cells) -> Array:
        inputs, sums = cells.inputs, cells.sums()
        half = cells.number("smooth", smooth) / 2
        score = sums.tversky(fp_weight=0.5, fn_weight=0.5, smooth=half)
        dice_term = cells.reduce(power_from_zero(-log_above(score), gamma), sums)
        if inputs.classes == "multilabel":
            losses = power_from_zero(bce_map(inputs, inputs.target), gamma)
            ce_term = reduce_elements(losses, inputs, class_weights)
        else:
            ce_term = reduce_pixels(power_from_zero(inputs.nll_there, gamma), inputs, class_weights)
        return dice_weight * dice_term + ce_weight * ce_term

    return _reduce_samples(whole, pred, target, **options)


def unified_focal(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    focal_weight: float = 0.5,
    fn_weight: float = 0.6,
    gamma: float = 0.5,
    variant: Variant = "asymmetric",
    smooth: ArrayLike = 1.0,
    **options: Unpack[CellOptions],
) -> Array:
    """Return the unified focal loss, ``focal_weight * F + (1 - focal_weight) * T``, in [0, inf).

    F is a focal loss that weighs the foreground by fn_weight (the paper's delta) and the background
    by 1 - fn_weight; T the mean of ``(1 - TI) ** (1 - gamma)`` over background and foreground, TI
    the Tversky index with fn_weight and fp_weight = 1 - fn_weight. The variant 'asymmetric' takes
    the focus ``(1 - p) ** gamma`` off the foreground in F and the exponent off the background in T,
    so that rare classes are not suppressed; 'symmetric' has both everywhere. Multilabel: each
    channel has its own background, 1 - p. Multiclass: channel 0 is the background. gamma is below
    1. Yeung et al. 2022.
    """
    check_number("focal_weight", focal_weight, high=1)
    check_number("fn_weight", fn_weight, high=1)
    check_number("gamma", gamma, high=0.999)
    check_choice("variant", variant, ("asymmetric", "symmetric"))
    symmetric = variant == "symmetric"

    def whole(cells: Cells) -> Array:
        pixels = _unified_pixels(cells.inputs, fn_weight, gamma, symmetric)
        overlap = _unified_overlap(cells, fn_weight, gamma, symmetric, smooth)
        return focal_weight * pixels + (1 - focal_weight) * overlap

    return _reduce_samples(whole, pred, target, **options)


def _unified_overlap(
    cells: Cells, fn_weight: float, gamma: float, symmetric: bool, smooth: ArrayLike
) -> Array:
    """Focal Tversky part: background and the rest per class, then their mean."""
    inputs, sums = cells.inputs, cells.sums()
    smooth = cells.number("smooth", smooth)

    def loss(sums: Sums) -> Array:
        return 1 - sums.tversky(fp_weight=1 - fn_weight, fn_weight=fn_weight, smooth=smooth)

    fore = power_from_zero(loss(sums), 1 - gamma)
    if inputs.classes == "multiclass":
        back = (fore if symmetric else loss(sums))[..., :1]
        return cells.reduce(jnp.concatenate([back, fore[..., 1:]], -1), sums)
    back = loss(sums.of_the_rest())
    back = power_from_zero(back, 1 - gamma) if symmetric else back
    return cells.reduce((back + fore) / 2, sums)


def _unified_pixels(inputs: Prediction, fn_weight: float, gamma: float, symmetric: bool) -> Array:
    """Focal part: a sum over a pixel's classes, then the mean over the pixels."""
    target = inputs.target
    if inputs.classes == "multilabel":
        there, not_there = inputs.focused(gamma)
        there = there if symmetric else inputs.terms.nll
        losses = (1 - fn_weight) * (1 - target) * not_there + fn_weight * target * there
        return reduce_cells(losses, inputs.weights, "mean")
    if inputs.one_hot:  # one power per pixel instead of one per class
        there, is_back = inputs.nll_there, target[..., 0]
        focused = multiclass_focus(there, gamma)
        fore = fn_weight * (1 - is_back) * (focused if symmetric else 1)
        losses = ((1 - fn_weight) * is_back * focused + fore) * there
    else:
        there = inputs.terms.nll
        focused = multiclass_focus(there, gamma)
        fore = fn_weight * target * there * (focused if symmetric else 1)
        back = (1 - fn_weight) * target * focused * there
        losses = back[..., 0] + jnp.sum(fore[..., 1:], -1)
    return reduce_pixels(losses, inputs, None)
