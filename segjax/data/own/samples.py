"""What every kind of own data offers, and how its pictures become one ``Dataset``."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy import ndimage

from segjax.data.dataset import Box, Dataset
from segjax.data.own.problems import FileProblemError, Problem, refuse
from segjax.data.own.resize import Fit, Size, make_fit
from segjax.errors import ConfigError, DataError

SPLITS = ("train", "val", "test")
VAL_SHARE = 0.1
TEST_SHARE = 0.2

Progress = Callable[[int, int], None]
# Channel and left, top, right, bottom edges of each object.
Objects = Sequence[tuple[int, tuple[float, float, float, float]]]


@dataclasses.dataclass(frozen=True)
class Sample:
    """One picture in its own size with its masks.

    Attributes:
      image: uint8 [h, w, 3].
      masks: uint8 [h, w, C], 0 or 1.
      ignore: bool [h, w], or None.
      boxes: the objects, or None if the file knows none; then each connected region of a mask
        counts as one.
    """

    image: np.ndarray
    masks: np.ndarray
    ignore: np.ndarray | None = None
    boxes: Objects | None = None


class Item(Protocol):
    """One picture of a source, not read yet."""

    @property
    def name(self) -> str:
        """The file's name as a user would recognise it."""


class Source(Protocol):
    """A folder, a COCO file or arrays, scanned but not loaded.

    Attributes:
      where: the path, for messages.
      layout: what was recognised, in words.
      class_names: the classes in channel order.
      splits: 'train', 'val', 'test', or 'all' when the data does not say -> the items.
      problems: what the scan found wrong.
      notes: what the scan left out or assumed, in sentences.
      whole_splits: whether nothing may be drawn for splits that are not there.
    """

    where: str
    layout: str
    class_names: tuple[str, ...]
    splits: Mapping[str, Sequence[Any]]
    problems: list[Problem]
    notes: list[str]
    whole_splits: bool

    def size_of(self, item: Any) -> Size:
        """Returns height and width; raises FileProblemError."""

    def digest(self, item: Any) -> str:
        """Returns a hash of the picture's content; raises FileProblemError."""

    def read(self, item: Any) -> Sample:
        """Reads picture and masks; raises FileProblemError."""


def file_digest(path: Path) -> str:
    """Returns the SHA-256 of a file's content.

    Raises:
      FileProblemError: if the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileProblemError("unreadable image", error.strerror or "") from None


def divide(
    source: Source, *, val_share: float = VAL_SHARE, test_share: float = TEST_SHARE
) -> dict[str, list[Any]]:
    """Returns the items of 'train', 'val' and 'test', drawing from train what is not given.

    A missing test or val split is drawn from the rest by the SHA-256 of each picture's content:
    the lowest ``test_share`` of all go to test, the next ``val_share`` to val, each rounded, at
    least one picture, equal pictures together. The same pictures so give the same splits on every
    machine, whatever their names. A share of 0 draws nothing.

    Raises:
      ConfigError: if a share is not in 0..1, or both together leave nothing.
      DataError: if no picture is left for training.
    """
    for flag, share in (("val_share", val_share), ("test_share", test_share)):
        if not 0 <= share < 1:
            raise ConfigError(f"--{flag}={share}: must be at least 0 and below 1")
    if val_share + test_share >= 1:
        raise ConfigError(f"--val_share and --test_share leave nothing: {val_share}, {test_share}")
    splits = {name: list(source.splits.get(name, ())) for name in SPLITS}
    rest = list(source.splits.get("all", splits["train"]))
    if rest:
        count = len(rest)
        digests = {item.name: _digest_or_name(source, item) for item in rest}
        rest.sort(key=lambda item: (digests[item.name], item.name))
        for name, share in (("test", test_share), ("val", val_share)):
            if name not in source.splits and share:
                taken = max(1, round(share * count))
                while taken < len(rest) and (
                    digests[rest[taken - 1].name] == digests[rest[taken].name]
                ):
                    taken += 1
                splits[name], rest = rest[:taken], rest[taken:]
    for name in SPLITS:
        chosen = rest if name == "train" else splits[name]
        splits[name] = sorted(chosen, key=lambda item: item.name)
    if not splits["train"]:
        raise DataError(
            f"{source.where}: no image is left for training; add images, or lower --val_share and"
            f" --test_share"
        )
    return splits


def _digest_or_name(source: Source, item: Item) -> str:
    try:
        return str(source.digest(item))
    except FileProblemError:
        return item.name  # reading it will tell what is wrong


def sizes_of(source: Source, items: Sequence[Any], problems: list[Problem]) -> list[Size]:
    """Returns the sizes of all items that have one; adds to ``problems`` for the others."""
    sizes = []
    for item in items:
        try:
            sizes.append(source.size_of(item))
        except FileProblemError as error:
            problems.append(Problem(error.kind, item.name, error.detail))
    return sizes


def build_dataset(
    source: Source,
    items: Sequence[Any],
    *,
    size: Size,
    fit: str,
    name: str,
    on_progress: Progress | None = None,
) -> Dataset:
    """Reads ``items`` into a ``Dataset`` of (height, width) ``size``; every class has the value 1.

    Raises:
      DataError: naming what cannot be read, or if memory cannot hold the arrays.
    """
    count, classes = len(items), len(source.class_names)
    check_memory(source.where, count, size, classes)
    images = np.zeros((count, *size, 3), np.uint8)
    masks = np.zeros((count, *size, classes), np.uint8)
    ignore: np.ndarray | None = None
    boxes: list[tuple[int, int, Box]] = []
    problems: list[Problem] = []
    for index, item in enumerate(items):
        try:
            sample = source.read(item)
        except FileProblemError as error:
            problems.append(Problem(error.kind, item.name, error.detail))
            continue
        how = make_fit((sample.image.shape[0], sample.image.shape[1]), size, fit)
        images[index] = how.image(sample.image)
        for channel in range(classes):
            masks[index, ..., channel] = how.mask(sample.masks[..., channel])
        hidden = fitted_ignore(how, sample)
        if hidden is not None and hidden.any():
            if ignore is None:
                ignore = np.zeros((count, *size), bool)
            ignore[index] = hidden
        boxes += [(index, *found) for found in fitted_boxes(how, sample, masks[index])]
        if on_progress is not None:
            on_progress(index + 1, count)
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


def fitted_ignore(how: Fit, sample: Sample) -> np.ndarray | None:
    """Returns bool [H, W]: ignored pixels of the sample and the padding; None if there are none."""
    hidden = None if sample.ignore is None else how.mask(sample.ignore).astype(bool)
    if not how.pads:
        return hidden
    return how.padding() if hidden is None else how.padding() | hidden


def fitted_boxes(how: Fit, sample: Sample, masks: np.ndarray) -> list[tuple[int, Box]]:
    """Returns (channel, box) of each object that is still there; ``masks``: uint8 [H, W, C]."""
    if sample.boxes is not None:
        scaled = [(channel, how.box(box)) for channel, box in sample.boxes]
        return [(channel, box) for channel, box in scaled if box is not None]
    return region_boxes(masks)


def region_boxes(masks: np.ndarray) -> list[tuple[int, Box]]:
    """Returns (channel, box) of every 8-connected region of ``masks``, uint8 [H, W, C]."""
    found: list[tuple[int, Box]] = []
    for channel in range(masks.shape[-1]):
        labels, _ = ndimage.label(masks[..., channel], structure=np.ones((3, 3)))
        found += [
            (channel, (columns.start, rows.start, columns.stop - 1, rows.stop - 1))
            for rows, columns in ndimage.find_objects(labels)
        ]
    return found


def check_memory(where: str, count: int, size: Size, classes: int) -> None:
    """Refuses arrays that this machine's memory cannot hold.

    Raises:
      DataError: saying how much is needed and what there is.
    """
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
