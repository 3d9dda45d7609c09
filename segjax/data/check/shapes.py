"""PurdueShapes files as a source of pictures to check."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segjax.data.dataset import Dataset
from segjax.data.loading import load
from segjax.data.own.samples import Sample, Source, pixel_digest
from segjax.errors import ConfigError


class ShapesItem(NamedTuple):
    """One image of a loaded file; ``name`` counts through all files."""

    name: str
    dataset: Dataset
    row: int

    def sample(self) -> Sample:
        """Return the image with its masks and boxes."""
        boxes = self.dataset.boxes_of(self.row)
        return Sample(
            image=self.dataset.images[self.row],
            masks=(self.dataset.masks[self.row] != 0).astype(np.uint8),
            boxes=[(channel, (x1, y1, x2 + 1, y2 + 1)) for channel, (x1, y1, x2, y2) in boxes],
        )


def scan_shapes(paths: Sequence[str]) -> Source:
    """Load one or two PurdueShapes files, for training and testing, by name or else by place.

    Raises:
      ConfigError: if both are for the same split.
      DataError: if a file cannot be read or is not what it should be.
    """
    parts = {}
    for path, place in zip(paths, ("train", "test"), strict=False):
        named = [split for split in ("train", "test") if split in Path(path).name.lower()]
        parts[named[0] if len(named) == 1 else place] = load(path)
    if len(parts) < len(paths):
        raise ConfigError("of two .gz files one must be for training, one for testing")
    names = (f"image {number:06d}" for number in itertools.count())
    return Source(
        where=paths[0],
        layout="PurdueShapes images",
        class_names=next(iter(parts.values())).class_names,
        splits={
            split: [ShapesItem(next(names), part, row) for row in range(len(part))]
            for split, part in parts.items()
        },
        size_of=lambda item: item.dataset.image_size,
        read=ShapesItem.sample,
        digest=lambda item: pixel_digest(item.dataset.images[item.row]),
        whole_splits=True,
    )
