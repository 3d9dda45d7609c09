"""Recall of single objects, known by their boxes: by size, and by how much of them is hidden.

A network that gives one mask per class does not tell objects apart, so an object is judged inside
its own box. Its *own* pixels are the target's pixels of its class in the box. What lies in the
box of a second object of the same class belongs to neither for sure and is left out of both; an
object of which nothing is left is *undecided* and not counted. Its IoU is that of the own pixels
and the predicted pixels of the class, both inside the box; it is *found* if that is at least a
threshold. Pixels predicted outside the box do not count here: pixel precision and
`segjax.metrics.panoptic` see those.

Masks hold full silhouettes, so a pixel may be on in two classes: one object is drawn over the
other there. An object's *contested* pixels are its own pixels that are on in another class too.
Who lies on top is not stored. Without ``images`` all contested pixels count as hidden, an upper
bound (of two objects that overlap, the one on top looks hidden too). With ``images`` of
flat-coloured drawings, colours tell: a contested pixel is hidden where it does not have the
object's own colour, the most frequent one among its uncontested pixels. An object without such
pixels is hidden where a pixel has the own colour of another object there. Overlap within a class
can never be told.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from segjax.errors import ConfigError
from segjax.metrics.masks import host_masks
from segjax.metrics.scores import Absent, Average, Ratio, check_choice, score_classes

if TYPE_CHECKING:
    from jaxtyping import Bool, Int, UInt8

By = Literal["all", "size", "hidden"]

SIZE_LIMITS = (64.0, 256.0, float("inf"))
"""Upper limits of the size bins in pixels: up to 8 x 8, up to 16 x 16, larger."""

HIDDEN_LIMITS = (0.0, 0.25, 0.5, 1.0)
"""Upper limits of the bins of the hidden share: nothing, up to a quarter, up to half, more."""


@dataclasses.dataclass(frozen=True, eq=False)
class Objects:
    """One row per object of the target, M rows, in the order of its boxes.

    Attributes:
        image: int64 [M], index into the set.
        category: int64 [M], class index.
        size: int64 [M], own pixels; 0 for an undecided object.
        hidden: float64 [M], share of the own pixels that is hidden, in [0, 1]; NaN if undecided.
        iou: float64 [M], in [0, 1]; NaN if undecided.
        classes: the number of classes.
    """

    image: np.ndarray
    category: np.ndarray
    size: np.ndarray
    hidden: np.ndarray
    iou: np.ndarray
    classes: int

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Return the rows of all parts, one after another."""
        if len({part.classes for part in parts}) != 1:
            raise ConfigError("Objects.concatenate: needs parts with one number of classes")
        names = ("image", "category", "size", "hidden", "iou")
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return cls(**columns, classes=parts[0].classes)


def match_objects(
    pred: Any,
    target: Any,
    boxes: Any,
    *,
    box_image: Any,
    box_class: Any,
    valid: Any = None,
    images: Any = None,
    first_image: int = 0,
) -> Objects:
    """Measure each object of the target inside its box; see the module for the definitions.

    Args:
        pred: bool or integer [N, H, W, C], on where not 0.
        target: the same shape, full silhouettes.
        boxes: int [M, 4] as x1, y1, x2, y2, the maxima included.
        box_image: int [M], the image of each box, in 0..N-1.
        box_class: int [M], the class of each box, in 0..C-1.
        valid: bool [N, H, W]; other pixels are left out.
        images: uint8 [N, H, W, 3], flat-coloured drawings, to tell who hides whom.
        first_image: added to ``box_image`` in the result, for a set matched batch by batch.

    Returns:
        Objects of M rows: sizes in pixels, IoU and hidden share in [0, 1].

    Raises:
        ConfigError: shapes that do not fit, or a box outside its image.

    Examples:
        >>> target = np.zeros((1, 6, 6, 1), bool)
        >>> target[0, 1:5, 1:5] = True
        >>> pred = target.copy()
        >>> pred[0, 4] = False  # 12 of 16 pixels are left
        >>> objects = match_objects(pred, target, [(1, 1, 4, 4)], box_image=[0], box_class=[0])
        >>> objects.iou.tolist(), object_recall(count_objects(objects)).tolist()
        ([0.75], [[1.0]])
    """
    on, true, kept = host_masks(pred, target, valid, caller="match_objects")
    boxes, box_image, box_class = check_boxes(boxes, box_image, box_class, shape=on.shape)
    if images is not None:
        images = np.asarray(images)
        if images.shape[:3] != on.shape[:3] or images.ndim != 4:
            raise ConfigError(f"match_objects: images {images.shape} do not fit masks {on.shape}")
    pixels = np.zeros((4, len(boxes)), np.int64)
    for image in np.unique(box_image):
        rows = np.flatnonzero(box_image == image)
        category = box_class[rows]
        inside = own_boxes(boxes[rows], category, shape=on.shape[1:3]) & kept[image]
        own = inside & np.moveaxis(true[image][..., category], -1, 0)
        found = inside & np.moveaxis(on[image][..., category], -1, 0)
        covered = _hidden(own, category, true[image], None if images is None else images[image])
        areas = own, own & found, own | found, covered
        pixels[:, rows] = [area.sum(axis=(1, 2)) for area in areas]
    size, both, either, unseen = pixels
    hidden, iou = (
        np.where(size > 0, part / np.maximum(whole, 1), np.nan)
        for part, whole in ((unseen, size), (both, either))
    )
    return Objects(box_image + first_image, box_class, size, hidden, iou, classes=on.shape[-1])


def check_boxes(
    boxes: Any, box_image: Any, box_class: Any, *, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return boxes [M, 4], their images [M] and classes [M] as int64, checked against masks."""
    boxes = np.asarray(boxes, np.int64).reshape(-1, 4)
    box_image = np.asarray(box_image, np.int64).reshape(-1)
    box_class = np.asarray(box_class, np.int64).reshape(-1)
    if not len(boxes) == len(box_image) == len(box_class):
        raise ConfigError(
            f"{len(boxes)} boxes need as many images and classes, "
            f"got {len(box_image)} and {len(box_class)}"
        )
    count, height, width, classes = shape
    wrong = (boxes < 0).any(axis=1) | (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
    wrong |= (boxes[:, 2:] >= [width, height]).any(axis=1)
    wrong |= (box_image < 0) | (box_image >= count) | (box_class < 0) | (box_class >= classes)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ConfigError(
            f"box {row} {boxes[row].tolist()} of image {box_image[row]}, class {box_class[row]} "
            f"does not fit masks {shape}; boxes are x1, y1, x2, y2 with the maxima included"
        )
    return boxes, box_image, box_class


def own_boxes(
    boxes: "Int[np.ndarray, 'M 4']", category: np.ndarray, *, shape: tuple[int, ...]
) -> "Bool[np.ndarray, 'M H W']":
    """Return the pixels of each box of one image, ``shape``, that are in no other of its class."""
    y, x = np.indices(shape)
    x1, y1, x2, y2 = (side[:, None, None] for side in boxes.T)
    inside = (x >= x1) & (x <= x2) & (y >= y1) & (y <= y2)
    for name in np.unique(category):
        rows = category == name
        inside[rows] &= inside[rows].sum(axis=0) == 1
    return inside


def _hidden(
    own: "Bool[np.ndarray, 'M H W']",
    category: np.ndarray,
    target: "Bool[np.ndarray, 'H W C']",
    image: "UInt8[np.ndarray, 'H W 3'] | None",
) -> "Bool[np.ndarray, 'M H W']":
    """Return the hidden pixels of each object of one image."""
    layers = target.sum(axis=-1)
    contested = own & (layers > 1)
    if image is None or not contested.any():
        return contested
    # One number per colour, so that colours compare in one step.
    colour = image.astype(np.int64) @ 256 ** np.arange(image.shape[-1])
    paint = np.full(len(own), -1)  # where no pixel is clear
    for row, mask in enumerate(own & (layers == 1)):
        if mask.any():
            seen, number = np.unique(colour[mask], return_counts=True)
            paint[row] = seen[np.argmax(number)]
    for row, pixels in enumerate(contested):
        if paint[row] >= 0:
            pixels &= colour != paint[row]
        else:
            others = category != category[row]
            pixels &= (own[others] & (colour == paint[others, None, None])).any(axis=0)
    return contested


@dataclasses.dataclass(frozen=True, eq=False)
class ObjectCounts:
    """How many objects there are and were found, per bin and class: int64 [bins, C]; ``+`` adds.

    ``limits`` are the bins' upper limits: bin k holds values above ``limits[k - 1]`` and up to
    ``limits[k]``, both as given to `count_objects`.
    """

    found: np.ndarray
    number: np.ndarray
    by: By
    limits: tuple[float, ...]
    threshold: float

    def __add__(self, other: Self) -> Self:
        if not isinstance(other, ObjectCounts):
            return NotImplemented
        mine = (self.by, self.limits, self.threshold, self.number.shape)
        theirs = (other.by, other.limits, other.threshold, other.number.shape)
        if mine != theirs:
            raise ConfigError(f"ObjectCounts: cannot add counts by {mine} and {theirs}")
        return dataclasses.replace(
            self, found=self.found + other.found, number=self.number + other.number
        )


def count_objects(
    objects: Objects,
    *,
    by: By = "all",
    limits: Sequence[float] | None = None,
    threshold: float = 0.5,
) -> ObjectCounts:
    """Count objects, and those found, in bins of their size or hidden share.

    Args:
        objects: from `match_objects`; undecided ones are left out.
        by: ``'all'`` makes one bin, ``'size'`` bins own pixels, ``'hidden'`` the hidden share.
        limits: rising upper limits of the bins, the last at least the largest value; None:
            ``SIZE_LIMITS`` or ``HIDDEN_LIMITS``.
        threshold: the IoU inside the box from which on an object is found, in (0, 1].

    Returns:
        ObjectCounts of int64 [bins, C].

    Raises:
        ConfigError: an unknown ``by``, limits that do not rise or do not reach all objects, a
            threshold out of range.
    """
    check_choice("by", by, By)
    if not 0 < threshold <= 1:
        raise ConfigError(f"count_objects: threshold must be in (0, 1], got {threshold}")
    if limits is None:
        limits = {"all": (np.inf,), "size": SIZE_LIMITS, "hidden": HIDDEN_LIMITS}[by]
    limits = tuple(float(limit) for limit in limits)
    if not limits or any(b <= a for a, b in itertools.pairwise(limits)):
        raise ConfigError(f"count_objects: limits must rise, got {limits}")
    sure = objects.size > 0
    value = (objects.hidden if by == "hidden" else objects.size)[sure]
    if value.size and value.max() > limits[-1]:
        raise ConfigError(
            f"count_objects: the last limit {limits[-1]} leaves out an object of {by} {value.max()}"
        )
    row = np.searchsorted(limits, value, side="left")
    number = np.zeros((len(limits), objects.classes), np.int64)
    found = np.zeros_like(number)
    np.add.at(number, (row, objects.category[sure]), 1)
    np.add.at(found, (row, objects.category[sure]), objects.iou[sure] >= threshold)
    return ObjectCounts(found=found, number=number, by=by, limits=limits, threshold=threshold)


def object_recall(
    counts: ObjectCounts, *, average: Average = "none", absent: Absent = "skip"
) -> Any:
    """Return the share of objects that were found, in [0, 1].

    Args:
        counts: from `count_objects`.
        average: ``'none'`` one recall per bin and class; ``'micro'`` all classes' objects
            together; ``'macro'`` the mean over classes; ``'weighted'`` that by their objects,
            which is ``'micro'`` again.
        absent: what a class scores in a bin where it has no object; as in
            `segjax.metrics.scores`.

    Returns:
        float64 [bins, C], or [bins] for an average.

    Raises:
        ConfigError: for an unknown choice.
    """

    def recall(found: np.ndarray, number: np.ndarray) -> Ratio:
        return Ratio(found, number, gone=number == 0, weight=number)

    return score_classes(recall, [counts.found, counts.number], average=average, absent=absent)
