"""Segmentation losses: pure functions of arrays, usable without the rest of segjax.

``loss(pred, target, *, pred_is, ...)``: channels last, [B, ..., C]. pred_is says what pred holds:
'logits' or 'probs'. `mse`, `dice` and `combo`, the report's, read raw values and have no pred_is.
Sums are taken in float32 or wider; all work under jit, grad, vmap and scan. A wrong shape, dtype or
setting is a ConfigError (a ValueError) at trace time. Targets or labels out of range are one too
where their values are known, that is outside of jit.
"""

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
from segjax.losses.registry import LossSpec, check_pairing, make_loss, spec
from segjax.losses.regression import combo, dice, mse
from segjax.losses.topology import cldice, soft_skeleton

__all__ = [
    "LossSpec",
    "WeightedSum",
    "bce",
    "boundary",
    "check_pairing",
    "cldice",
    "combo",
    "cross_entropy",
    "dice",
    "dice_ce",
    "dice_focal",
    "dice_prob",
    "distance_field",
    "distance_transform",
    "exp_log",
    "focal",
    "focal_tversky",
    "generalized_dice",
    "hausdorff",
    "jaccard",
    "kaggle",
    "linear_weight",
    "log_cosh_dice",
    "lovasz_hinge",
    "lovasz_softmax",
    "make_loss",
    "mcc",
    "mse",
    "signed_distance",
    "soft_skeleton",
    "spec",
    "topk",
    "tversky",
    "unified_focal",
    "weighted_sum",
]
