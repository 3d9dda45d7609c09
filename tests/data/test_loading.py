"""The cache: equal to a fresh read, checked, rebuilt and said so when it is not right."""

import json
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from segjax.data import load, synthetic, write_gz
from segjax.errors import DataError
from segjax.files import sha256
from tests.data.data_files import agree, fails, flipped


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


def entry_of(reader):
    (entry,) = reader.folder.iterdir()
    return entry


def test_later_loads_map_the_arrays_of_the_first_until_the_file_changes(
    source, small, reader, monkeypatch, tmp_path
):
    first = reader(source)
    with monkeypatch.context() as patch:
        patch.setattr("segjax.data.loading.read_shapes_file", None)
        second = reader(source)
        moved = source.rename(tmp_path / "other.gz")
        assert reader(moved).source == str(moved)
    assert not reader.said
    for ds in (first, second):
        agree(ds, small)
        assert type(ds.images) is np.ndarray
        assert isinstance(ds.images.base, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            ds.images[0] = 0
        assert (ds.source, ds.name) == (str(source), "good")
    assert entry_of(reader).name == sha256(moved)
    assert entry_of(reader).stat().st_mode & 0o777 == 0o755
    other = synthetic(5, seed=9)
    write_gz(other, source)
    agree(reader(source), other)
    (said,) = reader.said
    assert "has changed" in said
    assert entry_of(reader).name == sha256(source)


def cut(file):
    file.write_bytes(file.read_bytes()[:-3])


def flip(file):
    file.write_bytes(flipped(file.read_bytes(), file.stat().st_size - 1))


def set_fact(**facts):
    return lambda file: file.write_text(json.dumps(json.loads(file.read_text()) | facts))


@pytest.mark.parametrize(
    ("file", "damage", "reason"),
    [
        ("images.npy", flip, "damaged images.npy"), ("masks.npy", cut, "masks.npy of the wrong"),
        ("boxes.npy", Path.unlink, "damaged"), ("entry.json", Path.unlink, "damaged"),
        ("entry.json", cut, "damaged"), ("entry.json", lambda f: f.write_text("[]"), "damaged"),
        ("entry.json", set_fact(format_version=0), "format 0, not 1"),
        ("entry.json", set_fact(label_map={"a": 1}), "damaged"),
        ("entry.json", set_fact(files={}), "damaged"),
    ],
)  # fmt: skip
def test_a_spoilt_entry_is_rebuilt_and_said_so(file, damage, reason, source, small, reader):
    reader(source)
    damage(entry_of(reader) / file)
    agree(reader(source), small)
    (said,) = reader.said
    assert reason in said
    assert "reading the file again" in said
    reader(source)
    assert len(reader.said) == 1, "the rebuilt entry must be good"
    entry_of(reader)  # nothing else may be left behind


def test_what_cannot_be_cached_is_read_and_said_so(source, small, reader, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail)
        agree(reader(source), small)
    assert "cannot be cached" in reader.said[0]
    assert "No space left" in reader.said[0]
    assert list(reader.folder.iterdir()) == [], "nothing half written"
    reader.folder.rmdir()
    reader.folder.write_text("in the way")
    agree(reader(source), small)
    assert "cannot be cached" in reader.said[1]
    fails(DataError, "No such file", reader, source.with_name("none.gz"))
    fails(DataError, "not a regular file", reader, "/dev/zero")


def test_progress_and_notices_are_on_stderr(source, small, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("SEGJAX_CACHE", str(tmp_path / "cache"))
    agree(load(source, cache=False, progress=False), small)
    assert not (tmp_path / "cache").exists()
    assert capfd.readouterr() == ("", "")
    load(source, progress=True)
    assert "good.gz" in capfd.readouterr().err
    flip(next((tmp_path / "cache").rglob("images.npy")))
    load(source, progress=False)
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "images.npy" in err
    monkeypatch.setattr("tqdm.tqdm", tqdm := mock.MagicMock())
    bar = tqdm.return_value.__enter__.return_value
    bar.n = 5
    load(source, cache=False, progress=True)
    assert bar.update.call_args.args == (source.stat().st_size - 5,)
    assert tqdm.call_args.kwargs.items() >= {"unit_scale": True, "leave": False}.items()
