"""A file appears whole or not at all."""

import hashlib
import os
from unittest import mock

import pytest

from segjax.files import regular, replacing, sha256, write_bytes, write_text


def test_what_is_written_replaces_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "one\n")
    write_text(path, "zwölf\n")
    assert path.read_bytes() == "zwölf\n".encode()
    write_bytes(path, b"\r\n")
    assert path.read_bytes() == b"\r\n"
    assert sha256(path) == hashlib.sha256(b"\r\n").hexdigest()
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "no" / "a.txt", "")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_is_told_with_the_files_name(tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", mock.Mock(side_effect=OSError(28, "No space left on device")))
    with pytest.raises(OSError, match=r"No space left on device: .*/a\.txt'"):
        write_text(tmp_path / "a.txt", "new")
    assert not list(tmp_path.iterdir())


def test_pipes_and_devices_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(OSError, match="not a regular file"):
            regular(path)
    with pytest.raises(IsADirectoryError):
        regular(tmp_path)
    write_text(tmp_path / "a.txt", "")
    (tmp_path / "link").symlink_to(tmp_path / "a.txt")
    assert regular(tmp_path / "link").read_text() == ""


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def write_half():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    with pytest.raises(FileNotFoundError), replacing(path):
        pass  # a block that writes nothing replaces nothing
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]
