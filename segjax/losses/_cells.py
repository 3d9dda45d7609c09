"""What a loss sums over, and how it becomes one number."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Required, TypedDict

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from segjax.losses._arguments import (
    Classes,
    ClassWeights,
    Prediction,
    PredIs,
    check_choice,
    class_number,
    class_weight_row,
    prepare,
)
from segjax.losses._numerics import divide, total

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float

Over = Literal["sample", "batch"]
Absent = Literal["count", "skip"]
Reduction = Literal["none", "mean", "sum"]


class InputOptions(TypedDict, total=False):
    """What every loss on logits or probabilities takes; see `segjax.losses`."""

    pred_is: Required[PredIs]
    valid: ArrayLike | None


class CellOptions(InputOptions, total=False):
    """What losses on sums over the pixels of cells take."""

    classes: Classes
    over: Over
    absent: Absent
    reduction: Reduction


class OverlapOptions(CellOptions, total=False):
    """What losses take whose cells may be classes or all classes together."""

    per_class: bool
    class_weights: ClassWeights


def reduce_cells(
    cells: Float[Array, "*cells"], weights: Float[Array, "*cells"] | None, reduction: str
) -> Array:
    """Reduce a loss that has one value per cell (pixel, sample or class).

    Args:
      cells: the losses, 0 where a cell does not count.
      weights: None, or the cells' weights, 0 where a cell does not count.
      reduction: 'none' gives ``weights * cells``, 'sum' their sum, 'mean' their sum over the sum
        of the weights (0 if no cell counts).
    """
    check_choice("reduction", reduction, ("none", "mean", "sum"))
    weighted = cells if weights is None else cells * weights
    if reduction == "none":
        return weighted
    if reduction == "sum":
        return total(weighted)
    if weights is None:
        return total(cells) / cells.size
    return divide(total(weighted), jnp.sum(weights), empty=0.0)


def scaled(weights: Float[Array, "*s"], axes: Sequence[int]) -> tuple[Array, Array]:
    """Scale weights to a mean of 1 over what counts in a cell; return that mean too, [*cells].

    What is bool stays as it is: the mean is then 1, or 0 where nothing counts.
    """
    counted = (weights > 0).astype(weights.dtype)
    number = jnp.sum(counted, axes, keepdims=True)
    mean = divide(jnp.sum(weights, axes, keepdims=True), number, empty=0.0)
    each = divide(weights, jnp.broadcast_to(mean, weights.shape), empty=0.0)
    return each, jnp.squeeze(mean, axes)


@dataclass(frozen=True)
class Sums:
    """Sums over the pixels of each cell."""

    both: Float[Array, "*cells"]  # sum(p t), each pixel by its weight, as all these
    pred: Float[Array, "*cells"]  # sum(p), or sum(p p) if squared
    target: Float[Array, "*cells"]  # sum(t), or sum(t t) if squared
    pixels: Float[Array, "*cells"]  # sum(1)
    # Sums of their own: as differences of those above they would be rounding, once most is right.
    false_positives: Float[Array, "*cells"]  # pred - both
    false_negatives: Float[Array, "*cells"]  # target - both
    neither: Float[Array, "*cells"]  # sum((1 - p) (1 - t))

    def of_the_rest(self) -> Sums:
        """Return the sums of what is not the class: its false positives are false negatives."""
        extra, missed = self.false_negatives, self.false_positives
        ends = self.neither + extra, self.neither + missed
        return Sums(self.neither, *ends, self.pixels, extra, missed, self.both)

    def tversky(self, *, fp_weight: ArrayLike, fn_weight: ArrayLike, smooth: ArrayLike) -> Array:
        """``(I + smooth) / (I + fp_weight FP + fn_weight FN + smooth)``, 1 for 0 / 0."""
        top = self.both + smooth
        bottom = top + fp_weight * self.false_positives + fn_weight * self.false_negatives
        return divide(top, bottom, empty=1.0)


@dataclass(frozen=True)
class Cells:
    """Checked arguments of a loss, with what it sums over and how its cells are averaged."""

    inputs: Prediction
    over: Over = "sample"
    per_class: bool = True
    absent: Absent = "count"
    class_weights: ClassWeights = None
    reduction: Reduction = "mean"

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes of [B, ..., C] that a cell sums over."""
        check_choice("over", self.over, ("sample", "batch"))
        ndim = self.inputs.pred.ndim
        return tuple(range(int(self.over == "sample"), ndim - 1 if self.per_class else ndim))

    @functools.cached_property
    def weights(self) -> tuple[Array | None, Array | None]:
        """What elements [B, ..., C] weigh in their cell, and what the cells weigh; None: alike."""
        elements = cells = None
        if self.inputs.weights is not None:
            elements, cells = scaled(self.inputs.weights, self.axes)
        if not self.per_class:
            target = self.inputs.target
            row = class_weight_row(self.class_weights, target.shape, target.dtype)
            if row is not None:
                elements = row if elements is None else row * elements
        return elements, cells

    def number(self, name: str, value: ArrayLike, **limits: Any) -> Any:
        """Return a setting that is one number or, if cells are of one class, one for each."""
        axes, pred = self.axes, self.inputs.pred
        shape = tuple(size for axis, size in enumerate(pred.shape) if axis not in axes)
        return class_number(name, value, shape if self.per_class else (), pred.dtype, **limits)

    def sums(self, *, squared: bool = False) -> Sums:
        """Sum probabilities, targets and their products over each cell."""
        p, t, weights = self.inputs.probs, self.inputs.target, self.weights[0]

        def summed(values: Array) -> Array:
            return jnp.sum(values if weights is None else values * weights, self.axes)

        both = summed(p * t)
        if weights is None:
            pixels = jnp.full(both.shape, p.size // both.size, p.dtype)
        else:
            pixels = jnp.sum(weights, self.axes)
        pred, target = (p * p, t * t) if squared else (p, t)
        extra, missed = (p * (p - t), t * (t - p)) if squared else (p * (1 - t), t * (1 - p))
        rest = [summed(values) for values in (extra, missed, (1 - p) * (1 - t))]
        return Sums(both, summed(pred), summed(target), pixels, *rest)

    def reduce(self, losses: Float[Array, "*cells"], sums: Sums) -> Array:
        """Reduce the losses of cells that have these sums."""
        check_choice("absent", self.absent, ("count", "skip"))
        weights, own = None, self.weights[1]
        if self.per_class:
            weights = class_weight_row(self.class_weights, losses.shape, losses.dtype)
        if own is not None:
            weights = own if weights is None else weights * own
        if self.absent == "skip":
            weights = jnp.ones_like(losses) if weights is None else weights
            weights = jnp.where(sums.target > 0, weights, 0)
        return reduce_cells(losses, weights, self.reduction)


def cells_of(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    pred_is: PredIs,
    classes: Classes = "multilabel",
    valid: ArrayLike | None = None,
    **options: Any,
) -> Cells:
    """Check the arguments that the losses share; ``options`` are the fields of `Cells`."""
    return Cells(prepare(pred, target, pred_is=pred_is, classes=classes, valid=valid), **options)
