"""One door to all kinds of own data: ``folder:PATH``, ``coco:ANNOTATIONS.json``, ``FILE.npz``."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segjax.config import Config
from segjax.data.dataset import Dataset
from segjax.data.own.coco import scan_coco
from segjax.data.own.folder import scan_folder
from segjax.data.own.npz import scan_npz
from segjax.data.own.problems import FileProblemError, Problem, printable, refuse
from segjax.data.own.resize import Size, choose_size, make_fit
from segjax.data.own.samples import SPLITS, Source, region_boxes
from segjax.errors import ConfigError, DataError, Say, to_stderr


def is_own(data: str) -> bool:
    """Return whether ``data`` names own data rather than a data set by name."""
    return data.startswith(("folder:", "coco:")) or data.lower().endswith(".npz")


def data_of(path: str) -> str:
    """Return the value of --data for a folder, a COCO .json or an .npz file; one stays as it is.

    Raises ConfigError for another file.
    """
    if is_own(path):
        return path
    kind = "coco" if path.lower().endswith(".json") else "folder"
    if kind == "folder" and Path(path).is_file():
        raise ConfigError(f"{printable(path)}: expected a folder, .json, .npz or .gz file")
    return f"{kind}:{path}"


def scan_source(config: Config) -> Source:
    """Scan the data that ``config`` names, without reading the pictures.

    Raises:
      ConfigError: if --data is of no known kind, or a setting cannot work.
      DataError: if the data cannot be understood.
    """
    kind, _, path = config.data.partition(":")
    if path and kind in ("folder", "coco"):
        return scan_folder(path, config) if kind == "folder" else scan_coco(path, config)
    if config.data.lower().endswith(".npz"):
        return scan_npz(config.data, config)
    raise ConfigError(
        f"--data={printable(config.data)}: expected folder:PATH, coco:ANNOTATIONS.json, FILE.npz"
    )


def open_source(
    config: Config, *, whole: bool = False, size: Size | None = None, say: Say = to_stderr
) -> dict[str, Dataset]:
    """Load own data, all of one size and with the same classes.

    Args:
      config: its settings of own data.
      whole: take all as 'test', or, of data that comes split, its test pictures, and no others.
      size: height and width that the pictures get; None: by the settings.
      say: hears how classes are told where the data does not name them.

    Returns:
      'train', and 'val' and 'test' if they have pictures -> the data set.

    Raises:
      ConfigError: if a setting has a value that cannot work.
      DataError: one line that names the data, the files and what to do.
    """
    source = scan_source(config)
    refuse(source.where, source.problems)
    for note in source.notes:
        say(f"{source.where}: {note}")
    every = [item for some in source.splits.values() for item in some]
    if whole and (source.splits.keys() - {"all"}) and not source.splits.get("test"):
        raise DataError(f"{source.where}: has no test images; name the folder of one split")
    splits = {"test": source.splits.get("test", every)} if whole else divide(source, config)
    items = [item for some in splits.values() for item in some]
    sizes = [size for _, size in _each(source, items, source.size_of)]
    size = size or choose_size(config.image_size, sizes)
    _check_memory(source.where, len(items), size, len(source.class_names))
    return {
        split: build_dataset(source, some, split, size=size, fit=config.fit)
        for split, some in splits.items()
        if some
    }


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
        both = f"{config.val_share}, {config.test_share}"
        raise ConfigError(f"--val_share and --test_share leave nothing: {both}")

    def digest(item: Any) -> str:
        try:
            return source.digest(item)
        except FileProblemError:
            return str(item.name)  # reading it will tell what is wrong

    splits = {name: list(source.splits.get(name, ())) for name in SPLITS}
    rest = list(source.splits.get("all", splits["train"]))
    if not source.whole_splits:
        found = [(digest(item), item.name, item) for item in rest]
        ranked = sorted(found, key=lambda row: row[:2])
        for name, share in shares.items():
            if name not in source.splits and share and rest:
                taken = max(1, round(share * len(rest)))
                while taken < len(ranked) and ranked[taken - 1][0] == ranked[taken][0]:
                    taken += 1
                splits[name], ranked = [item for *_, item in ranked[:taken]], ranked[taken:]
        rest = [item for *_, item in ranked]
    if not rest:
        raise DataError(
            f"{source.where}: no image is left for training; add images, or lower --val_share and"
            f" --test_share"
        )
    splits["train"] = rest
    return {name: sorted(items, key=lambda item: item.name) for name, items in splits.items()}


def build_dataset(
    source: Source, items: Sequence[Any], split: str, *, size: Size, fit: str
) -> Dataset:
    """Read ``items`` into a ``Dataset`` of (height, width) ``size``; every class has the value 1.

    Raises DataError naming what cannot be read.
    """
    count, classes = len(items), len(source.class_names)
    images = np.zeros((count, *size, 3), np.uint8)
    masks = np.zeros((count, *size, classes), np.uint8)
    ignore: np.ndarray | None = None
    boxes: list[tuple[int, ...]] = []
    for index, sample in _each(source, items, source.read):
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
        if sample.boxes is None:
            boxes += [(index, channel, *box) for channel, box in region_boxes(masks[index])]
        else:
            fitted = [(channel, how.box(edges)) for channel, edges in sample.boxes]
            boxes += [(index, channel, *box) for channel, box in fitted if box is not None]
    rows = np.array(boxes, np.int32).reshape(-1, 6)
    return Dataset(
        images=images,
        masks=masks,
        boxes=rows[:, 2:],
        box_image=rows[:, 0],
        box_class=rows[:, 1].astype(np.uint8),
        label_map=dict.fromkeys(source.class_names, 1),
        ignore=ignore,
        names=np.array([printable(item.name) for item in items]),
        name=f"{Path(source.where).name} {split}",
        source=source.where,
    )


def _each(
    source: Source, items: Sequence[Any], read: Callable[[Any], Any]
) -> Iterator[tuple[int, Any]]:
    """Yield the index of each item and what ``read`` gives; in the end refuse what it cannot."""
    problems: list[Problem] = []
    for index, item in enumerate(items):
        try:
            found = read(item)
        except FileProblemError as error:
            problems.append(error.of(item.name))
        else:
            yield index, found
    refuse(source.where, problems)


def _check_memory(where: str, count: int, size: Size, classes: int) -> None:
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


def quick_check(splits: Mapping[str, Dataset]) -> list[str]:
    """Refuse loaded data that cannot be trained on; return warnings, one sentence each.

    Raises:
      DataError: if no training mask has any foreground, or a split has no pixel that counts.
    """
    warnings: list[str] = []
    digests: dict[bytes, str] = {}
    shared: Counter[tuple[str, str]] = Counter()
    for split, part in splits.items():
        seen = {name: part.masks[..., i].any() for i, name in enumerate(part.class_names)}
        if split == "train" and not any(seen.values()):
            raise DataError(f"{part.name}: no training mask has any foreground; look at the masks")
        if absent := [name for name, found in seen.items() if not found]:
            warnings.append(f"{part.name}: no pixel of {', '.join(absent)} in the {split} masks")
        if part.ignore is not None and part.ignore.all():
            raise DataError(f"{part.name}: every pixel of the {split} split is ignored")
        for digest in {hashlib.sha256(image.tobytes()).digest() for image in part.images}:
            shared[digests.setdefault(digest, split), split] += 1
    for (one, other), count in shared.items():
        if one != other:
            pictures = "picture is" if count == 1 else "pictures are"
            warnings.append(
                f"{splits['train'].source}: {count} {pictures} in both {one} and {other};"
                f" scores there say little"
            )
    return warnings
