"""Lovasz losses: the convex surrogate of the Jaccard index. Berman, Triki & Blaschko 2018.

The errors of a cell's pixels are sorted, largest first, and each is weighed by how much the
Jaccard loss (of the pixels' weights, if they have some) grows when its pixel joins the wrong ones.
Cost: a sort of every cell, O(n log n), and a scatter of the weights, both in the forward pass. Both
losses take the options that `segjax.losses` describes.

Examples:
  >>> import numpy as np
  >>> masks = np.array([1.0, 0.0]).reshape(1, 1, 2, 1)
  >>> float(lovasz_hinge(np.array([2.0, -0.5]).reshape(1, 1, 2, 1), masks, pred_is="logits"))
  0.25
"""

from typing import Unpack

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from segjax.losses._arguments import ClassWeights, prepare
from segjax.losses._cells import (
    Absent,
    Cells,
    InputOptions,
    Over,
    OverlapOptions,
    Reduction,
    Sums,
    cells_of,
)


def _cells_last(x: Array, axes: tuple[int, ...]) -> Array:
    """Move the axes that a cell sums over to the end and join them."""
    ends = tuple(range(x.ndim - len(axes), x.ndim))
    moved = jnp.moveaxis(x, axes, ends)
    return moved.reshape((*moved.shape[: x.ndim - len(axes)], -1))


def _surrogate(errors: Array, target: Array, weights: Array | None) -> Array:
    """Return the Lovasz extension of the Jaccard loss at `errors`, over the last axis.

    The weights depend on the order alone, so they need no gradient; the order is a permutation,
    undone for them instead of for the errors' gradient.
    """
    fixed = jax.lax.stop_gradient(errors)
    if weights is not None:  # what does not count comes after all others
        fixed = jnp.where(weights > 0, fixed, -jnp.inf)
    place = _descending(fixed)
    truth = jnp.take_along_axis(target, place, -1)
    untruth = 1 - truth
    if weights is not None:
        size = jnp.take_along_axis(weights, place, -1)
        truth, untruth = truth * size, untruth * size
    total = jnp.sum(truth, -1, keepdims=True)
    kept = total - jnp.cumsum(truth, -1)
    union = total + jnp.cumsum(untruth, -1)
    # Soft targets can make the union start at 0.
    jaccard = 1 - kept / jnp.maximum(union, jnp.finfo(union.dtype).tiny)
    steps = jnp.diff(jaccard, axis=-1, prepend=jnp.zeros_like(total))
    slopes = jnp.put_along_axis(jnp.zeros_like(steps), place, steps, axis=-1, inplace=False)
    if weights is not None:
        slopes = jnp.where(weights > 0, slopes, 0)
    return jnp.sum(errors * jax.lax.stop_gradient(slopes), -1)


def _descending(keys: Array) -> Array:
    """Return where the largest, the second largest, ... of the last axis are, as int32.

    XLA on a CPU sorts integers alone several times as fast as floats with their places, so key and
    place are packed into one integer of 64 bits.
    """
    place = jax.lax.broadcasted_iota(jnp.int32, keys.shape, keys.ndim - 1)
    if keys.dtype != jnp.float32:
        return jax.lax.sort((-keys, place), num_keys=1)[1]
    bits = jax.lax.bitcast_convert_type(keys, jnp.uint32)
    sign = jnp.uint32(1 << 31)
    falling = jnp.where(bits >= sign, bits, ~(bits | sign))  # the larger the key, the smaller
    with jax.enable_x64(True):  # 64 bits inside these lines alone
        wide = jax.lax.convert_element_type(falling, jnp.uint64)
        packed = jax.lax.shift_left(wide, jnp.full_like(wide, 32))
        packed = packed | jax.lax.convert_element_type(place, jnp.uint64)
        ordered = jax.lax.sort(packed, dimension=keys.ndim - 1, is_stable=False)
        return jax.lax.convert_element_type(ordered & 0xFFFFFFFF, jnp.int32)


def _reduce(errors: Array, cells: Cells) -> Array:
    weights, axes = cells.weights[0], cells.axes
    weights = None if weights is None else _cells_last(weights, axes)
    target = _cells_last(cells.inputs.target, axes)
    losses = _surrogate(_cells_last(errors, axes), target, weights)
    size = jnp.sum(target, -1)
    none = jnp.zeros_like(size)
    return cells.reduce(losses, Sums(size, size, size, none, none, none, none))


def lovasz_hinge(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    over: Over = "sample",
    per_class: bool = True,
    absent: Absent = "count",
    class_weights: ClassWeights = None,
    reduction: Reduction = "mean",
    **options: Unpack[InputOptions],
) -> Array:
    """Return the Lovasz hinge of multilabel targets: errors ``max(0, 1 - x (2 t - 1))``.

    In [0, inf). pred_is must be 'logits': the hinge is about margins, which probabilities have
    lost. On an empty target only the highest logit is pushed down. Kaggle's is over='batch',
    per_class=False.
    """
    inputs = prepare(pred, target, accepts=("logits",), **options)
    cells = Cells(inputs, over, per_class, absent, class_weights, reduction)
    return _reduce(jax.nn.relu(1 - inputs.pred * (2 * inputs.target - 1)), cells)


def lovasz_softmax(pred: ArrayLike, target: ArrayLike, **options: Unpack[OverlapOptions]) -> Array:
    """Return Lovasz-softmax: errors ``|t - p|`` of every class, in [0, 1].

    `classes` is 'multiclass' unless said otherwise. absent='skip' averages over the classes that
    are present, as the paper does; then an absent class is pushed down only by the others being
    pushed up.
    """
    options.setdefault("classes", "multiclass")
    cells = cells_of(pred, target, **options)
    probs, t = cells.inputs.probs, cells.inputs.target
    # |t - p| without the kink at p = t, which is an end of the range for targets of 0 and 1.
    return _reduce(t * (1 - probs) + (1 - t) * probs, cells)
