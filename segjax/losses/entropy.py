"""Losses per pixel on probabilities: cross-entropies, focal loss, and the hardest pixels alone.

Arguments that all share:
  pred: float [B, ..., C]; computed and summed in float32 or wider.
  target: 0 to 1, of the same shape; for exclusive classes also integer labels [B, ...].
  pred_is: 'logits' or 'probs'; never guessed. Logits are the better choice: no logarithm of a
    rounded probability. For probabilities the logarithm goes on straight below the dtype's eps.
  class_weights: [C], scaled to a mean of 1.
  valid: None, or bool [B, ...] (or [B, ..., C] for independent classes): pixels that count.
  reduction: 'mean' over what counts, by weight; 'sum'; or 'none', 0 where not valid.

All raise ConfigError at trace time for wrong shapes, dtypes or settings, and outside of jit also
for targets or labels out of range.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from segjax.errors import ConfigError
from segjax.losses._arguments import Reduction, check_number, reduce_cells
from segjax.losses._prediction import (
    Classes,
    Prediction,
    PredIs,
    class_weight_row,
    power_from_zero,
    prepare,
)
from segjax.losses.overlap import Over, cell_axes


def smoothed_target(inputs: Prediction, label_smoothing: float) -> jax.Array:
    """Return the target moved towards uniform: by half for a sigmoid, by 1 / C for a softmax."""
    target = inputs.target
    share = 2 if inputs.classes == "independent" else target.shape[-1]
    return jnp.add(target * (1 - label_smoothing), label_smoothing / share)


def _is_one(weight: ArrayLike) -> bool:
    return isinstance(weight, (int, float)) and weight == 1


def bce_map(
    inputs: Prediction, target: jax.Array, *, fp_weight: ArrayLike, fn_weight: ArrayLike
) -> jax.Array:
    """Return ``-fn_weight t log p - fp_weight (1 - t) log(1 - p)`` [B, ..., C]."""
    plain = _is_one(fp_weight) and _is_one(fn_weight)
    if plain and inputs.pred_is == "logits" and inputs.classes == "independent":
        return inputs.surprise_not - inputs.pred * target
    missed = jnp.multiply(fn_weight, target * inputs.surprise)
    return missed + jnp.multiply(fp_weight, (1 - target) * inputs.surprise_not)


def element_weights(
    inputs: Prediction, class_weights: ArrayLike | Sequence[float] | None
) -> jax.Array | None:
    """Return the weight of each element [B, ..., C] in the mean, or None if all are 1."""
    row = class_weight_row(class_weights, inputs.pred.shape[-1], inputs.pred.dtype)
    if row is None:
        return inputs.counted
    weights = jnp.broadcast_to(row, inputs.pred.shape)
    return weights if inputs.counted is None else weights * inputs.counted


def pixel_weights(
    inputs: Prediction, class_weights: ArrayLike | Sequence[float] | None
) -> jax.Array | None:
    """Return the weight of each pixel [B, ...], that of its class, or None if all are 1."""
    row = class_weight_row(class_weights, inputs.pred.shape[-1], inputs.pred.dtype)
    counted = None if inputs.counted is None else inputs.counted[..., 0]
    if row is None:
        return counted
    # A pixel that does not count has an all-zero target, so a weight of 0.
    return jnp.sum(inputs.target * row, -1)


def bce(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    pred_is: PredIs,
    label_smoothing: float = 0.0,
    fp_weight: float = 1.0,
    fn_weight: float = 1.0,
    class_weights: ArrayLike | Sequence[float] | None = None,
    valid: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Return binary cross-entropy of independent classes, ``-t log p - (1 - t) log(1 - p)``.

    In [0, inf). label_smoothing e replaces t by ``t (1 - e) + e / 2`` (Keras and PyTorch; SMP's
    smooth_factor is half of it). fn_weight multiplies the first term, fp_weight the second. See the
    module for the other arguments. 'none' gives [B, ..., C].
    """
    return bce_of(
        prepare(pred, target, pred_is=pred_is, valid=valid),
        label_smoothing=label_smoothing,
        fp_weight=fp_weight,
        fn_weight=fn_weight,
        class_weights=class_weights,
        reduction=reduction,
    )


def bce_of(
    inputs: Prediction,
    *,
    label_smoothing: float = 0.0,
    fp_weight: float = 1.0,
    fn_weight: float = 1.0,
    class_weights: ArrayLike | Sequence[float] | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Return `bce` of arguments that are checked already."""
    check_number("label_smoothing", label_smoothing, high=1)
    check_number("fp_weight", fp_weight)
    check_number("fn_weight", fn_weight)
    soft = smoothed_target(inputs, label_smoothing)
    cells = bce_map(inputs, soft, fp_weight=fp_weight, fn_weight=fn_weight)
    return reduce_cells(cells, element_weights(inputs, class_weights), reduction)


def cross_entropy(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    pred_is: PredIs,
    label_smoothing: float = 0.0,
    class_weights: ArrayLike | Sequence[float] | None = None,
    valid: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Return cross-entropy of exclusive classes, ``-sum_c t_c log p_c``, in [0, inf).

    label_smoothing e replaces t by ``t (1 - e) + e / C``. A pixel has its class's weight, and the
    mean divides by the weights' sum, as in PyTorch. See the module for the other arguments. 'none'
    gives [B, ...].
    """
    return cross_entropy_of(
        prepare(pred, target, pred_is=pred_is, classes="exclusive", valid=valid),
        label_smoothing=label_smoothing,
        class_weights=class_weights,
        reduction=reduction,
    )


def cross_entropy_of(
    inputs: Prediction,
    *,
    label_smoothing: float = 0.0,
    class_weights: ArrayLike | Sequence[float] | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Return `cross_entropy` of arguments that are checked already."""
    check_number("label_smoothing", label_smoothing, high=1)
    soft = smoothed_target(inputs, label_smoothing)
    cells = jnp.sum(soft * inputs.surprise, -1)
    return reduce_cells(cells, pixel_weights(inputs, class_weights), reduction)


def focal(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    pred_is: PredIs,
    classes: Classes = "independent",
    gamma: float = 2.0,
    fp_weight: float = 1.0,
    fn_weight: float = 1.0,
    class_weights: ArrayLike | Sequence[float] | None = None,
    valid: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Return the focal loss, ``-(1 - p_t) ** gamma * log p_t``, in [0, inf).

    p_t is the probability of what is there. Independent classes: p where t is 1 (weighed by
    fn_weight, Lin's alpha), 1 - p where t is 0 (by fp_weight, his 1 - alpha); his choice is 0.25
    and 0.75. Exclusive classes: the softmax probability of the pixel's class; SMP's multiclass
    focal is not that, but one sigmoid per class. Targets between 0 and 1 mix both terms. See the
    module for the other arguments. 'none' gives [B, ..., C], or [B, ...] if exclusive.
    Lin et al. 2017.
    """
    return focal_of(
        prepare(pred, target, pred_is=pred_is, classes=classes, valid=valid),
        gamma=gamma,
        fp_weight=fp_weight,
        fn_weight=fn_weight,
        class_weights=class_weights,
        reduction=reduction,
    )


def focal_of(
    inputs: Prediction,
    *,
    gamma: float = 2.0,
    fp_weight: float = 1.0,
    fn_weight: float = 1.0,
    class_weights: ArrayLike | Sequence[float] | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Return `focal` of arguments that are checked already."""
    check_number("gamma", gamma)
    check_number("fp_weight", fp_weight)
    check_number("fn_weight", fn_weight)
    if inputs.classes == "exclusive":
        if not (_is_one(fp_weight) and _is_one(fn_weight)):
            raise ConfigError(
                "fp_weight and fn_weight need classes='independent'; for exclusive classes give "
                "class_weights"
            )
        if inputs.one_hot:  # one power per pixel instead of one per class
            pixels = exclusive_focus(inputs.surprise_there, gamma) * inputs.surprise_there
        else:
            focus = exclusive_focus(inputs.surprise, gamma)
            pixels = jnp.sum(inputs.target * focus * inputs.surprise, -1)
        return reduce_cells(pixels, pixel_weights(inputs, class_weights), reduction)
    there, not_there = inputs.focused(gamma)
    cells = fn_weight * inputs.target * there + fp_weight * (1 - inputs.target) * not_there
    return reduce_cells(cells, element_weights(inputs, class_weights), reduction)


def exclusive_focus(surprise: jax.Array, gamma: ArrayLike) -> jax.Array:
    """Return ``(1 - p) ** gamma`` from -log p."""
    return power_from_zero(-jnp.expm1(-surprise), gamma)


def topk(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    pred_is: PredIs,
    classes: Classes = "exclusive",
    fraction: float = 0.1,
    over: Over = "sample",
    valid: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Return the mean cross-entropy of the hardest `fraction` of the pixels, in [0, inf).

    Exclusive classes: of `cross_entropy` per pixel; independent: of `bce` per pixel and class.
    A cell (a sample, or the batch) with n pixels that count takes the ceil(fraction * n) largest;
    ties at the threshold share alike. 'none' gives [B] or []. See the module for the other
    arguments. Finding the threshold costs a comparison of all pixels per bit of a float.
    Wu et al. 2016; nnU-Net takes a tenth.
    """
    check_number("fraction", fraction, high=1, above=True)
    inputs = prepare(pred, target, pred_is=pred_is, classes=classes, valid=valid)
    if classes == "exclusive":
        losses = inputs.surprise_there
        counted = None if inputs.counted is None else inputs.counted[..., 0]
    else:
        losses = bce_map(inputs, inputs.target, fp_weight=1.0, fn_weight=1.0)
        counted = inputs.counted
    first = len(cell_axes(inputs.pred.ndim, over=over, per_class=False)) == inputs.pred.ndim - 1
    shape = (losses.shape[0], -1) if first else (1, -1)
    flat = losses.reshape(shape)
    mask = jnp.ones_like(flat) if counted is None else counted.reshape(shape)
    pixels = jnp.sum(mask, -1, keepdims=True)
    # A little less before ceil: 0.1 * 50 must be 5 in float32 too.
    count = jnp.clip(jnp.ceil(fraction * pixels - 1e-4), 1, jnp.maximum(pixels, 1))
    fixed = jax.lax.stop_gradient(flat)
    threshold = _largest(jnp.where(mask > 0, fixed, -1), count)
    above = (flat > threshold) * mask
    at = (flat == threshold) * mask
    room = count - jnp.sum(above, -1, keepdims=True)
    share = room / jnp.maximum(jnp.sum(at, -1, keepdims=True), 1)
    cells = jnp.sum(flat * jax.lax.stop_gradient(above + at * share), -1) / count[:, 0]
    weights = None if counted is None else (pixels[:, 0] > 0).astype(cells.dtype)
    if not first:
        cells, weights = cells[0], None if weights is None else weights[0]
    return reduce_cells(cells, weights, reduction)


def _largest(x: jax.Array, count: jax.Array) -> jax.Array:
    """Return the count-th largest of each row; x [rows, n] is at least 0, or -1, count [rows, 1].

    By bisection over the bits: floats from 0 up are in the order of their bits, and counting how
    many reach a candidate is a vector operation, where a sort of floats takes XLA tens of
    nanoseconds per element on a CPU.
    """
    size = jnp.finfo(x.dtype).bits
    word = jnp.dtype(f"int{size}")
    bits = jax.lax.bitcast_convert_type(jnp.where(x > 0, x, 0), word)  # 0.0, not -0.0
    bits = jnp.where(x < 0, -1, bits)

    def with_bit(place: jax.Array, found: jax.Array) -> jax.Array:
        candidate = found | (jnp.asarray(1, word) << (size - 2 - place).astype(word))
        reach = jnp.sum((bits >= candidate).astype(jnp.int32), -1, keepdims=True)
        return jnp.where(reach >= count.astype(jnp.int32), candidate, found)

    found = jax.lax.fori_loop(0, size - 1, with_bit, jnp.zeros_like(bits[:, :1]))
    return jax.lax.bitcast_convert_type(found, x.dtype)
