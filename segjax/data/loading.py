"""``load``: a data file to a data set, by way of the cache."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from segjax.data.cache import (
    StaleEntryError,
    drop_entries_of,
    read_entry,
    source_digest,
    write_entry,
)
from segjax.data.dataset import Dataset
from segjax.data.places import cache_folder
from segjax.data.purdue.format import read_shapes_file
from segjax.data.purdue.stream import Limits
from segjax.errors import Say


def _print_to_stderr(message: str) -> None:
    print(message, file=sys.stderr)


def load(
    path: str | Path,
    *,
    cache: bool = True,
    cache_dir: str | Path | None = None,
    progress: bool | None = None,
    limits: Limits | None = None,
    notify: Say = _print_to_stderr,
) -> Dataset:
    """Load a PurdueShapes5MultiObject ``.gz`` file.

    The first load reads the file as a stream, without trusting it; later ones map the cached
    arrays after checking them. The cache is keyed by the file's content, so a moved or renamed
    file is found and a changed one is read anew.

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
    path = Path(path).expanduser()
    source = path.absolute()
    if not cache:
        return _read(path, progress=progress, limits=limits)[0]

    folder = Path(cache_dir).expanduser() if cache_dir is not None else cache_folder() / "arrays"
    digest = source_digest(path)
    try:
        if (found := read_entry(folder, digest, source=source)) is not None:
            return found
    except StaleEntryError as error:
        notify(f"{path}: its cache entry {folder / digest} {error}; reading the file again")
    else:
        if drop_entries_of(folder, source, keep=digest):
            notify(f"{path}: the file has changed since it was cached; reading it again")

    dataset, digest = _read(path, progress=progress, limits=limits)
    dataset = dataclasses.replace(dataset, source=str(source), check_values=False)
    try:
        write_entry(folder, digest, dataset)
        # Mapped like every later load, so that the 0.3 GB of arrays are not held twice.
        return read_entry(folder, digest, source=source) or dataset
    except (OSError, StaleEntryError) as error:
        reason = getattr(error, "strerror", None) or error
        notify(f"{path}: cannot be cached in {folder} ({reason}); the next load reads it again")
        return dataset


def _read(path: Path, *, progress: bool | None, limits: Limits | None) -> tuple[Dataset, str]:
    from tqdm import tqdm  # only a first load needs it

    shown = sys.stderr.isatty() if progress is None else progress
    name = f"reading {path.name}"
    with tqdm(desc=name, unit="B", unit_scale=True, leave=False, disable=not shown) as bar:

        def on_progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return read_shapes_file(path, limits=limits, on_progress=on_progress)
