"""One door to all kinds of own data: ``folder:PATH``, ``coco:ANNOTATIONS.json``, ``FILE.npz``."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from segjax.config import Config
from segjax.data.dataset import Dataset
from segjax.data.own.coco import scan_coco
from segjax.data.own.folder import scan_folder
from segjax.data.own.npz import scan_npz
from segjax.data.own.problems import printable, refuse
from segjax.data.own.resize import choose_size
from segjax.data.own.samples import Source, build_dataset, check_memory, divide, sizes_of
from segjax.errors import ConfigError

KINDS = ("folder:PATH", "coco:ANNOTATIONS.json", "FILE.npz")


class OwnSplits(NamedTuple):
    """Own data, ready to train on; ``val`` and ``test`` are None when their share is 0."""

    train: Dataset
    val: Dataset | None
    test: Dataset | None


def is_own(data: str) -> bool:
    """Return whether ``data`` names own data rather than a data set by name."""
    return data.startswith(("folder:", "coco:")) or data.lower().endswith(".npz")


def scan_source(config: Config) -> Source:
    """Scan the data that ``config`` names, without reading the pictures.

    Raises:
      ConfigError: if --data is of no known kind, or a setting cannot work.
      DataError: if the data cannot be understood.
    """
    kind, _, path = config.data.partition(":")
    if kind == "folder" and path:
        return scan_folder(path, config)
    if kind == "coco" and path:
        return scan_coco(path, config)
    if config.data.lower().endswith(".npz"):
        return scan_npz(config.data, config)
    raise ConfigError(f"--data={printable(config.data)}: expected {', '.join(KINDS)}")


def open_source(config: Config) -> OwnSplits:
    """Load own data as train, val and test, all of one size and with the same classes.

    Raises:
      ConfigError: if a setting has a value that cannot work.
      DataError: one line that names the data, the files and what to do.
    """
    source = scan_source(config)
    refuse(source.where, source.problems)
    splits = divide(source, config)
    items = [item for some in splits.values() for item in some]
    size = choose_size(config.image_size, sizes_of(source, items))
    check_memory(source.where, len(items), size, len(source.class_names))

    def load(split: str) -> Dataset:
        name = f"{Path(source.where).name} {split}"
        return build_dataset(source, splits[split], size=size, fit=config.fit, name=name)

    return OwnSplits(
        train=load("train"),
        val=load("val") if splits["val"] else None,
        test=load("test") if splits["test"] else None,
    )
