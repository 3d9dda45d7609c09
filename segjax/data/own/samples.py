"""What every kind of own data offers, and how its pictures become one ``Dataset``."""

from __future__ import annotations

import abc
import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segjax.config import Config
from segjax.data.dataset import Box, Dataset
from segjax.data.own.problems import FileProblemError, Problem, refuse
from segjax.data.own.resize import Edges, Fit, Size, make_fit
from segjax.errors import ConfigError, DataError
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


def divide(source: Source, config: Config) -> dict[str, list[Any]]:
    """Return the items of 'train', 'val' and 'test', drawing from train what is not given.

    A missing test or val split is drawn from the rest by the SHA-256 of each picture's content:
    the lowest ``test_share`` of all go to test, the next ``val_share`` to val, each rounded, at
    least one picture, equal pictures together. The same pictures so give the same splits on every
    machine, whatever their names. A share of 0 draws nothing.

    Raises:
      ConfigError: if a share is not in 0..1, or both together leave nothing.
      DataError: if no picture is left for training.
    """
    shares = {"test": config.test_share, "val": config.val_share}
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise ConfigError(f"--{name}_share={share}: must be at least 0 and below 1")
    if sum(shares.values()) >= 1:
        raise ConfigError(
            f"--val_share and --test_share leave nothing: {shares['val']}, {shares['test']}"
        )
    splits = {name: list(source.splits.get(name, ())) for name in SPLITS}
    rest = list(source.splits.get("all", splits["train"]))
    if rest and not source.whole_splits:
        count = len(rest)
        digests = {item.name: _digest_or_name(source, item) for item in rest}
        rest.sort(key=lambda item: (digests[item.name], item.name))
        for name, share in shares.items():
            if name not in source.splits and share:
                taken = max(1, round(share * count))
                while taken < len(rest) and (
                    digests[rest[taken - 1].name] == digests[rest[taken].name]
                ):
                    taken += 1
                splits[name], rest = rest[:taken], rest[taken:]
    splits["train"] = rest
    if not rest:
        raise DataError(
            f"{source.where}: no image is left for training; add images, or lower --val_share and"
            f" --test_share"
        )
    return {name: sorted(items, key=lambda item: item.name) for name, items in splits.items()}


def _digest_or_name(source: Source, item: Any) -> str:
    try:
        return source.digest(item)
    except FileProblemError:
        return str(item.name)  # reading it will tell what is wrong


def sizes_of(source: Source, items: Sequence[Any]) -> list[Size]:
    """Return height and width of all items. Raises DataError naming those that have none."""
    sizes, problems = [], []
    for item in items:
        try:
            sizes.append(source.size_of(item))
        except FileProblemError as error:
            problems.append(error.of(item.name))
    refuse(source.where, problems)
    return sizes


def build_dataset(
    source: Source, items: Sequence[Any], *, size: Size, fit: str, name: str
) -> Dataset:
    """Read ``items`` into a ``Dataset`` of (height, width) ``size``; every class has the value 1.

    Raises DataError naming what cannot be read.
    """
    count, classes = len(items), len(source.class_names)
    images = np.zeros((count, *size, 3), np.uint8)
    masks = np.zeros((count, *size, classes), np.uint8)
    ignore: np.ndarray | None = None
    boxes: list[tuple[int, int, Box]] = []
    problems: list[Problem] = []
    for index, item in enumerate(items):
        try:
            sample = source.read(item)
        except FileProblemError as error:
            problems.append(error.of(item.name))
            continue
        how = make_fit(sample.size, size, fit)
        images[index] = how.image(sample.image)
        for channel in range(classes):
            masks[index, ..., channel] = how.mask(sample.masks[..., channel])
        hidden = how.padding()
        if sample.ignore is not None:
            hidden |= how.mask(sample.ignore).astype(bool)
        if hidden.any():
            if ignore is None:
                ignore = np.zeros((count, *size), bool)
            ignore[index] = hidden
        boxes += [(index, *found) for found in _fitted_boxes(how, sample, masks[index])]
    refuse(source.where, problems)
    return Dataset(
        images=images,
        masks=masks,
        boxes=np.array([box for _, _, box in boxes], np.int32).reshape(-1, 4),
        box_image=np.array([index for index, _, _ in boxes], np.int32),
        box_class=np.array([channel for _, channel, _ in boxes], np.uint8),
        label_map=dict.fromkeys(source.class_names, 1),
        ignore=ignore,
        name=name,
        source=source.where,
    )


def _fitted_boxes(how: Fit, sample: Sample, masks: np.ndarray) -> list[tuple[int, Box]]:
    """Return (channel, box) of each object that is still there; ``masks``: uint8 [H, W, C]."""
    if sample.boxes is None:
        return region_boxes(masks)
    scaled = [(channel, how.box(edges)) for channel, edges in sample.boxes]
    return [(channel, box) for channel, box in scaled if box is not None]


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


def check_memory(where: str, count: int, size: Size, classes: int) -> None:
    """Raise DataError if this machine's memory cannot hold the arrays of ``count`` images."""
    needed = count * size[0] * size[1] * (3 + classes + 1)
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not every system tells
        return
    if needed > memory:
        raise DataError(
            f"{where}: {count} images of {size[0]}x{size[1]} with {classes} classes need"
            f" {needed / 2**30:.1f} GiB, this machine has {memory / 2**30:.1f};"
            f" choose a smaller --image_size"
        )
