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
    iou,
    mcc,
    mean_over_images,
    precision,
    recall,
    specificity,
)

__all__ = [name for name in dir() if not name.startswith("_")]
