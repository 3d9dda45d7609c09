"""One door to all kinds of own data."""

import pytest

from segjax.config import Config
from segjax.data.own.source import open_source
from segjax.errors import ConfigError, DataError
from tests.data.own.owndata_files import write_folder


def test_open_source_keeps_one_size(tmp_path):
    root = write_folder(tmp_path / "data", 10)
    splits = open_source(Config(data=f"folder:{root}", image_size=32, fit="pad"))
    assert {part.image_size for part in splits} == {(32, 32)}
    assert [len(part) for part in splits] == [7, 1, 2]
    for spec in ("folder:", "photos", "zip:photos"):
        with pytest.raises(ConfigError, match=r"expected folder:PATH, coco:ANNOTATIONS.json"):
            open_source(Config(data=spec))
    with pytest.raises(DataError, match="no image is left for training"):
        open_source(Config(data=f"folder:{write_folder(tmp_path / 'one', 1)}"))
