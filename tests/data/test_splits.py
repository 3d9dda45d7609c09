"""From the settings of a run to its images."""

import re

import numpy as np
import pytest

from segjax.config import Config
from segjax.data.purdue.synthetic import synthetic
from segjax.data.splits import SYNTHETIC_TEST_SEED_OFFSET, load_splits
from segjax.errors import ConfigError
from tests.data.data_files import fails, write_folder


def test_a_path_without_its_kind_is_told_the_kind(tmp_path):
    for data, ending in (
        (str(tmp_path), f"; did you mean --data=folder:{tmp_path}?"),
        ("instances.json", "; did you mean --data=coco:instances.json?"),
        ("purdu", "or a file.npz"),
    ):
        fails(ConfigError, re.escape(ending) + "$", load_splits, Config(data=data))


def test_synthetic_images_are_drawn_cut_and_shortened():
    settings = {"synthetic_train": 12, "synthetic_test": 4, "val_images": 3, "seed": 5}
    splits = load_splits(Config(data="synthetic", train_images=6, test_images=2, **settings))
    whole = synthetic(12, seed=5)
    np.testing.assert_array_equal(splits.train.images, whole.images[:6])
    np.testing.assert_array_equal(splits.val.images, whole.images[9:])
    other = synthetic(4, seed=5 + SYNTHETIC_TEST_SEED_OFFSET)
    np.testing.assert_array_equal(splits.test.images, other.images[:2])
    with pytest.raises(ConfigError, match="leaves none of the 12 images"):
        load_splits(Config(data="synthetic", **settings | {"val_images": 12}))


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
