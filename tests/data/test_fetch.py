"""Fetching: the archive is taken only as it should be, and every failure is one line."""

import hashlib
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from segjax.data import fetch as fetching
from segjax.errors import DataError
from tests.data.data_files import fails

CONTENT = {name: f"content of {name}".encode() for name in fetching.FILES}
MEMBERS = [(f"DLStudio-1.0.9/Examples/data/{name}", data) for name, data in CONTENT.items()]


def make_archive(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            if isinstance(data, bytes):
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
            else:
                info.type, info.linkname = tarfile.SYMTYPE, data
                tar.addfile(info)
    return path


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """An archive whose digest and whose files' digests are the required ones."""
    others = [("DLStudio-1.0.9/setup.py", b"raise SystemExit"), ("../../outside.gz", b"evil")]
    return pin(make_archive(tmp_path / "archive.tar.gz", [*others, *MEMBERS]), monkeypatch)


def pin(path, monkeypatch):
    monkeypatch.setattr(fetching, "ARCHIVE_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    files = {name: hashlib.sha256(data).hexdigest() for name, data in CONTENT.items()}
    monkeypatch.setattr(fetching, "FILES", files)
    return path


def test_takes_the_four_files_and_later_what_is_missing_or_wrong(archive, tmp_path, monkeypatch):
    calls, root = [], tmp_path / "root" / "deep"
    assert fetching._MAX_FILE_BYTES == 32 * 2**20
    longest = max(map(len, CONTENT.values()))
    monkeypatch.setattr(fetching, "_MAX_FILE_BYTES", longest - 1)
    fails(DataError, "not a plain", fetching.fetch, tmp_path / "no", download=lambda to: archive)
    monkeypatch.setattr(fetching, "_MAX_FILE_BYTES", longest)

    def fetch():
        return fetching.fetch(root, download=lambda to: calls.append(to) or archive)

    found = fetch()
    assert sorted(p.name for p in root.iterdir()) == sorted(CONTENT)
    for path, part in zip(found, ("10000-train", "1000-test", "20-train", "20-test"), strict=True):
        assert path.read_bytes() == CONTENT[path.name]
        assert f"-{part}." in path.name
    assert not (tmp_path / "outside.gz").exists()
    before = found.train.stat().st_mtime_ns
    assert (fetch(), len(calls)) == (found, 1)
    found.test.write_bytes(b"damaged")
    found.test_20.unlink()
    assert (fetch(), len(calls)) == (found, 2)
    assert found.test.read_bytes() == CONTENT[found.test.name]
    assert found.test_20.is_file()
    assert found.train.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("members", "tail", "message"),
    [
        (MEMBERS, b"\0", "SHA-256 is not that"), ([], b"", "lacks"),
        ([(MEMBERS[0][0], b"other content"), *MEMBERS[1:]], b"", "wrong SHA-256"),
        ([(MEMBERS[0][0], "/etc/passwd"), *MEMBERS[1:]], b"", "not a plain data file"),
        (b"\x1f\x8b not a tar", b"", "damaged"),
    ],
)  # fmt: skip
def test_a_wrong_archive_leaves_nothing(members, tail, message, archive, tmp_path, monkeypatch):
    if isinstance(members, bytes):
        archive.write_bytes(members)
    else:
        make_archive(archive, members)
    pin(archive, monkeypatch)
    archive.write_bytes(archive.read_bytes() + tail)
    fails(DataError, message, fetching.fetch, tmp_path / "root", download=lambda folder: archive)
    assert list((tmp_path / "root").iterdir()) == []


@pytest.mark.parametrize(
    ("output", "advice"),
    [
        ("/usr/bin/python: No module named pip", "ensurepip"), ("", "said nothing"),
        ("done", "left no archive"), ("done well", "DLStudio.tar.gz: its SHA-256 is not that"),
        ("some trace\nERROR: something new", "something new"), (None, "ten minutes"),
        ("WARNING: Retrying after connection broken\nERROR: No matching distribution", "reached"),
        ("ERROR: Could not find a version (from versions: none)\nERROR: No match", "reached"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS", "wrong SHA-256"),
        ("ERROR: Could not install: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: [Errno 13] Permission denied: '/x'", "may not write"),
    ],
)  # fmt: skip
def test_each_failure_of_pip_is_one_line_with_advice(output, advice, tmp_path, monkeypatch):
    def run(command, **options):
        how = {"capture_output": True, "text": True, "errors": "replace", "check": False}
        assert options == how | {"timeout": 600}
        assert command[:4] == [sys.executable, "-m", "pip", "download"]
        assert "--require-hashes" in command
        if output is None:
            raise subprocess.TimeoutExpired(command, 1)
        if output == "done well":
            Path(command[-1], "DLStudio.tar.gz").touch()
        return subprocess.CompletedProcess(command, int(output[:4] != "done"), "", output)

    monkeypatch.setattr(fetching.subprocess, "run", run)
    names = ["--data=synthetic"] * (output != "done well")
    fails(DataError, advice, fetching.fetch, tmp_path, names=names)
    assert list(tmp_path.iterdir()) == []


def test_command_line_and_a_folder_that_cannot_be_made(archive, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("in the way")
    fails(DataError, "--dataroot", fetching.fetch, tmp_path / "file" / "root")
    monkeypatch.setattr(fetching, "_download_with_pip", lambda folder: archive)
    assert fetching.main(["--dataroot", str(tmp_path / "root")]) == 0
    assert "10000-train" in capsys.readouterr().out
    archive.write_bytes(b"")
    assert fetching.main(["--dataroot", str(tmp_path / "other")]) == 1
    _out, err = capsys.readouterr()
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    monkeypatch.setattr(fetching, "fetch", lambda *root, notify: exec("raise KeyboardInterrupt"))
    assert fetching.main([]) == 1
    assert fetching.main(["--nonsense"]) == 2
    assert fetching.main(["--help"]) == 0
