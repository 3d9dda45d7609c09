"""Segmentation losses: pure functions of arrays, usable without the rest of segjax."""

from segjax.losses.compose import WeightedSum, linear_weight, weighted_sum
from segjax.losses.registry import LossSpec, check_pairing, make_loss, spec
from segjax.losses.regression import combo, dice, mse

__all__ = [
    "LossSpec",
    "WeightedSum",
    "check_pairing",
    "combo",
    "dice",
    "linear_weight",
    "make_loss",
    "mse",
    "spec",
    "weighted_sum",
]
