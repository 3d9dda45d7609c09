"""What every kind of own data offers: scanned sources, and samples read from them."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
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


@dataclasses.dataclass(kw_only=True)
class Source(abc.ABC):
    """A folder, a COCO file or arrays, scanned but not loaded.

    Attributes:
      where: the path, for messages.
      layout: what was recognised, in words.
      class_names: the classes in channel order.
      splits: 'train', 'val', 'test', or 'all' when the data does not say -> the items, each with
        the ``name`` that its user knows it by.
      problems: what the scan found wrong.
      notes: what the scan left out or assumed, in sentences.
      whole_splits: whether nothing may be drawn for splits that are not there.
    """

    where: str
    layout: str
    class_names: tuple[str, ...]
    splits: Mapping[str, Sequence[Any]]
    problems: list[Problem] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    whole_splits: bool = False

    @abc.abstractmethod
    def size_of(self, item: Any) -> Size:
        """Return height and width in pixels; raise FileProblemError."""

    @abc.abstractmethod
    def read(self, item: Any) -> Sample:
        """Read picture and masks; raise FileProblemError."""

    def digest(self, item: Any) -> str:
        """Return a hash of the picture's content, of its file; raise FileProblemError."""
        try:
            return sha256(item.image)
        except OSError as error:
            raise FileProblemError("unreadable image", error.strerror or "") from None


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
