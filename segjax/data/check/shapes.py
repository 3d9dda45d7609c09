"""PurdueShapes files as a source of pictures to check."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segjax.data.dataset import Dataset
from segjax.data.loading import load
from segjax.data.own.resize import Size
from segjax.data.own.samples import Sample, Source
from segjax.errors import ConfigError


class ShapesItem(NamedTuple):
    """One image of a loaded file; ``name`` counts through all files."""

    name: str
    dataset: Dataset
    row: int


class ShapesSource(Source):
    """Loaded files, of which nothing is drawn for other splits."""

    def size_of(self, item: ShapesItem) -> Size:
        """Return the height and width of the file's images."""
        return item.dataset.image_size

    def digest(self, item: ShapesItem) -> str:
        """Return the SHA-256 of the image's pixels."""
        return hashlib.sha256(item.dataset.images[item.row].tobytes()).hexdigest()

    def read(self, item: ShapesItem) -> Sample:
        """Return one image with its masks and boxes."""
        _, data, row = item
        boxes = data.boxes_of(row)
        return Sample(
            image=data.images[row],
            masks=(data.masks[row] != 0).astype(np.uint8),
            boxes=[(channel, (x1, y1, x2 + 1, y2 + 1)) for channel, (x1, y1, x2, y2) in boxes],
        )


def scan_shapes(paths: Sequence[str]) -> ShapesSource:
    """Load one or two PurdueShapes files, for training and testing.

    Raises:
      ConfigError: if both are for the same split.
      DataError: if a file cannot be read or is not what it should be.
    """
    parts = {_split_of(path, place): load(path) for place, path in enumerate(paths)}
    if len(parts) < len(paths):
        raise ConfigError("of two .gz files one must be for training, one for testing")
    names = (f"image {number:06d}" for number in itertools.count())
    splits = {
        split: [ShapesItem(next(names), part, row) for row in range(len(part))]
        for split, part in parts.items()
    }
    return ShapesSource(
        where=paths[0],
        layout="PurdueShapes images",
        class_names=next(iter(parts.values())).class_names,
        splits=splits,
        whole_splits=True,
    )


def _split_of(path: str, place: int) -> str:
    """Return the split of a PurdueShapes file by its name, otherwise by its place."""
    name = Path(path).name.lower()
    if ("test" in name) != ("train" in name):
        return "test" if "test" in name else "train"
    return ("train", "test")[place]
