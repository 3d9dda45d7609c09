"""Lovasz losses: the convex surrogate of the Jaccard index. Berman, Triki & Blaschko 2018.

The errors of a cell's pixels are sorted, largest first, and each is weighed by how much the
Jaccard loss grows when its pixel joins the wrong ones. Cost: a sort of every cell, O(n log n), and
a scatter of the weights, both in the forward pass.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from segjax.losses._arguments import Reduction, reduce_cells
from segjax.losses._prediction import Classes, Prediction, PredIs, prepare
from segjax.losses.overlap import Absent, Over, Sums, cell_axes, cell_weights


def _cells_last(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Move the axes that a cell sums over to the end and join them."""
    ends = tuple(range(x.ndim - len(axes), x.ndim))
    moved = jnp.moveaxis(x, axes, ends)
    return moved.reshape((*moved.shape[: x.ndim - len(axes)], -1))


def _surrogate(errors: jax.Array, target: jax.Array, counted: jax.Array | None) -> jax.Array:
    """Return the Lovasz extension of the Jaccard loss at `errors`, over the last axis.

    The weights depend on the order alone, so they need no gradient; the order is a permutation,
    undone for them instead of for the errors' gradient.
    """
    fixed = jax.lax.stop_gradient(errors)
    if counted is not None:  # after all others, and without weight
        fixed = jnp.where(counted > 0, fixed, -jnp.inf)
    place = _descending(fixed)
    truth = jnp.take_along_axis(target, place, -1)
    total = jnp.sum(truth, -1, keepdims=True)
    kept = total - jnp.cumsum(truth, -1)
    union = total + jnp.cumsum(1 - truth, -1)
    # Soft targets can make the union start at 0.
    jaccard = 1 - kept / jnp.maximum(union, jnp.finfo(union.dtype).tiny)
    steps = jnp.diff(jaccard, axis=-1, prepend=jnp.zeros_like(total))
    weights = jnp.put_along_axis(jnp.zeros_like(steps), place, steps, axis=-1, inplace=False)
    if counted is not None:
        weights = weights * counted
    return jnp.sum(errors * jax.lax.stop_gradient(weights), -1)


def _descending(keys: jax.Array) -> jax.Array:
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


def _reduce(
    errors: jax.Array,
    inputs: Prediction,
    *,
    over: Over,
    per_class: bool,
    absent: Absent,
    class_weights: ArrayLike | Sequence[float] | None,
    reduction: Reduction,
) -> jax.Array:
    axes = cell_axes(errors.ndim, over=over, per_class=per_class)
    counted = None if inputs.counted is None else _cells_last(inputs.counted, axes)
    target = _cells_last(inputs.target, axes)
    cells = _surrogate(_cells_last(errors, axes), target, counted)
    size = jnp.sum(target, -1)
    pixels = jnp.ones_like(size) if counted is None else jnp.sum(counted, -1)
    weights = cell_weights(
        Sums(size, size, size, pixels),
        inputs,
        per_class=per_class,
        absent=absent,
        class_weights=class_weights,
    )
    return reduce_cells(cells, weights, reduction)


def lovasz_hinge(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    pred_is: PredIs,
    over: Over = "sample",
    per_class: bool = True,
    absent: Absent = "count",
    class_weights: ArrayLike | Sequence[float] | None = None,
    valid: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Return the Lovasz hinge of independent classes: errors ``max(0, 1 - x (2 t - 1))``.

    In [0, inf). pred_is must be 'logits': the hinge is about margins, which probabilities have
    lost. On an empty target only the highest logit is pushed down. Arguments, cells and reductions
    are those of `segjax.losses.overlap`; Kaggle's is over='batch', per_class=False.
    """
    inputs = prepare(pred, target, pred_is=pred_is, valid=valid, accepts=("logits",))
    errors = jax.nn.relu(1 - inputs.pred * (2 * inputs.target - 1))
    return _reduce(
        errors,
        inputs,
        over=over,
        per_class=per_class,
        absent=absent,
        class_weights=class_weights,
        reduction=reduction,
    )


def lovasz_softmax(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    pred_is: PredIs,
    classes: Classes = "exclusive",
    over: Over = "sample",
    per_class: bool = True,
    absent: Absent = "count",
    class_weights: ArrayLike | Sequence[float] | None = None,
    valid: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Return Lovasz-softmax: errors ``|t - p|`` of every class, in [0, 1].

    absent='skip' averages over the classes that are present, as the paper does; then an absent
    class is pushed down only by the others being pushed up.
    Arguments, cells and reductions are those of `segjax.losses.overlap`.
    """
    inputs = prepare(pred, target, pred_is=pred_is, classes=classes, valid=valid)
    probs, t = inputs.probs, inputs.target
    # |t - p| without the kink at p = t, which is an end of the range for targets of 0 and 1.
    errors = t * (1 - probs) + (1 - t) * probs
    return _reduce(
        errors,
        inputs,
        over=over,
        per_class=per_class,
        absent=absent,
        class_weights=class_weights,
        reduction=reduction,
    )
