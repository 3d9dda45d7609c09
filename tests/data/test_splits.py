"""From the settings of a run to its images."""

import dataclasses
import re

import numpy as np
import pytest

from segjax.config import Config
from segjax.data import composed, write_gz
from segjax.data import splits as splitting
from segjax.data.purdue.synthetic import synthetic
from segjax.data.splits import FILES, load_splits
from segjax.errors import ConfigError
from tests.data.data_files import fails, write_folder


def test_a_path_without_its_kind_is_told_the_kind(tmp_path):
    for data, ending in (
        (str(tmp_path), f"; did you mean --data=folder:{tmp_path}?"),
        ("instances.json", "; did you mean --data=coco:instances.json?"),
        ("purdu", "or a file.npz"),
        ("", "or a file.npz"),
    ):
        fails(ConfigError, re.escape(ending) + "$", load_splits, Config(data=data))


def test_synthetic_images_are_drawn_cut_and_shortened():
    settings = {"synthetic_train": 12, "synthetic_test": 4, "val_images": 3, "seed": 5}
    splits = load_splits(Config(data="synthetic", train_images=6, test_images=2, **settings))
    whole = synthetic(12, seed=5)
    np.testing.assert_array_equal(splits.train.images, whole.images[:6])
    np.testing.assert_array_equal(splits.val.images, whole.images[9:])
    np.testing.assert_array_equal(splits.test.images, synthetic(4, seed=5 + 1_000_003).images[:2])
    assert dataclasses.replace(splits, val=None).digest != splits.digest
    assert len(load_splits(Config(data="synthetic", **settings | {"val_images": 11})).train) == 1
    with pytest.raises(ConfigError, match="leaves none of the 12 images"):
        load_splits(Config(data="synthetic", **settings | {"val_images": 12}))


def test_purdue_files_are_found_in_dataroot_or_fetched(small, tmp_path, monkeypatch):
    test = [*FILES][1]
    monkeypatch.setattr(splitting, "fetch", lambda to, notify: write_gz(small[:3], to / test))
    monkeypatch.setenv("SEGJAX_CACHE", str(tmp_path / "cache"))
    write_gz(small, tmp_path / "mine.gz")
    labels = dict(zip("abcde", small.class_values, strict=True))
    write_gz(dataclasses.replace(small, label_map=labels), tmp_path / "other.gz")
    files = {"train_file": "mine.gz", "test_file": test, "progress": "off"}
    config = Config(data="purdue", dataroot=str(tmp_path), val_images=2, **files)
    splits = load_splits(config)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (10, 2, 3)
    made = load_splits(config.replace(composed_scenes=7, train_images=9))
    np.testing.assert_array_equal(made.train.images, composed(small[:9], 7).images)
    np.testing.assert_array_equal(made.val.images, splits.val.images)
    for name, told in (("none.gz", "no such file"), ("other.gz", "mine.gz has the classes")):
        fails(ConfigError, told, load_splits, config.replace(test_file=name))
    assert splitting.PROGRESS == {"auto": None, "on": True, "off": False}


def test_own_images_warn_and_need_a_test(tmp_path):
    data = f"folder:{write_folder(tmp_path, 10)}"
    (tmp_path / "classes.txt").write_text("cat\ndog\nzebra\n")
    said = []
    splits = load_splits(Config(data=data, train_images=5), say=said.append)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (5, 1, 2)
    assert all(line.startswith("warning: ") for line in said)
    assert "no pixel of zebra in the train masks" in said[0]
    with pytest.raises(ConfigError, match="has no test images; set --test_share"):
        load_splits(Config(data=data, test_share=0.0))
