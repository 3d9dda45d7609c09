"""The cache: equal to a fresh read, checked, rebuilt and said so when it is not right."""

import json
from pathlib import Path

import numpy as np
import pytest

from segjax.data import load, synthetic, write_gz
from segjax.errors import DataError
from segjax.files import sha256
from tests.data.data_files import assert_same, flipped


@pytest.fixture
def source(small, tmp_path):
    path = tmp_path / "good.gz"
    write_gz(small, path)
    return path


@pytest.fixture
def reader(tmp_path):
    """Loads by way of one cache folder and keeps what it is told."""

    def read(path):
        return load(path, cache_dir=read.folder, progress=False, notify=read.said.append)

    read.folder, read.said = tmp_path / "cache", []
    return read


def forbid_reading(monkeypatch):
    monkeypatch.setattr("segjax.data.loading.read_shapes_file", None)


def entry_of(reader):
    (entry,) = reader.folder.iterdir()
    return entry


def test_second_load_maps_the_same_arrays(source, small, reader, monkeypatch):
    first = reader(source)
    forbid_reading(monkeypatch)
    second = reader(source)
    assert_same(first, small)
    assert_same(second, small)
    assert not reader.said
    for ds in (first, second):
        assert type(ds.images) is np.ndarray
        assert isinstance(ds.images.base, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            ds.images[0] = 0
        assert ds.source == str(source)
        assert ds.name == "good"
    assert entry_of(reader).name == sha256(source)


def test_a_moved_file_is_found(source, reader, monkeypatch, tmp_path):
    reader(source)
    moved = source.rename(tmp_path / "other.gz")
    forbid_reading(monkeypatch)
    assert reader(moved).source == str(moved)


def test_a_changed_file_is_read_again_and_said_so(source, reader):
    reader(source)
    other = synthetic(5, seed=9)
    write_gz(other, source)
    assert_same(reader(source), other)
    (said,) = reader.said
    assert "has changed" in said
    assert entry_of(reader).name == sha256(source)


def cut(file: Path):
    file.write_bytes(file.read_bytes()[:-3])


def flip(file: Path):
    file.write_bytes(flipped(file.read_bytes(), file.stat().st_size - 1))


def set_fact(**facts):
    return lambda file: file.write_text(json.dumps(json.loads(file.read_text()) | facts))


@pytest.mark.parametrize(
    ("file", "damage", "reason"),
    [
        ("images.npy", flip, "damaged images.npy"),
        ("masks.npy", cut, "masks.npy of the wrong size"),
        ("boxes.npy", Path.unlink, "damaged"),
        ("entry.json", Path.unlink, "damaged"),
        ("entry.json", cut, "damaged"),
        ("entry.json", lambda f: f.write_text("[]"), "damaged"),
        ("entry.json", set_fact(format_version=0), "format 0, not 1"),
        ("entry.json", set_fact(label_map={"a": 1}), "damaged"),
        ("entry.json", set_fact(files={}), "damaged"),
    ],
)
def test_a_spoilt_entry_is_rebuilt_and_said_so(file, damage, reason, source, small, reader):
    reader(source)
    damage(entry_of(reader) / file)
    assert_same(reader(source), small)
    (said,) = reader.said
    assert reason in said
    assert "reading the file again" in said
    reader(source)
    assert len(reader.said) == 1, "the rebuilt entry must be good"
    entry_of(reader)  # nothing else may be left behind


def test_nothing_half_written_is_ever_used(source, small, reader, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail)
        assert_same(reader(source), small)
    assert "cannot be cached" in reader.said[0]
    assert "No space left" in reader.said[0]
    assert list(reader.folder.iterdir()) == []


def test_without_cache_nothing_is_written(source, small, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGJAX_CACHE", str(tmp_path / "never"))
    assert_same(load(source, cache=False), small)
    assert not (tmp_path / "never").exists()


def test_cache_folder_that_is_a_file(source, small, reader):
    reader.folder.write_text("in the way")
    assert_same(reader(source), small)
    assert "cannot be cached" in reader.said[0]


def test_default_notice_is_on_stderr(source, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SEGJAX_CACHE", str(tmp_path / "cache"))
    load(source, progress=False)
    flip(next((tmp_path / "cache").rglob("images.npy")))
    load(source, progress=False)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "images.npy" in err


def test_missing_file(reader, tmp_path):
    with pytest.raises(DataError, match="No such file"):
        reader(tmp_path / "none.gz")
