"""One door to all kinds of own data."""

import numpy as np
import pytest

from segjax.config import Config
from segjax.data.own.source import open_source, quick_check
from segjax.errors import ConfigError, DataError
from tests.data.data_files import dataset, fails, load, write_folder


def test_open_source_keeps_one_size(tmp_path):
    root = write_folder(tmp_path / "data", 10)
    splits = open_source(Config(data=f"folder:{root}", image_size=32, fit="pad"))
    assert {part.image_size for part in splits.values()} == {(32, 32)}
    assert {split: len(part) for split, part in splits.items()} == {"train": 7, "val": 1, "test": 2}
    for spec in ("folder:", "photos", "zip:photos"):
        fails(ConfigError, r"expected folder:PATH, coco:ANNOTATIONS.json", load, spec)
    with pytest.raises(DataError, match="no image is left for training"):
        open_source(Config(data=f"folder:{write_folder(tmp_path / 'one', 1)}"))


def test_data_that_memory_just_holds(tmp_path, monkeypatch):
    root = write_folder(tmp_path, 4)  # 4 * 16 * 24 * (3 + 2 + 1) are 96 * 96 bytes
    pages = {"SC_PAGE_SIZE": 96, "SC_PHYS_PAGES": 96}
    monkeypatch.setattr("os.sysconf", lambda name: pages[name])
    assert len(load(f"folder:{root}")) == 4
    pages["SC_PHYS_PAGES"] = 95
    fails(DataError, r"GiB.*choose a smaller --image_size", load, f"folder:{root}")


def test_quick_check_passes_good_data_warns_of_an_absent_class_and_refuses_by_name():
    starts = {"train": 0, "val": 10, "test": 20}
    assert quick_check({split: dataset(start=start) for split, start in starts.items()}) == []
    masks = dataset().masks.copy()
    masks[..., 1] = 0
    found = quick_check({"train": dataset(masks=masks)})
    assert found == ["things: no pixel of dog in the train masks"]
    hidden = dataset(start=9, ignore=np.ones((4, 16, 24), bool))
    with pytest.raises(DataError, match="things: every pixel of the test split"):
        quick_check({"train": dataset(), "test": hidden})
    with pytest.raises(DataError, match="things: no training mask has any foreground"):
        quick_check({"train": dataset(masks=np.zeros((4, 16, 24, 2), np.uint8))})
