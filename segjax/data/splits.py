"""From the data settings of a run to its training, validation and test images."""

import dataclasses
import functools
import hashlib
from pathlib import Path

import numpy as np

from segjax.checks import NAMED_DATA
from segjax.config import Config
from segjax.data.dataset import Dataset
from segjax.data.fetch import FILES, fetch
from segjax.data.loading import load
from segjax.data.own import source as own
from segjax.data.places import data_folder, expanded
from segjax.data.purdue.synthetic import composed, synthetic
from segjax.errors import ConfigError, Say

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

    @functools.cached_property
    def digest(self) -> str:
        """The SHA-256 of all images and masks in hexadecimal; it is computed once."""
        found = hashlib.sha256()
        for dataset in (self.train, self.val, self.test):
            for array in (dataset.images, dataset.masks) if dataset is not None else ():
                found.update(str(array.shape).encode())
                found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()


def load_splits(config: Config, *, say: Say = print) -> Splits:
    """Load (or fetch, or draw) the data that ``config`` names and cut it into splits.

    Raises ConfigError for a split that does not fit and DataError for files that cannot be used.
    """
    data = config.data
    if own.is_own(data):
        found = own.open_source(config, say=say)
        if "test" not in found:
            raise ConfigError(f"--data={data}: has no test images; set --test_share")
        for warning in own.quick_check(found):
            say(f"warning: {warning}")
        train, val, test = found["train"], found.get("val"), found["test"]
    elif data in NAMED_DATA:
        train, test = _load_purdue(config, say=say) if data == "purdue" else _draw(config)
        end = len(train) - config.val_images
        if end <= 0:
            raise ConfigError(
                f"--val_images={config.val_images}: leaves none of the {len(train)} images to"
                " train on"
            )
        train, val = train[:end], train[end:] if config.val_images else None
    else:
        folder = data and Path(data).is_dir()
        kind = "folder" if folder else "coco" if data.lower().endswith(".json") else ""
        meant = f"; did you mean --data={kind}:{data}?" if kind else ""
        raise ConfigError(
            f"--data={data}: choose 'purdue', 'synthetic', 'folder:PATH', "
            f"'coco:ANNOTATIONS.json' or a file.npz{meant}"
        )
    train = train[: config.train_images or None]
    if data in NAMED_DATA and config.composed_scenes:
        train = composed(train, config.composed_scenes)
    return Splits(train, val, test[: config.test_images or None])


def _load_purdue(config: Config, *, say: Say) -> tuple[Dataset, Dataset]:
    """Load the training and the test file, fetching DLStudio's own the first time."""
    paths = [find_file(config, name, say=say) for name in (config.train_file, config.test_file)]
    full, test = (load(path, progress=PROGRESS[config.progress], notify=say) for path in paths)
    if full.label_map != test.label_map:
        raise ConfigError(
            f"{paths[0].name} has the classes {full.label_map}, {paths[1].name} {test.label_map}"
        )
    return full, test


def data_root(config: Config) -> Path:
    """Return the folder for data files: --dataroot, or this machine's."""
    return expanded(config.dataroot) if config.dataroot else data_folder()


def find_file(config: Config, name: str, *, say: Say) -> Path:
    """Return the path of a data file: as given, in the data root, or fetched from PyPI.

    Raises ConfigError if there is none.
    """
    root = data_root(config)
    for path in (Path(name), root / name):
        if path.is_file():
            return path
    if name not in FILES:
        raise ConfigError(f"{name}: no such file here or in {root}")
    fetch(root, notify=say)
    return root / name


def _draw(config: Config) -> tuple[Dataset, Dataset]:
    """Draw the training and the test scenes."""
    size, seed = config.image_size or SYNTHETIC_SIZE, config.scenes_seed()
    full = synthetic(config.synthetic_train, seed=seed, image_size=size)
    test_seed = seed + SYNTHETIC_TEST_SEED_OFFSET
    return full, synthetic(config.synthetic_test, seed=test_seed, image_size=size)
