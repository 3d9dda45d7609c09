"""What every kind of own data offers: scanned sources, and samples read from them."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from segjax.data.dataset import Box
from segjax.data.own.problems import FileProblemError, Problem
from segjax.data.own.resize import Edges, Size
from segjax.files import sha256

SPLITS = ("train", "val", "test")


@dataclasses.dataclass(frozen=True)
class Sample:
    """One picture in its own size with its masks.

    Attributes:
      image: uint8 [h, w, 3].
      masks: uint8 [h, w, C], 0 or 1.
      ignore: bool [h, w], pixels that do not count, or None.
      boxes: (channel, edges) of each object, or None if the file knows none; then each connected
        region of a mask counts as one.
    """

    image: np.ndarray
    masks: np.ndarray
    ignore: np.ndarray | None = None
    boxes: Sequence[tuple[int, Edges]] | None = None

    @property
    def size(self) -> Size:
        """Height and width in pixels."""
        return self.image.shape[0], self.image.shape[1]


def file_digest(item: Any) -> str:
    """Return the SHA-256 of the file of a picture."""
    try:
        return sha256(item.image)
    except OSError as error:
        raise FileProblemError("unreadable image", error.strerror or "") from None


def pixel_digest(image: np.ndarray) -> str:
    """Return the SHA-256 of an image's pixels."""
    return hashlib.sha256(image.tobytes()).hexdigest()


@dataclasses.dataclass(kw_only=True)
class Source:
    """A folder, a COCO file or arrays, scanned but not loaded.

    Attributes:
      where: the path, for messages.
      layout: what was recognised, in words.
      class_names: the classes in channel order.
      splits: 'train', 'val', 'test', or 'all' when the data does not say -> the items, each with
        the ``name`` that its user knows it by.
      size_of: returns the height and width of an item in pixels; raises FileProblemError, as
        the next two do.
      read: reads the picture and the masks of an item.
      digest: returns a hash of an item's picture.
      problems: what the scan found wrong.
      notes: what the scan left out or assumed, in sentences.
      whole_splits: whether nothing may be drawn for splits that are not there.
    """

    where: str
    layout: str
    class_names: tuple[str, ...]
    splits: Mapping[str, Sequence[Any]]
    size_of: Callable[[Any], Size]
    read: Callable[[Any], Sample]
    digest: Callable[[Any], str] = file_digest
    problems: list[Problem] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    whole_splits: bool = False


def region_boxes(masks: np.ndarray) -> list[tuple[int, Box]]:
    """Return (channel, box) of every 8-connected region of ``masks``, uint8 [H, W, C]."""
    # Deferred: who only reads pictures shall not wait for SciPy to load.
    from scipy import ndimage

    found: list[tuple[int, Box]] = []
    for channel in range(masks.shape[-1]):
        labels, _ = ndimage.label(masks[..., channel], structure=np.ones((3, 3)))
        found += [
            (channel, (columns.start, rows.start, columns.stop - 1, rows.stop - 1))
            for rows, columns in ndimage.find_objects(labels)
        ]
    return found
