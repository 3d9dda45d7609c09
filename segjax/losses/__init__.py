"""Segmentation losses: pure functions of arrays, usable without the rest of segjax.

``loss(pred, target, *, pred_is, ...)`` gives a float32 or float64. `mse`, `dice` and `combo`, the
report's, read raw values and have no pred_is. The others take, as far as they apply:

Args:
  pred: float [B, ..., C], channels last; computed and summed in float32 or wider.
  target: 0 to 1, of the same shape; if multiclass also integer labels [B, ...].
  pred_is: 'logits' or 'probs'; never guessed. Logits are the better choice: no logarithm of a
    rounded probability. For probabilities the logarithm goes on straight below the dtype's eps.
  classes: 'multilabel' (a sigmoid per channel; the default, but for `topk` and `lovasz_softmax`) or
    'multiclass' (a softmax over the channels). `bce` is multilabel, `cross_entropy` multiclass.
  valid: None, or bool [B, ...] (or [B, ..., C] if multilabel, or [B]): pixels that count. Others
    leave all sums; a cell without any leaves the mean. With no pixel left the loss is 0. Or
    floating, of the same shapes: weights of pixels or samples, >= 0; only ratios count in a mean.
    Within a cell they are scaled to a mean of 1 over what counts, and the cell weighs as much as
    that mean was.
  class_weights: None, or [C], scaled to a mean of 1: weights of cells, or of elements if a cell is
    all classes together.
  smooth: right pixels added to a cell, so that 0 / 0 is none; a number, or [C] if a cell is one
    class (`generalized_dice`: a number).
  fp_weight, fn_weight: weights of what is wrongly there and wrongly missing; in entropies, of the
    terms where the target is 0 and 1. A number, or [C] as smooth (`unified_focal`: a number).
  over: a cell is one 'sample' (default), or the whole 'batch'. By sample, the mean over shards of a
    batch is the loss of the batch; by batch, it is not.
  per_class: a cell is one class (True, default; averaged afterwards), or all classes together.
  absent: 'count' (default) cells whose target is empty, or 'skip' them.
  reduction: 'mean' (default) by weight over what counts: pixels or cells; 'sum'; or 'none', each
    times its weight, 0 where not valid: for cells [B, C], [B], [C] or [], by over and per_class.

All work under jit, grad, vmap and scan. They raise ConfigError (a ValueError) at trace time for
wrong shapes, dtypes or settings; where values are known, that is outside of jit, also for targets,
labels or probabilities out of range.
"""

import inspect
import re
from collections.abc import Callable
from typing import Any, get_args

from segjax.losses import kaggle
from segjax.losses.compose import WeightedSum, linear_weight, weighted_sum
from segjax.losses.compound import dice_ce, dice_focal, exp_log, unified_focal
from segjax.losses.distance import (
    boundary,
    distance_field,
    distance_transform,
    hausdorff,
    signed_distance,
)
from segjax.losses.entropy import bce, cross_entropy, focal, topk
from segjax.losses.lovasz import lovasz_hinge, lovasz_softmax
from segjax.losses.overlap import (
    dice_prob,
    focal_tversky,
    generalized_dice,
    jaccard,
    log_cosh_dice,
    mcc,
    tversky,
)
from segjax.losses.registry import make_loss
from segjax.losses.regression import combo, dice, mse
from segjax.losses.topology import cldice, soft_skeleton

__all__ = [
    "WeightedSum", "bce", "boundary", "cldice", "combo", "cross_entropy", "dice", "dice_ce",
    "dice_focal", "dice_prob", "distance_field", "distance_transform", "exp_log", "focal",
    "focal_tversky", "generalized_dice", "hausdorff", "jaccard", "kaggle", "linear_weight",
    "log_cosh_dice", "lovasz_hinge", "lovasz_softmax", "make_loss", "mcc", "mse", "signed_distance",
    "soft_skeleton", "topk", "tversky", "unified_focal", "weighted_sum",
]  # fmt: skip


def _tell(loss: Callable[..., Any], said: dict[str, str]) -> None:
    """Add to a loss's docstring what is said above of the arguments that it takes."""
    options = loss.__annotations__.get("options")
    names = {
        *inspect.signature(loss).parameters,
        *(get_args(options)[0].__annotations__ if options else ()),
    }
    told = [text for keys, text in said.items() if names & set(keys.split(", "))]
    loss.__doc__ = f"{inspect.getdoc(loss)}\n\nArgs:\n{''.join(told)}"


if __doc__:  # not under python -OO
    _SAID = {
        match[1]: match[0] for match in re.finditer(r"  (\w[\w, ]*): .*\n(?:    .*\n)*", __doc__)
    }
    for _loss in (
        bce, cross_entropy, focal, topk, dice_prob, jaccard, tversky, focal_tversky, log_cosh_dice,
        generalized_dice, mcc, dice_ce, dice_focal, exp_log, unified_focal, lovasz_hinge,
        lovasz_softmax, hausdorff, cldice,
    ):  # fmt: skip
        _tell(_loss, _SAID)
