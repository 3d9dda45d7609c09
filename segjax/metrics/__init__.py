"""Segmentation metrics: counts that merge exactly, and scores computed from them."""

from segjax.metrics.boundary import (
    BoundaryCounts,
    SurfaceDistances,
    assd,
    boundary_count,
    boundary_f1,
    hausdorff,
    hd95,
    surface_dice,
    surface_distances,
)
from segjax.metrics.counts import Counts, confusion_matrix, count, merge_hosts
from segjax.metrics.objects import (
    HIDDEN_LIMITS,
    SIZE_LIMITS,
    ObjectCounts,
    Objects,
    count_objects,
    match_objects,
    object_recall,
)
from segjax.metrics.panoptic import (
    PanopticCounts,
    panoptic_count,
    panoptic_quality,
    recognition_quality,
    segmentation_quality,
)
from segjax.metrics.scores import (
    SCORES,
    accuracy,
    dice,
    f_beta,
    generalized_dice,
    iou,
    mcc,
    mean_over_images,
    precision,
    recall,
    specificity,
)

__all__ = [
    "HIDDEN_LIMITS", "SCORES", "SIZE_LIMITS", "BoundaryCounts", "Counts", "ObjectCounts", "Objects",
    "PanopticCounts", "SurfaceDistances", "accuracy", "assd", "boundary_count", "boundary_f1",
    "confusion_matrix", "count", "count_objects", "dice", "f_beta", "generalized_dice", "hausdorff",
    "hd95", "iou", "match_objects", "mcc", "mean_over_images", "merge_hosts", "object_recall",
    "panoptic_count", "panoptic_quality", "precision", "recall", "recognition_quality",
    "segmentation_quality", "specificity", "surface_dice", "surface_distances",
]  # fmt: skip
