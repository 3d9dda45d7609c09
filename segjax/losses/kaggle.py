"""The nine losses of the "Loss Function Library - Keras & PyTorch" notebook, number for number.

They are the settings of segjax's losses that give the notebook's PyTorch versions: the whole batch
as one vector, a smoothing of 1, and the notebook's defaults. There a sigmoid is inside all but
Combo; here pred_is says it. Arguments: pred and target [B, ..., C], target 0 to 1, `pred_is`
'logits' or 'probs', and `valid`, None, or bool [B, ...] of pixels that count, or their weights.
All return a scalar.
"""

from typing import Any, Unpack

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from segjax.losses import entropy, lovasz, overlap
from segjax.losses._arguments import check_number
from segjax.losses._cells import InputOptions, cells_of, reduce_cells

_BATCH: dict[str, Any] = {"over": "batch", "per_class": False}


def bce(pred: ArrayLike, target: ArrayLike, **options: Unpack[InputOptions]) -> Array:
    """Return the mean binary cross-entropy."""
    return entropy.bce(pred, target, **options)


def dice(pred: ArrayLike, target: ArrayLike, **options: Unpack[InputOptions]) -> Array:
    """Return ``1 - (2 I + 1) / (P + T + 1)``."""
    return overlap.dice_prob(pred, target, **_BATCH, **options)


def bce_dice(pred: ArrayLike, target: ArrayLike, **options: Unpack[InputOptions]) -> Array:
    """Return `bce` plus `dice`."""
    cells = cells_of(pred, target, **_BATCH, **options)
    return entropy.entropy_of(cells.inputs, "multilabel") + overlap.dice_of(cells)


def jaccard(pred: ArrayLike, target: ArrayLike, **options: Unpack[InputOptions]) -> Array:
    """Return ``1 - (I + 1) / (P + T - I + 1)``."""
    return overlap.jaccard(pred, target, **_BATCH, **options)


def focal(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    alpha: float = 0.8,
    gamma: float = 2.0,
    **options: Unpack[InputOptions],
) -> Array:
    """Return ``alpha (1 - exp(-B))^gamma B`` of the batch's mean cross-entropy B.

    The focus is on whole batches, not on pixels: see `segjax.losses.focal` for Lin's loss. alpha
    only scales.
    """
    check_number("alpha", alpha)
    check_number("gamma", gamma)
    mean = bce(pred, target, **options)
    return alpha * (-jnp.expm1(-mean)) ** gamma * mean


def tversky(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    fp_weight: float = 0.5,
    fn_weight: float = 0.5,
    **options: Unpack[InputOptions],
) -> Array:
    """Return ``1 - (I + 1) / (I + fp_weight FP + fn_weight FN + 1)``."""
    return focal_tversky(pred, target, fp_weight=fp_weight, fn_weight=fn_weight, **options)


def focal_tversky(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    fp_weight: float = 0.5,
    fn_weight: float = 0.5,
    gamma: float = 1.0,
    **options: Unpack[InputOptions],
) -> Array:
    """Return `tversky` to the power gamma; its default of 1 leaves it as it is."""
    weights = {"fp_weight": fp_weight, "fn_weight": fn_weight, **_BATCH}
    return overlap.focal_tversky(pred, target, exponent=gamma, **weights, **options)


def lovasz_hinge(pred: ArrayLike, target: ArrayLike, **options: Unpack[InputOptions]) -> Array:
    """Return the Lovasz hinge of all pixels and classes together, per_image=False.

    On logits. The notebook's own call passes probabilities through a sigmoid to a hinge on
    logits, which bounds the margins; the function it calls is this one.
    """
    return lovasz.lovasz_hinge(pred, target, **_BATCH, **options)


def combo(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    alpha: float = 0.5,
    ce_weight: float = 0.5,
    **options: Unpack[InputOptions],
) -> Array:
    """Return ``ce_weight mean(alpha B_a) - (1 - ce_weight) D``, from -0.5 up.

    ``B_a = -t log p - (1 - alpha) (1 - t) log(1 - p)`` (alpha on both terms, as the notebook has
    it; in Taghanaki et al. 2019 it is on the first alone), D the Dice score with a smoothing of 1.
    The logarithm of 0 is finite, not NaN as the notebook's is in float32, where 1 - 1e-9 is 1.
    """
    check_number("alpha", alpha, high=1)
    check_number("ce_weight", ce_weight, high=1)
    cells = cells_of(pred, target, **_BATCH, **options)
    inputs = cells.inputs
    score = cells.sums().tversky(fp_weight=0.5, fn_weight=0.5, smooth=0.5)
    losses = entropy.bce_map(inputs, inputs.target, fp_weight=1 - alpha)
    crossed = alpha * reduce_cells(losses, inputs.weights, "mean")
    loss = ce_weight * crossed - (1 - ce_weight) * score
    return loss if inputs.valid is None else jnp.where(jnp.any(inputs.valid), loss, 0)
