"""A cache of parsed data sets: plain .npy arrays, memory-mapped, checked before use.

An entry is a folder named by the SHA-256 of the source file. It holds one .npy file per array
and ``entry.json`` with the format version and the size and CRC-32 of each file. It is written
under another name and renamed when complete, so a reader sees a whole entry or none.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from segjax.data.dataset import Dataset
from segjax.errors import DataError
from segjax.files import sha256

FORMAT_VERSION = 1
_ARRAYS = ("images", "masks", "boxes", "box_image", "box_class")
_ENTRY = "entry.json"
_PIECE = 1 << 20


class StaleEntryError(Exception):
    """A cache entry exists and cannot be used; the message says why."""


def source_digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Raises:
      DataError: if the file cannot be read.
    """
    try:
        return sha256(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None


def read_entry(folder: Path, digest: str, *, source: Path) -> Dataset | None:
    """Return the cached data set of the source with this digest, or None if there is none.

    The large arrays are memory-mapped and read-only. Every byte is read once for its checksum,
    at the speed of the page cache.

    Raises:
      StaleEntryError: if there is an entry, but damaged or of another format version.
    """
    entry = folder / digest
    if not entry.is_dir():
        return None
    try:
        facts = json.loads((entry / _ENTRY).read_text(encoding="utf-8"))
        if facts["format_version"] != FORMAT_VERSION:
            raise StaleEntryError(f"is of format {facts['format_version']}, not {FORMAT_VERSION}")
        arrays = {}
        for name in _ARRAYS:
            file, expected = entry / f"{name}.npy", facts["files"][name]
            if file.stat().st_size != expected["bytes"]:
                raise StaleEntryError(f"has a {file.name} of the wrong size")
            if _crc32(file) != expected["crc32"]:
                raise StaleEntryError(f"has a damaged {file.name}")
            arrays[name] = _open_array(file)
        return Dataset(
            **arrays,
            label_map=facts["label_map"],
            name=facts["name"],
            source=str(source),
            check_values=False,  # checked when the entry was written, and its bytes since
        )
    except StaleEntryError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, DataError) as error:
        raise StaleEntryError(f"is damaged ({type(error).__name__})") from None


def write_entry(folder: Path, digest: str, dataset: Dataset) -> None:
    """Write a complete entry, in place of one of the same digest if there is one.

    Raises:
      OSError: if that is not possible; nothing incomplete stays behind under the entry's name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{digest[:16]}-", dir=folder))
    try:
        files: dict[str, dict[str, int]] = {}
        for name in _ARRAYS:
            file = work / f"{name}.npy"
            # No fsync: after a power cut the checksum tells, and the source is still there.
            np.save(file, getattr(dataset, name), allow_pickle=False)
            files[name] = {"bytes": file.stat().st_size, "crc32": _crc32(file)}
        facts = {
            "format_version": FORMAT_VERSION,
            "name": dataset.name,
            "source": dataset.source,
            "label_map": dict(dataset.label_map),
            "files": files,
        }
        (work / _ENTRY).write_text(json.dumps(facts, indent=1), encoding="utf-8")
        os.chmod(work, 0o755)
        # A folder cannot be renamed onto one with files in it; who reads now finds no entry.
        shutil.rmtree(folder / digest, ignore_errors=True)
        work.rename(folder / digest)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def drop_entries_of(folder: Path, source: Path, *, keep: str) -> int:
    """Remove entries that were made of ``source`` when it had another content; return how many.

    A data file that changes would otherwise leave 0.3 GB behind each time.
    """
    dropped = 0
    for facts_file in folder.glob(f"*/{_ENTRY}"):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            facts = json.loads(facts_file.read_text(encoding="utf-8"))
            if facts.get("source") == str(source) and facts_file.parent.name != keep:
                shutil.rmtree(facts_file.parent)
                dropped += 1
    return dropped


def _crc32(file: Path) -> int:
    value = 0
    with file.open("rb") as data:
        while piece := data.read(_PIECE):
            value = zlib.crc32(piece, value)
    return value


def _open_array(file: Path) -> np.ndarray:
    array: Any = np.load(file, mmap_mode="r", allow_pickle=False)
    return array.view(np.ndarray)
