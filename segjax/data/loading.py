"""``load``: a data file to a data set, by way of a cache of plain arrays, checked before use.

An entry of the cache is a folder named by the SHA-256 of the data file. It holds one .npy file per
array, which is memory-mapped, and ``entry.json`` with the format version and the size and CRC-32
of each file. It is renamed to its name when complete, so a reader sees a whole entry or none.
"""

import contextlib
import dataclasses
import json
import shutil
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from segjax.data.dataset import Dataset
from segjax.data.places import cache_folder, expanded
from segjax.data.purdue.format import read_shapes_file
from segjax.data.purdue.stream import Limits
from segjax.errors import DataError, Say, to_stderr
from segjax.files import new_folder, sha256

FORMAT_VERSION = 1
_ARRAYS = ("images", "masks", "boxes", "box_image", "box_class")
_ENTRY = "entry.json"


class StaleEntryError(Exception):
    """A cache entry exists and cannot be used; the message says why."""


def load(
    path: str | Path,
    *,
    cache: bool = True,
    cache_dir: str | Path | None = None,
    progress: bool | None = None,
    limits: Limits | None = None,
    notify: Say = to_stderr,
) -> Dataset:
    """Load a PurdueShapes5MultiObject ``.gz`` file.

    The first load reads the file as a stream, without trusting it; later ones map the cached
    arrays after checking them. A moved or renamed file is found, a changed one is read anew.

    Args:
      path: the data file.
      cache: whether to use the cache.
      cache_dir: its folder; by default ``SEGJAX_CACHE`` or the user's cache folder.
      progress: whether a first load shows a bar on stderr; None: if stderr is a terminal.
      limits: what the file may cost to read; see ``Limits``.
      notify: hears one line when an entry of the cache was stale or damaged, or cannot be kept.

    Returns:
      A ``Dataset`` with read-only arrays.

    Raises:
      DataError: if the file cannot be read or is not what it should be; one line.
    """
    path = expanded(path)
    source = path.absolute()
    if not cache:
        return _read(path, progress, limits)[0]
    folder = expanded(cache_dir) if cache_dir is not None else cache_folder() / "arrays"
    try:
        digest = sha256(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    try:
        if (found := _read_entry(folder / digest, source=source)) is not None:
            return found
    except StaleEntryError as error:
        notify(f"{path}: its cache entry {folder / digest} {error}; reading the file again")
    else:
        if _drop_entries_of(folder, source, keep=digest):
            notify(f"{path}: the file has changed since it was cached; reading it again")

    dataset, digest = _read(path, progress, limits)
    dataset = dataclasses.replace(dataset, source=str(source), check_values=False)
    try:
        _write_entry(folder / digest, dataset)
        # Mapped like every later load, so that the 0.3 GB of arrays are not held twice.
        return _read_entry(folder / digest, source=source) or dataset
    except (OSError, StaleEntryError) as error:
        reason = getattr(error, "strerror", None) or error
        notify(f"{path}: cannot be cached in {folder} ({reason}); the next load reads it again")
        return dataset


def _read(path: Path, progress: bool | None, limits: Limits | None) -> tuple[Dataset, str]:
    if not (sys.stderr.isatty() if progress is None else progress):
        return read_shapes_file(path, limits=limits)
    from tqdm import tqdm  # only a bar needs it

    with tqdm(desc=f"reading {path.name}", unit="B", unit_scale=True, leave=False) as bar:

        def on_progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return read_shapes_file(path, limits=limits, on_progress=on_progress)


def _read_entry(entry: Path, *, source: Path) -> Dataset | None:
    """Return the cached data set, or None; StaleEntryError if it is damaged or of another format.

    Every byte is read once for its checksum, at the speed of the page cache.
    """
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
            array: Any = np.load(file, mmap_mode="r", allow_pickle=False)
            arrays[name] = array.view(np.ndarray)
        about = {"label_map": facts["label_map"], "name": facts["name"], "source": str(source)}
        # Its values were checked when the entry was written, and its bytes since.
        return Dataset(**arrays, **about, check_values=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, DataError) as error:
        raise StaleEntryError(f"is damaged ({type(error).__name__})") from None


def _write_entry(entry: Path, dataset: Dataset) -> None:
    """Write a complete entry, in place of an old one; OSError if that is not possible."""
    files = {}
    with new_folder(entry) as work:
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
        shutil.rmtree(entry, ignore_errors=True)  # who reads now finds no entry


def _drop_entries_of(folder: Path, source: Path, *, keep: str) -> bool:
    """Remove entries made of ``source`` when it had another content, 0.3 GB each; tell if any."""
    dropped = False
    for file in folder.glob(f"*/{_ENTRY}"):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            made_of = json.loads(file.read_text(encoding="utf-8")).get("source")
            if made_of == str(source) and file.parent.name != keep:
                shutil.rmtree(file.parent)
                dropped = True
    return dropped


def _crc32(file: Path) -> int:
    return zlib.crc32(np.memmap(file, mode="r").data)
