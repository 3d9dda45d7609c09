"""Segmentation metrics: counts that merge exactly, and scores computed from them."""

from segjax.metrics.counts import Counts, count, merge_hosts
from segjax.metrics.scores import (
    SCORES,
    accuracy,
    dice,
    iou,
    mcc,
    mean_over_images,
    precision,
    recall,
    specificity,
)

__all__ = [
    "SCORES",
    "Counts",
    "accuracy",
    "count",
    "dice",
    "iou",
    "mcc",
    "mean_over_images",
    "merge_hosts",
    "precision",
    "recall",
    "specificity",
]
