"""Losses per pixel on probabilities: cross-entropies, focal loss, and the hardest pixels alone.

All take the options that `segjax.losses` describes.

Examples:
  >>> import numpy as np
  >>> labels = np.array([[[0, 2]]])
  >>> probs = np.array([[[[0.7, 0.2, 0.1], [0.3, 0.2, 0.5]]]])
  >>> round(float(cross_entropy(probs, labels, pred_is="probs")), 4)  # -(log 0.7 + log 0.5) / 2
  0.5249
"""

from typing import Any, Unpack

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from segjax.errors import ConfigError
from segjax.losses._arguments import (
    Classes,
    ClassWeights,
    Prediction,
    check_number,
    class_number,
    class_weight_row,
    prepare,
)
from segjax.losses._cells import Cells, InputOptions, Over, Reduction, reduce_cells, scaled
from segjax.losses._numerics import divide, power_from_zero


def _number(name: str, value: ArrayLike, inputs: Prediction) -> Any:
    return class_number(name, value, inputs.pred.shape, inputs.pred.dtype)


def _is_one(weight: ArrayLike) -> bool:
    return isinstance(weight, (int, float)) and weight == 1


def bce_map(
    inputs: Prediction, target: Array, *, fp_weight: ArrayLike = 1, fn_weight: ArrayLike = 1
) -> Array:
    """Return ``-fn_weight t log p - fp_weight (1 - t) log(1 - p)`` [B, ..., C]."""
    plain = _is_one(fp_weight) and _is_one(fn_weight)
    terms = inputs.terms
    if plain and inputs.pred_is == "logits" and inputs.classes == "multilabel":
        return terms.nll_not - inputs.pred * target
    missed = jnp.multiply(fn_weight, target * terms.nll)
    return missed + jnp.multiply(fp_weight, (1 - target) * terms.nll_not)


def reduce_elements(
    losses: Array, inputs: Prediction, class_weights: ClassWeights, reduction: Reduction = "mean"
) -> Array:
    """Reduce losses [B, ..., C] of elements, each with the weight of its class."""
    weights = class_weight_row(class_weights, losses.shape, losses.dtype)
    if inputs.weights is not None:
        weights = inputs.weights if weights is None else weights * inputs.weights
    return reduce_cells(losses, weights, reduction)


def reduce_pixels(
    losses: Array, inputs: Prediction, class_weights: ClassWeights, reduction: Reduction = "mean"
) -> Array:
    """Reduce losses [B, ...] of pixels, each with the weight of the class that is there."""
    row = class_weight_row(class_weights, inputs.target.shape, losses.dtype)
    weights = None if inputs.weights is None else inputs.weights[..., 0]
    if row is not None:
        of_class = jnp.sum(inputs.target * row, -1)
        weights = of_class if weights is None else of_class * weights
    return reduce_cells(losses, weights, reduction)


def bce(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    label_smoothing: float = 0.0,
    fp_weight: ArrayLike = 1.0,
    fn_weight: ArrayLike = 1.0,
    class_weights: ClassWeights = None,
    reduction: Reduction = "mean",
    **options: Unpack[InputOptions],
) -> Array:
    """Return binary cross-entropy of multilabel targets, ``-t log p - (1 - t) log(1 - p)``.

    In [0, inf). label_smoothing e replaces t by ``t (1 - e) + e / 2`` (Keras and PyTorch; SMP's
    smooth_factor is half of it). fn_weight multiplies the first term, fp_weight the second. 'none'
    gives [B, ..., C].
    """
    inputs = prepare(pred, target, **options)
    given = {"fp_weight": fp_weight, "fn_weight": fn_weight}
    weights = {name: _number(name, value, inputs) for name, value in given.items()}
    return entropy_of(inputs, "multilabel", label_smoothing, class_weights, reduction, **weights)


def entropy_of(
    inputs: Prediction,
    kind: Classes,
    label_smoothing: float = 0.0,
    class_weights: ClassWeights = None,
    reduction: Reduction = "mean",
    **weights: ArrayLike,
) -> Array:
    """Return `bce` (multilabel) or `cross_entropy` of arguments that are checked already."""
    check_number("label_smoothing", label_smoothing, high=1)
    share = 2 if inputs.classes == "multilabel" else inputs.target.shape[-1]
    soft = jnp.add(inputs.target * (1 - label_smoothing), label_smoothing / share)
    if kind == "multilabel":
        return reduce_elements(bce_map(inputs, soft, **weights), inputs, class_weights, reduction)
    return reduce_pixels(jnp.sum(soft * inputs.terms.nll, -1), inputs, class_weights, reduction)


def cross_entropy(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    label_smoothing: float = 0.0,
    class_weights: ClassWeights = None,
    reduction: Reduction = "mean",
    **options: Unpack[InputOptions],
) -> Array:
    """Return cross-entropy of multiclass targets, ``-sum_c t_c log p_c``, in [0, inf).

    label_smoothing e replaces t by ``t (1 - e) + e / C``. A pixel has its class's weight, and the
    mean divides by the weights' sum, as in PyTorch. 'none' gives [B, ...].
    """
    inputs = prepare(pred, target, classes="multiclass", **options)
    return entropy_of(inputs, "multiclass", label_smoothing, class_weights, reduction)


def focal(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    classes: Classes = "multilabel",
    gamma: ArrayLike = 2.0,
    fp_weight: ArrayLike = 1.0,
    fn_weight: ArrayLike = 1.0,
    class_weights: ClassWeights = None,
    reduction: Reduction = "mean",
    **options: Unpack[InputOptions],
) -> Array:
    """Return the focal loss, ``-(1 - p_t) ** gamma * log p_t``, in [0, inf).

    p_t is the probability of what is there. Multilabel: p where t is 1 (weighed by fn_weight, Lin's
    alpha), 1 - p where t is 0 (by fp_weight, his 1 - alpha); his choice is 0.25 and 0.75.
    Multiclass: the softmax probability of the pixel's class; SMP's multiclass focal is not that,
    but one sigmoid per class. Targets between 0 and 1 mix both terms. 'none' gives [B, ..., C], or
    [B, ...] if multiclass. Lin et al. 2017.
    """
    inputs = prepare(pred, target, classes=classes, **options)
    return focal_of(inputs, gamma, fp_weight, fn_weight, class_weights, reduction)


def focal_of(
    inputs: Prediction,
    gamma: ArrayLike,
    fp_weight: ArrayLike,
    fn_weight: ArrayLike,
    class_weights: ClassWeights,
    reduction: Reduction = "mean",
) -> Array:
    """Return `focal` of arguments that are checked already."""
    fp = _number("fp_weight", fp_weight, inputs)
    fn = _number("fn_weight", fn_weight, inputs)
    if inputs.classes == "multilabel":
        there, not_there = inputs.focused(_number("gamma", gamma, inputs))
        losses = fn * inputs.target * there + fp * (1 - inputs.target) * not_there
        return reduce_elements(losses, inputs, class_weights, reduction)
    check_number("gamma", gamma)
    if not (_is_one(fp) and _is_one(fn)):
        raise ConfigError(
            "fp_weight and fn_weight need classes='multilabel'; for multiclass give class_weights"
        )
    if inputs.one_hot:  # one power per pixel instead of one per class
        losses = multiclass_focus(inputs.nll_there, gamma) * inputs.nll_there
    else:
        nll = inputs.terms.nll
        losses = jnp.sum(inputs.target * multiclass_focus(nll, gamma) * nll, -1)
    return reduce_pixels(losses, inputs, class_weights, reduction)


def multiclass_focus(nll: Array, gamma: ArrayLike) -> Array:
    """Return ``(1 - p) ** gamma`` from -log p."""
    return power_from_zero(-jnp.expm1(-nll), gamma)


def topk(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    classes: Classes = "multiclass",
    fraction: float = 0.1,
    over: Over = "sample",
    reduction: Reduction = "mean",
    **options: Unpack[InputOptions],
) -> Array:
    """Return the mean cross-entropy of the hardest `fraction` of the pixels, in [0, inf).

    Multiclass: of `cross_entropy` per pixel; multilabel: of `bce` per pixel and class. A cell (a
    sample, or the batch) with n pixels that count takes the ceil(fraction * n) largest, whatever
    they weigh, and their mean by weight; ties at the threshold share alike. 'none' gives [B] or [].
    Finding the threshold costs a comparison of all pixels per bit of a float. Wu et al. 2016;
    nnU-Net takes a tenth.
    """
    check_number("fraction", fraction, high=1, above=True)
    inputs = prepare(pred, target, classes=classes, **options)
    weights = inputs.weights
    if classes == "multiclass":
        losses = inputs.nll_there
        weights = None if weights is None else weights[..., 0]
    else:
        losses = bce_map(inputs, inputs.target)
    by_sample = 0 not in Cells(inputs, over).axes
    shape = (losses.shape[0] if by_sample else 1, -1)
    flat = losses.reshape(shape)
    weights = None if weights is None else weights.reshape(shape)
    mask = jnp.ones_like(flat) if weights is None else (weights > 0).astype(flat.dtype)
    pixels = jnp.sum(mask, -1, keepdims=True)
    # A little less before ceil: 0.1 * 50 must be 5 in float32 too.
    count = jnp.clip(jnp.ceil(fraction * pixels - 1e-4), 1, jnp.maximum(pixels, 1))
    threshold = _largest(jnp.where(mask > 0, jax.lax.stop_gradient(flat), -1), count)
    above = jnp.where(flat > threshold, mask, 0)
    at = jnp.where(flat == threshold, mask, 0)
    room = count - jnp.sum(above, -1, keepdims=True)
    share = room / jnp.maximum(jnp.sum(at, -1, keepdims=True), 1)
    chosen, number, own = jax.lax.stop_gradient(above + at * share), count[:, 0], None
    if weights is not None:
        weights, own = scaled(weights, (1,))
        chosen = chosen * weights
        number = jnp.sum(chosen, -1)
    cells = divide(jnp.sum(flat * chosen, -1), number, empty=0.0)
    if not by_sample:
        cells, own = cells[0], None if own is None else own[0]
    return reduce_cells(cells, own, reduction)


def _largest(x: Array, count: Array) -> Array:
    """Return the count-th largest of each row; x [rows, n] is at least 0, or -1, count [rows, 1].

    By bisection over the bits: floats from 0 up are in the order of their bits, and counting how
    many reach a candidate is a vector operation, where a sort of floats takes XLA tens of
    nanoseconds per element on a CPU.
    """
    size = jnp.finfo(x.dtype).bits
    word = jnp.dtype(f"int{size}")
    bits = jax.lax.bitcast_convert_type(jnp.where(x > 0, x, 0), word)  # 0.0, not -0.0
    bits = jnp.where(x < 0, -1, bits)

    def with_bit(place: Array, found: Array) -> Array:
        candidate = found | (jnp.asarray(1, word) << (size - 2 - place).astype(word))
        reach = jnp.sum(bits >= candidate, -1, keepdims=True, dtype=jnp.int32)
        return jnp.where(reach >= count.astype(jnp.int32), candidate, found)

    found = jax.lax.fori_loop(0, size - 1, with_bit, jnp.zeros_like(bits[:, :1]))
    return jax.lax.bitcast_convert_type(found, x.dtype)
