"""The labelled images that a run is measured on: its own test images, or other data."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from segjax.config import Config, as_choice
from segjax.data import Dataset, load
from segjax.data.own.source import data_of, is_own, open_source, quick_check
from segjax.data.splits import data_root, find_file, load_splits
from segjax.errors import ConfigError, DataError, Say
from segjax.predict.trained import Trained
from segjax.runs.identity import identify
from segjax.settings import SIZE_MULTIPLE
from segjax.training.program import make_program


def open_labelled(
    data: str, trained: Trained, *, say: Say, **settings: Any
) -> tuple[Dataset, Trained]:
    """Load labelled images as the run's training would have shown them.

    Args:
      data: a PurdueShapes .gz file, a folder, a COCO .json or an .npz file; "", or what the run was
        trained on: the run's own test images.
      trained: the run.
      say: hears what is odd about the data.
      settings: of own data, where they are not the run's.

    Returns:
      The images, with masks of the run's class values, and the run. With its own data it has the
      class weights of its training images.

    Raises:
      ConfigError: the data is of no known kind, or a setting cannot work.
      DataError: it cannot be read, has other classes or no truth, does not fit the network, or is
        the run's and no more what it was trained on.
    """
    config, names = trained.config, trained.class_names
    its_own = not data or place_of(data).resolve() in _places_of_training(config)
    if settings and (its_own or data.lower().endswith(".gz")):
        raise ConfigError(f"--{min(settings)}: is of other pictures than the run's own")
    if its_own:
        if data:
            say(f"{data}: the run was trained on it; measuring its own test images")
        splits = load_splits(config, say=say)
        identify(trained.folder, config, data=splits.digest)
        objective = make_program(config.replace(devices=0), splits).objective
        trained, dataset = dataclasses.replace(trained, objective=objective), splits.test
    elif data.lower().endswith(".gz"):
        dataset = load(find_file(config, data, say=say), notify=say)
    else:
        # The pictures and the splits of the run's own annotations are not those of others.
        others = {"images_dir": "", "val_annotations": "", "test_annotations": ""} | settings
        config = config.replace(data=data_of(data), classes=as_choice(names), **others)
        dataset = open_source(config, whole=True, size=trained.image_size, say=say)["test"]
        for warning in quick_check({"test": dataset}):
            say(f"warning: {warning}")
    if dataset.class_names != names:
        has, knows = (", ".join(some) for some in (dataset.class_names, names))
        raise DataError(f"{dataset.name}: has the classes {has}; the run knows {knows}")
    if any(side % SIZE_MULTIPLE for side in dataset.image_size):
        size, takes = "{}x{}".format(*dataset.image_size), f"multiples of {SIZE_MULTIPLE}"
        raise DataError(f"{dataset.name}: images of {size}; the network takes {takes}")
    counted = dataset.masks if dataset.ignore is None else dataset.masks[~dataset.ignore]
    if not counted.any():
        raise DataError(f"{dataset.name}: no mask has any foreground; there is nothing to measure")
    label_map = dict(zip(names, trained.objective.class_values, strict=True))
    if dataset.label_map != label_map:
        masks = (dataset.masks > 0) * np.array([*label_map.values()], np.uint8)
        dataset = dataclasses.replace(dataset, masks=masks, label_map=label_map)
    return dataset, trained


def _places_of_training(config: Config) -> list[Path]:
    """Return where the data lies that a run was trained on, as far as its settings are paths."""
    named = [config.data] if is_own(config.data) else []
    if config.data == "purdue":
        named += [config.train_file, str(data_root(config) / config.train_file)]
    return [place_of(name).resolve() for name in named]


def place_of(data: str) -> Path:
    """Return the path in a value of --data, or the path that it is."""
    return Path(data.removeprefix("folder:").removeprefix("coco:"))
