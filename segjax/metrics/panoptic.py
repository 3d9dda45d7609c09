"""Panoptic quality: objects of the target matched with objects of the prediction.

A pair matches if its IoU is above 0.5; as the objects of a class do not overlap, nothing can then
match twice. What is left over is a false negative in the target, a false positive in the
prediction (Kirillov et al., "Panoptic Segmentation", CVPR 2019).

A network that gives one mask per class does not tell objects apart. Without boxes, an object is a
connected piece of a class's mask, in target and prediction alike. With the target's boxes:

- a target object is what its box holds of its class's mask;
- a predicted piece that enters a box belongs to that box's object, all of it; if it enters
  several boxes of its class, each of its pixels goes to the nearest of them. All that went to one
  box is one predicted object, so the right mask scores 1 where objects touch or fall apart;
- a piece that enters no box of its class is an object by itself, a false positive.

Unlike the recall of `segjax.metrics.objects`, this sees what was predicted outside the boxes.

Pixels that are not valid, and pixels inside boxes of two objects of one class, are void: they
count for neither side, an unmatched predicted object that is void for more than half of itself is
no false positive, and a target object of which nothing else is left is not counted.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from segjax.errors import ConfigError
from segjax.metrics.masks import HostCounts, host_masks
from segjax.metrics.objects import check_boxes
from segjax.metrics.scores import Absent, Average, Ratio, described, score_classes

if TYPE_CHECKING:
    from jaxtyping import Bool, Int


@dataclasses.dataclass(frozen=True, eq=False)
class PanopticCounts(HostCounts):
    """Matched pairs (tp), and objects left over in prediction (fp) and target (fn); ``+`` adds.

    All int64 [C]. ``iou``, float64 [C], is the sum of the matched pairs' IoU. The numbers merge
    exactly, the sum up to the rounding of its last digits.
    """

    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    iou: np.ndarray

    @classmethod
    def zero(cls, classes: int) -> Self:
        """Return counts of nothing."""
        return cls(*(np.zeros(classes, dtype) for dtype in (np.int64, np.int64, np.int64, float)))


def panoptic_count(
    pred: Any,
    target: Any,
    *,
    boxes: Any = None,
    box_image: Any = None,
    box_class: Any = None,
    valid: Any = None,
    connectivity: Literal[4, 8] = 8,
    min_pixels: int = 1,
) -> PanopticCounts:
    """Match the target's objects with the prediction's; see the module for the definitions.

    Args:
        pred: bool or integer [N, H, W, C], on where not 0.
        target: the same shape.
        boxes: int [M, 4] as x1, y1, x2, y2, the maxima included; None: the target's objects are
            its connected pieces.
        box_image: int [M], the image of each box.
        box_class: int [M], the class of each box.
        valid: bool [N, H, W]; other pixels are void.
        connectivity: 8 joins pixels over corners, 4 does not.
        min_pixels: predicted pieces of fewer pixels are dropped, as if never predicted.

    Returns:
        PanopticCounts [C], the images' objects added up.

    Raises:
        ConfigError: shapes that do not fit, boxes without images and classes or outside their
            image, a connectivity that is neither 4 nor 8, min_pixels below 1.

    Examples:
        >>> target = np.zeros((1, 6, 6, 1), bool)
        >>> target[0, 1:5, 1:5] = True
        >>> pred = target.copy()
        >>> pred[0, 4] = False  # 12 of 16 pixels are left: matched at IoU 0.75
        >>> pred[0, 0, 0] = True  # joined to the object by a corner
        >>> panoptic_quality(panoptic_count(pred, target)).round(3).tolist()
        [0.706]
        >>> panoptic_quality(panoptic_count(pred, target, connectivity=4)).tolist()
        [0.5]
    """
    from scipy.ndimage import label

    on, true, kept = host_masks(pred, target, valid, caller="panoptic_count")
    if connectivity not in (4, 8):
        raise ConfigError(f"connectivity={connectivity!r} is not one of 4, 8")
    if min_pixels < 1:
        raise ConfigError(f"min_pixels must be at least 1, got {min_pixels}")
    if boxes is not None:
        if box_image is None or box_class is None:
            raise ConfigError("panoptic_count: boxes need box_image and box_class")
        boxes, box_image, box_class = check_boxes(boxes, box_image, box_class, shape=on.shape)
    neighbours = np.ones((3, 3)) if connectivity == 8 else None
    total = PanopticCounts.zero(on.shape[-1])
    occupied = on.any(axis=(1, 2)) | true.any(axis=(1, 2))
    for image, channel in np.argwhere(occupied):
        pieces, _ = label(on[image, :, :, channel], neighbours)
        pieces[np.bincount(pieces.ravel())[pieces] < min_pixels] = 0
        void = ~kept[image]
        if boxes is None:
            objects, _ = label(true[image, :, :, channel], neighbours)
        else:
            rows = (box_image == image) & (box_class == channel)
            pieces, objects, shared = _by_box(pieces, true[image, :, :, channel], boxes[rows])
            void = void | shared
        for leaf, number in zip(total.leaves(), _match(pieces, objects, void), strict=True):
            leaf[channel] += number
    return total


def _by_box(
    pieces: "Int[np.ndarray, 'H W']",
    mask: "Bool[np.ndarray, 'H W']",
    boxes: "Int[np.ndarray, 'M 4']",
) -> "tuple[Int[np.ndarray, 'H W'], Int[np.ndarray, 'H W'], Bool[np.ndarray, 'H W']]":
    """Return predicted and target objects by box, and where boxes of the class overlap.

    Objects are int [H, W]: 0 none, k the k-th box's, above the number of boxes a piece outside.
    """
    y, x = np.indices(mask.shape)
    x1, y1, x2, y2 = (side[:, None, None] for side in boxes.T)
    # Squared distance to each box, 0 inside it.
    away: Any = (x - np.clip(x, x1, x2)) ** 2 + (y - np.clip(y, y1, y2)) ** 2
    inside = away == 0
    shared = inside.sum(axis=0) > 1
    numbers = np.arange(1, len(boxes) + 1)[:, None, None]
    objects = (numbers * (inside & mask & ~shared)).sum(axis=0)
    owners = np.where(pieces > 0, pieces + len(boxes), 0)
    for piece in np.unique(pieces[(pieces > 0) & inside.any(axis=0)]):
        here = pieces == piece
        entered = np.flatnonzero(inside[:, here].any(axis=1))
        owners[here] = 1 + entered[np.argmin(away[entered][:, here], axis=0)]
    return owners, objects, shared


def _match(
    pieces: "Int[np.ndarray, 'H W']",
    objects: "Int[np.ndarray, 'H W']",
    void: "Bool[np.ndarray, 'H W']",
) -> tuple[int, int, int, float]:
    """Return true positives, false positives, false negatives and the sum of matched IoU."""
    whole = np.bincount(pieces.ravel())
    # Pixels per pair of predicted (row) and target object (column); row and column 0 are "none".
    table = np.zeros((whole.size, objects.max() + 1), np.int64)
    np.add.at(table, (pieces[~void], objects[~void]), 1)
    whole, both = whole[1:], table[1:, 1:]
    in_piece, in_object = table[1:].sum(axis=1), table[:, 1:].sum(axis=0)
    iou = both / np.maximum(in_piece[:, None] + in_object - both, 1)
    matched = iou > 0.5
    tp = int(matched.sum())
    stray = (whole > 0) & (2 * in_piece >= whole) & ~matched.any(axis=1)
    return tp, int(stray.sum()), int((in_object > 0).sum()) - tp, float(iou[matched].sum())


_ARGUMENTS = """
Args:
    counts: from `panoptic_count`, objects per class [C].
    average: ``'none'`` per class; ``'micro'`` classes pooled; ``'macro'`` their mean;
        ``'weighted'`` their mean by objects in the target.
    absent: what a class scores without any object or piece; as in `segjax.metrics.scores`.

Returns:
    float64 [C], or a number for an average.

Raises:
    ConfigError: for an unknown choice.
"""


def _quality(formula: Callable[..., tuple[np.ndarray, np.ndarray]]) -> Callable[..., Any]:
    """Make (tp, fp, fn, iou) -> (num, den) a score."""

    def ratio(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, iou: np.ndarray) -> Ratio:
        return Ratio(*formula(tp, fp, fn, iou), gone=tp + fp + fn == 0, weight=tp + fn)

    def score(counts: PanopticCounts, *, average: Average = "none", absent: Absent = "skip") -> Any:
        return score_classes(ratio, counts.leaves(), average=average, absent=absent)

    return described(score, formula, _ARGUMENTS)


@_quality
def panoptic_quality(tp: Any, fp: Any, fn: Any, iou: Any) -> tuple[Any, Any]:
    """Return PQ = SQ * RQ, sum of IoU / (tp + fp / 2 + fn / 2), in [0, 1].

    Source: Kirillov et al., "Panoptic Segmentation", CVPR 2019, as the other two.
    """
    return iou, tp + fp / 2 + fn / 2


@_quality
def segmentation_quality(tp: Any, fp: Any, fn: Any, iou: Any) -> tuple[Any, Any]:
    """Return SQ, the mean IoU of matched pairs, sum of IoU / tp, in (0.5, 1], or 0 without any."""
    return iou, tp


@_quality
def recognition_quality(tp: Any, fp: Any, fn: Any, iou: Any) -> tuple[Any, Any]:
    """Return RQ, the F1 score of finding objects, tp / (tp + fp / 2 + fn / 2), in [0, 1]."""
    return tp, tp + fp / 2 + fn / 2
