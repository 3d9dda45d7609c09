"""Losses made of two: Dice with an entropy, exponential-logarithmic, unified focal.

Arguments are those of `segjax.losses.overlap`. These have no value per pixel: reduction='none'
gives [B], the loss of each sample alone, and 'sum' their sum; both need over='sample'.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from segjax.errors import ConfigError
from segjax.losses._arguments import (
    REDUCTIONS,
    Reduction,
    check_choice,
    check_number,
    reduce_cells,
)
from segjax.losses._prediction import (
    Classes,
    Prediction,
    PredIs,
    log_above,
    power_from_zero,
    prepare,
)
from segjax.losses.entropy import (
    bce_map,
    bce_of,
    cross_entropy_of,
    element_weights,
    exclusive_focus,
    focal_of,
    pixel_weights,
)
from segjax.losses.overlap import (
    Absent,
    Over,
    Sums,
    cell_axes,
    cell_sums,
    cell_weights,
    dice_of,
    tversky_index,
)

Variant = Literal["asymmetric", "symmetric"]


def _reduce_samples(
    loss: Callable[[Prediction], jax.Array],
    pred: ArrayLike,
    target: ArrayLike,
    *,
    pred_is: PredIs,
    classes: Classes,
    valid: ArrayLike | None,
    over: Over,
    reduction: Reduction,
) -> jax.Array:
    """Check the arguments, then reduce: the batch's loss for 'mean', else one loss per sample."""
    check_choice("reduction", reduction, REDUCTIONS)

    def of(p: ArrayLike, t: ArrayLike, v: ArrayLike | None) -> jax.Array:
        return loss(prepare(p, t, pred_is=pred_is, classes=classes, valid=v))

    if reduction == "mean":
        return of(pred, target, valid)
    if over != "sample":
        raise ConfigError(f"reduction={reduction!r} needs over='sample': a batch has one value")
    if valid is None:
        each = jax.vmap(lambda p, t: of(p[None], t[None], None))(
            jnp.asarray(pred), jnp.asarray(target)
        )
    else:
        each = jax.vmap(lambda p, t, v: of(p[None], t[None], v[None]))(
            jnp.asarray(pred), jnp.asarray(target), jnp.asarray(valid)
        )
    return jnp.sum(each) if reduction == "sum" else each


def dice_ce(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    pred_is: PredIs,
    classes: Classes,
    dice_weight: float = 1.0,
    ce_weight: float = 1.0,
    label_smoothing: float = 0.0,
    smooth: float = 1.0,
    over: Over = "sample",
    per_class: bool = True,
    absent: Absent = "count",
    class_weights: ArrayLike | Sequence[float] | None = None,
    valid: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Return ``dice_weight * Dice + ce_weight * CE``, in [0, inf).

    Dice is `dice_prob`; CE is `bce` for independent classes (then this is Kaggle's BCE-Dice, with
    over='batch', per_class=False) and `cross_entropy` for exclusive ones (nnU-Net's and MONAI's
    Dice + CE). class_weights go to both. See the modules for the arguments.
    """
    check_number("dice_weight", dice_weight)
    check_number("ce_weight", ce_weight)

    def whole(inputs: Prediction) -> jax.Array:
        entropy = bce_of if classes == "independent" else cross_entropy_of
        pixels = entropy(inputs, label_smoothing=label_smoothing, class_weights=class_weights)
        overlap = dice_of(
            inputs,
            smooth=smooth,
            over=over,
            per_class=per_class,
            absent=absent,
            class_weights=class_weights if per_class else None,
        )
        return dice_weight * overlap + ce_weight * pixels

    return _reduce_samples(
        whole,
        pred,
        target,
        pred_is=pred_is,
        classes=classes,
        valid=valid,
        over=over,
        reduction=reduction,
    )


def dice_focal(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    pred_is: PredIs,
    classes: Classes = "independent",
    dice_weight: float = 1.0,
    focal_weight: float = 1.0,
    gamma: float = 2.0,
    smooth: float = 1.0,
    over: Over = "sample",
    per_class: bool = True,
    absent: Absent = "count",
    class_weights: ArrayLike | Sequence[float] | None = None,
    valid: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Return ``dice_weight * Dice + focal_weight * focal``, in [0, inf).

    The parts are `dice_prob` and `focal`; class_weights go to both. See the modules for the
    arguments.
    """
    check_number("dice_weight", dice_weight)
    check_number("focal_weight", focal_weight)

    def whole(inputs: Prediction) -> jax.Array:
        pixels = focal_of(inputs, gamma=gamma, class_weights=class_weights)
        overlap = dice_of(
            inputs,
            smooth=smooth,
            over=over,
            per_class=per_class,
            absent=absent,
            class_weights=class_weights if per_class else None,
        )
        return dice_weight * overlap + focal_weight * pixels

    return _reduce_samples(
        whole,
        pred,
        target,
        pred_is=pred_is,
        classes=classes,
        valid=valid,
        over=over,
        reduction=reduction,
    )


def exp_log(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    pred_is: PredIs,
    classes: Classes = "independent",
    gamma: float = 0.3,
    dice_weight: float = 0.8,
    ce_weight: float = 0.2,
    smooth: float = 1.0,
    over: Over = "sample",
    absent: Absent = "count",
    class_weights: ArrayLike | Sequence[float] | None = None,
    valid: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Return the exponential logarithmic loss, in [0, inf).

    ``dice_weight * mean_c((-log Dice_c)^gamma) + ce_weight * mean((-log p_t)^gamma)``, with the
    Dice score of `dice_prob` per class and p_t the probability of what is there. For gamma < 1 the
    gradient at a perfect score is kept finite. class_weights weigh the second mean by the pixel's
    class, as in the paper, where they are the root of the inverse frequencies. See the modules for
    the arguments. Wong et al. 2018.
    """
    check_number("gamma", gamma, above=True)
    check_number("dice_weight", dice_weight)
    check_number("ce_weight", ce_weight)

    def whole(inputs: Prediction) -> jax.Array:
        axes = cell_axes(inputs.pred.ndim, over=over, per_class=True)
        sums = cell_sums(inputs.probs, inputs.target, inputs.counted, axes)
        score = tversky_index(sums, fp_weight=0.5, fn_weight=0.5, smooth=smooth / 2)
        weights = cell_weights(sums, inputs, per_class=True, absent=absent, class_weights=None)
        dice_term = reduce_cells(power_from_zero(-log_above(score), gamma), weights, "mean")
        if classes == "independent":
            surprise = bce_map(inputs, inputs.target, fp_weight=1.0, fn_weight=1.0)
            pixel = element_weights(inputs, class_weights)
        else:
            surprise = inputs.surprise_there
            pixel = pixel_weights(inputs, class_weights)
        ce_term = reduce_cells(power_from_zero(surprise, gamma), pixel, "mean")
        return dice_weight * dice_term + ce_weight * ce_term

    return _reduce_samples(
        whole,
        pred,
        target,
        pred_is=pred_is,
        classes=classes,
        valid=valid,
        over=over,
        reduction=reduction,
    )


def _unified_tversky(
    inputs: Prediction,
    *,
    fn_weight: float,
    gamma: float,
    variant: Variant,
    smooth: float,
    over: Over,
    absent: Absent,
) -> jax.Array:
    """Focal Tversky part: background and the rest per class, then their mean."""
    axes = cell_axes(inputs.pred.ndim, over=over, per_class=True)
    weighing = {"fp_weight": 1 - fn_weight, "fn_weight": fn_weight, "smooth": smooth}
    sums = cell_sums(inputs.probs, inputs.target, inputs.counted, axes)
    loss = 1 - tversky_index(sums, **weighing)
    weights = cell_weights(sums, inputs, per_class=True, absent=absent, class_weights=None)
    rare = power_from_zero(loss, 1 - gamma)
    if inputs.classes == "exclusive":
        back = loss[..., :1] if variant == "asymmetric" else rare[..., :1]
        return reduce_cells(jnp.concatenate([back, rare[..., 1:]], -1), weights, "mean")
    # The background's false positives are the class's false negatives, and the other way round.
    right = (1 - inputs.probs) * (1 - inputs.target)
    right = jnp.sum(right if inputs.counted is None else right * inputs.counted, axes)
    missing = Sums(right, right + sums.false_negatives, right + sums.false_positives, sums.pixels)
    back = 1 - tversky_index(missing, **weighing)
    back = back if variant == "asymmetric" else power_from_zero(back, 1 - gamma)
    return reduce_cells((back + rare) / 2, weights, "mean")


def _unified_focal(
    inputs: Prediction, *, fn_weight: float, gamma: float, variant: Variant
) -> jax.Array:
    """Focal part: a sum over a pixel's classes, then the mean over the pixels."""
    symmetric = variant == "symmetric"
    if inputs.classes == "independent":
        target = inputs.target
        there, not_there = inputs.focused(gamma)
        there = there if symmetric else inputs.surprise
        cells = (1 - fn_weight) * (1 - target) * not_there + fn_weight * target * there
        return reduce_cells(cells, inputs.counted, "mean")
    if inputs.one_hot:  # one power per pixel instead of one per class
        there, is_back = inputs.surprise_there, inputs.target[..., 0]
        focused = exclusive_focus(there, gamma)
        rare = fn_weight * (1 - is_back) * (focused if symmetric else 1)
        pixels = ((1 - fn_weight) * is_back * focused + rare) * there
    else:
        there, target = inputs.surprise, inputs.target
        focused = exclusive_focus(there, gamma)
        rare = fn_weight * target * there * (focused if symmetric else 1)
        back = (1 - fn_weight) * target * focused * there
        pixels = back[..., 0] + jnp.sum(rare[..., 1:], -1)
    return reduce_cells(pixels, pixel_weights(inputs, None), "mean")


def unified_focal(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    pred_is: PredIs,
    classes: Classes = "independent",
    focal_weight: float = 0.5,
    fn_weight: float = 0.6,
    gamma: float = 0.5,
    variant: Variant = "asymmetric",
    smooth: float = 1.0,
    over: Over = "sample",
    absent: Absent = "count",
    valid: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Return the unified focal loss, ``focal_weight * F + (1 - focal_weight) * T``, in [0, inf).

    F is a focal loss that weighs the foreground by fn_weight (the paper's delta) and the background
    by 1 - fn_weight; T the mean of ``(1 - TI) ** (1 - gamma)`` over background and foreground, TI
    the Tversky index with fn_weight and fp_weight = 1 - fn_weight. 'asymmetric' takes the focus
    ``(1 - p) ** gamma`` off the foreground in F and the exponent off the background in T, so that
    rare classes are not suppressed; 'symmetric' has both everywhere. Independent classes: each
    channel has its own background, 1 - p. Exclusive classes: channel 0 is the background. gamma is
    below 1. See the modules for the other arguments. Yeung et al. 2022.
    """
    check_number("focal_weight", focal_weight, high=1)
    check_number("fn_weight", fn_weight, high=1)
    check_number("gamma", gamma, high=0.999)
    check_number("smooth", smooth)
    check_choice("variant", variant, ("asymmetric", "symmetric"))

    def whole(inputs: Prediction) -> jax.Array:
        pixels = _unified_focal(inputs, fn_weight=fn_weight, gamma=gamma, variant=variant)
        overlap = _unified_tversky(
            inputs,
            fn_weight=fn_weight,
            gamma=gamma,
            variant=variant,
            smooth=smooth,
            over=over,
            absent=absent,
        )
        return focal_weight * pixels + (1 - focal_weight) * overlap

    return _reduce_samples(
        whole,
        pred,
        target,
        pred_is=pred_is,
        classes=classes,
        valid=valid,
        over=over,
        reduction=reduction,
    )
