"""Losses on distance maps, and the exact Euclidean distance transform that they need, in jax.

The transform is separable (Felzenszwalb & Huttenlocher 2012): along the first axis the nearest
pixel of either side by one pass each way, then along each further axis
``d2[k] = min_j d2[j] + (k - j)**2``, written as a minimum over all j. Cost for an H x W mask:
H W^2 additions for the minimum, with static shapes, so it runs inside jit and on any device. That
grows with the width: cheap at 64 x 64, dear at 512 x 512, where the maps of fixed masks are better
computed once and given as `target_map`. (The lower envelope of parabolas needs only H W steps, but
each depends on the data and on the one before, which compiled arrays run one by one.)

A mask without any background has no distance; every pixel is then as far as the image's diagonal.

Examples:
  >>> import numpy as np
  >>> row = np.array([0.0, 1, 1, 1, 0]).reshape(1, 1, 5, 1)
  >>> signed_distance(row).ravel().tolist()
  [1.0, 0.0, -1.0, 0.0, 1.0]
  >>> float(boundary(row, row, pred_is="probs"))
  -0.20000000298023224
"""

from collections.abc import Callable
from typing import Literal, Unpack

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from segjax.errors import ConfigError
from segjax.losses._arguments import (
    Classes,
    ClassWeights,
    Prediction,
    check_choice,
    check_number,
    class_weight_row,
    prepare,
)
from segjax.losses._cells import InputOptions, Reduction, reduce_cells, scaled
from segjax.losses._numerics import divide

Unit = Literal["pixels", "diagonal"]


def _diagonal(spatial: tuple[int, ...]) -> float:
    return float(sum(size * size for size in spatial)) ** 0.5


def distance_transform(mask: ArrayLike) -> Array:
    """Return each True pixel's Euclidean distance to the nearest False pixel, 0 for False ones.

    Args:
      mask: bool [B, ..., C]; distances are within one image and one channel.

    Returns:
      float32 [B, ..., C] in pixels; the image's diagonal where a channel has no False pixel.

    Raises:
      ConfigError: mask is not bool, or has no spatial axis; at trace time.
    """
    return _distances(_checked(jnp.asarray(mask)))[0]


def _mask_of(target: ArrayLike) -> Array:
    mask = jnp.asarray(target)
    return _checked(mask if mask.dtype == jnp.bool_ else mask > 0.5)


def _checked(mask: Array) -> Array:
    if mask.dtype != jnp.bool_ or mask.ndim < 3:
        raise ConfigError(
            f"mask is {mask.dtype} {mask.shape}: must be bool [batch, height, width, channels]"
        )
    return mask


def _distances(mask: Array) -> tuple[Array, Array]:
    """Distance to the nearest False, and to the nearest True pixel [B, ..., C], at most D."""
    cap = _diagonal(mask.shape[1:-1])

    def along_others(squared: Array) -> Array:
        for axis in range(2, mask.ndim - 1):
            squared = _min_plus(squared, axis)
        return jnp.sqrt(jnp.minimum(squared, cap**2))

    to_false, to_true = _squared_along_first(mask, cap)
    return along_others(to_false), along_others(to_true)


def _squared_along_first(mask: Array, cap: float) -> tuple[Array, Array]:
    """Squared distance along axis 1 to the nearest False and True pixel; cap^2 or more if none.

    Row by row, down and then up: a running maximum over an axis costs several times as much.
    """
    rows = jnp.moveaxis(mask, 1, 0)
    far = jnp.full(rows.shape[1:], cap, jnp.float32)
    Pair = tuple[Array, Array]

    def down(above: Pair, row: Array) -> tuple[Pair, Pair]:
        here = jnp.where(row, above[0] + 1, 0), jnp.where(row, 0, above[1] + 1)
        return here, here

    def up(below: Pair, row: Pair) -> tuple[Pair, Pair]:
        here = jnp.minimum(below[0] + 1, row[0]), jnp.minimum(below[1] + 1, row[1])
        return here, (jnp.square(here[0]), jnp.square(here[1]))

    _, from_above = jax.lax.scan(down, (far, far), rows)
    _, squared = jax.lax.scan(up, (far, far), from_above, reverse=True)
    return jnp.moveaxis(squared[0], 0, 1), jnp.moveaxis(squared[1], 0, 1)


def _min_plus(squared: Array, axis: int) -> Array:
    """``min_j squared[j] + (k - j)**2`` along an axis, as a loop over j."""
    size = squared.shape[axis]
    moved = jnp.moveaxis(squared, axis, 0)
    place = jnp.arange(size, dtype=jnp.float32).reshape((size,) + (1,) * (moved.ndim - 1))

    def closer(j: Array, best: Array) -> Array:
        row = jax.lax.dynamic_slice_in_dim(moved, j, 1, axis=0)
        return jnp.minimum(best, row + jnp.square(place - j.astype(jnp.float32)))

    return jnp.moveaxis(jax.lax.fori_loop(0, size, closer, moved, unroll=2), 0, axis)


def signed_distance(target: ArrayLike) -> Array:
    """Return the signed distance map of masks, for `boundary`: above 0 outside, up to 0 inside.

    Outside: the distance to the nearest mask pixel. Inside: one less than the distance to the
    nearest pixel outside, negated; a mask's own border pixels have 0. An empty mask has the image's
    diagonal everywhere (Kervadec's code has 0 there, so nothing pushes false positives away).

    Args:
      target: [B, ..., C], a mask where above 0.5.

    Returns:
      float32 [B, ..., C], in pixels.
    """
    mask = _mask_of(target)
    inside, outside = _distances(mask)
    return jnp.where(mask, 1 - inside, outside)


def distance_field(target: ArrayLike) -> Array:
    """Return each pixel's distance to the nearest pixel on the mask's other side, for `hausdorff`.

    An empty or a full mask has the image's diagonal everywhere (MONAI has 0 there, so nothing
    pushes false positives away).

    Args:
      target: [B, ..., C], a mask where above 0.5.

    Returns:
      float32 [B, ..., C], in pixels.
    """
    inside, outside = _distances(_mask_of(target))
    return inside + outside


def _target_map(
    inputs: Prediction, target_map: ArrayLike | None, make: Callable[[ArrayLike], Array]
) -> Array:
    """Return the map given, or the one made from the target."""
    if inputs.pred.ndim < 3:
        raise ConfigError(
            f"pred has shape {inputs.pred.shape}: distances need [batch, ..., classes] with at "
            "least one axis between"
        )
    if target_map is None:
        return make(inputs.target)
    if jnp.shape(target_map) != inputs.pred.shape:
        raise ConfigError(
            f"target_map has shape {jnp.shape(target_map)}: must be {inputs.pred.shape}"
        )
    return jnp.asarray(target_map)


def _fixed(distances: Array, inputs: Prediction, unit: Unit) -> Array:
    """Return distances in the unit and dtype that the loss computes in, without a gradient."""
    check_choice("unit", unit, ("pixels", "diagonal"))
    scale = 1.0 if unit == "pixels" else 1 / _diagonal(inputs.pred.shape[1:-1])
    return jax.lax.stop_gradient(distances).astype(inputs.pred.dtype) * scale


def _mean_per_cell(
    values: Array, inputs: Prediction, class_weights: ClassWeights, reduction: Reduction
) -> Array:
    """Average over the pixels by weight to [B, C], then reduce."""
    axes = tuple(range(1, values.ndim - 1))
    shape = (values.shape[0], values.shape[-1])
    weights = class_weight_row(class_weights, shape, values.dtype)
    if inputs.weights is None:
        return reduce_cells(jnp.mean(values, axes), weights, reduction)
    pixels, own = scaled(inputs.weights, axes)
    cells = divide(jnp.sum(values * pixels, axes), jnp.sum(pixels, axes), empty=0.0)
    return reduce_cells(cells, own if weights is None else own * weights, reduction)


def boundary(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    classes: Classes = "multilabel",
    unit: Unit = "pixels",
    target_map: ArrayLike | None = None,
    class_weights: ClassWeights = None,
    reduction: Reduction = "mean",
    **options: Unpack[InputOptions],
) -> Array:
    """Return the boundary loss, the mean of ``phi * p``, phi the signed distance of the target.

    In [-D, D], D the diagonal: lowest, below 0, for a perfect prediction of a mask that has pixels
    off its border. Meant as a part of a sum, with a weight that grows over the steps:
    ``dice_prob+linear(0,1,1000)*boundary``. Kervadec et al. 2019.

    Args:
      pred, target, classes, class_weights, options: see `segjax.losses`; a pixel belongs to the
        mask where the target is above 0.5, and not where it does not count.
      unit: distances in 'pixels', or as shares of the image's 'diagonal'.
      target_map: None, or `signed_distance` of the target, [B, ..., C], computed beforehand.
      reduction: 'mean' and 'sum' over samples and classes, 'none' gives [B, C].

    Raises:
      ConfigError: shapes, dtypes or settings are wrong; at trace time.
    """
    inputs = prepare(pred, target, classes=classes, **options)
    phi = _fixed(_target_map(inputs, target_map, signed_distance), inputs, unit)
    return _mean_per_cell(phi * inputs.probs, inputs, class_weights, reduction)


def hausdorff(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    classes: Classes = "multilabel",
    power: float = 2.0,
    unit: Unit = "pixels",
    target_map: ArrayLike | None = None,
    class_weights: ClassWeights = None,
    reduction: Reduction = "mean",
    **options: Unpack[InputOptions],
) -> Array:
    """Return the Hausdorff loss by distance maps, ``mean((p - t)^2 (d_p^power + d_t^power))``.

    d_t and d_p are `distance_field` of the target and of the prediction, the latter a mask where
    p is above 0.5, recomputed at each call and held fixed in the gradient. In [0, 2 D^power], D the
    diagonal. unit as in `boundary`; target_map is `distance_field` of the target, or None. Karimi &
    Salcudean 2019, equation 8.
    """
    check_number("power", power)
    inputs = prepare(pred, target, classes=classes, **options)
    probs = inputs.probs
    far_target = _fixed(_target_map(inputs, target_map, distance_field), inputs, unit)
    hard = jax.lax.stop_gradient(probs) > 0.5
    if inputs.valid is not None:
        hard = hard & inputs.valid
    far_pred = _fixed(distance_field(hard), inputs, unit)
    values = jnp.square(probs - inputs.target) * (far_pred**power + far_target**power)
    return _mean_per_cell(values, inputs, class_weights, reduction)
