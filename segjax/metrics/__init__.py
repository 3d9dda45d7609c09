"""Segmentation metrics: counts that merge exactly, and scores computed from them."""

from segjax.metrics.boundary import (
    BoundaryCounts,
    SurfaceDistances,
    assd,
    boundary_count,
    boundary_f1,
    hausdorff,
    hd95,
    surface_distances,
)
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
    "BoundaryCounts",
    "Counts",
    "SurfaceDistances",
    "accuracy",
    "assd",
    "boundary_count",
    "boundary_f1",
    "count",
    "dice",
    "hausdorff",
    "hd95",
    "iou",
    "mcc",
    "mean_over_images",
    "merge_hosts",
    "precision",
    "recall",
    "specificity",
    "surface_distances",
]
