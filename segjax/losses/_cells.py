"""What a loss sums over, and how it becomes one number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Required, TypedDict

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from segjax.errors import ConfigError
from segjax.losses._arguments import (
    Classes,
    ClassWeights,
    Prediction,
    PredIs,
    check_choice,
    class_weight_row,
    prepare,
)
from segjax.losses._numerics import divide, total

if TYPE_CHECKING:
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


@dataclass(frozen=True)
class Sums:
    """Sums over the pixels of each cell."""

    both: Float[Array, "*cells"]  # sum(p t)
    pred: Float[Array, "*cells"]  # sum(p), or sum(p p) if squared
    target: Float[Array, "*cells"]  # sum(t), or sum(t t) if squared
    pixels: Float[Array, "*cells"]  # how many count
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

    def sums(self, *, probs: Array | None = None, squared: bool = False) -> Sums:
        """Sum `probs` (the prediction's), targets and their product over each cell."""
        counted, t, axes = self.inputs.counted, self.inputs.target, self.axes
        p = self.inputs.probs if probs is None else probs
        p = p if counted is None else p * counted
        both = jnp.sum(p * t, axes)
        if counted is None:
            pixels = jnp.full(both.shape, p.size // both.size, p.dtype)
        else:
            pixels = jnp.sum(counted, axes)
        neither = (1 - p) * (1 - t) if counted is None else (1 - p) * (1 - t) * counted
        pred, target = (p * p, t * t) if squared else (p, t)
        extra, missed = (p * (p - t), t * (t - p)) if squared else (p * (1 - t), t * (1 - p))
        summed = [jnp.sum(values, axes) for values in (pred, target, extra, missed, neither)]
        return Sums(both, summed[0], summed[1], pixels, *summed[2:])

    def reduce(self, losses: Float[Array, "*cells"], sums: Sums) -> Array:
        """Reduce the losses of cells that have these sums."""
        check_choice("absent", self.absent, ("count", "skip"))
        if self.class_weights is not None and not self.per_class:
            raise ConfigError("class_weights needs per_class=True: together, classes have no cells")
        weights = class_weight_row(self.class_weights, losses.shape, losses.dtype)
        if weights is None and self.absent == "count" and self.inputs.valid is None:
            return reduce_cells(losses, None, self.reduction)
        weights = jnp.ones_like(losses) if weights is None else weights
        if self.absent == "skip":
            weights = jnp.where(sums.target > 0, weights, 0)
        weights = jnp.where(sums.pixels > 0, weights, 0)
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
