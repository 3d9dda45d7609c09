"""One checkpoint on disk: arrays by Orbax, a manifest of checksums, one rename that commits both.

A step folder holds `arrays/` (an Orbax checkpoint, one flat dict from array names to arrays) and
`manifest.json`: meta, score, shape, dtype and SHA-256 per array, size and SHA-256 per file, and a
SHA-256 of itself. Orbax alone restores a flipped bit silently and casts to another dtype silently.
"""

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import sys
import traceback
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from segjax.errors import one_line
from segjax.files import regular, sha256
from segjax.runs.leaves import digest

ARRAYS, MANIFEST = "arrays", "manifest.json"
FORMAT = 1
_STEP = re.compile(r"step_(\d{8,})(?:\.(\d+))?")
_SAVING, _DELETING = ".saving-", ".deleting-"


class DamageError(Exception):
    """A step folder cannot be trusted; the text says why and names the file or array."""


class StepFolder(NamedTuple):
    """A committed folder; `attempt` counts how often its step was saved, and the last one holds."""

    step: int
    attempt: int
    path: Path


def parse_step(path: Path) -> StepFolder | None:
    """Return step and attempt from a folder's name, or None for any other folder."""
    match = _STEP.fullmatch(path.name)
    return StepFolder(int(match[1]), int(match[2] or 1), path) if match else None


def step_folders(folder: Path) -> list[StepFolder]:
    """Return all step folders, newest first, whatever their health."""
    found = (parse_step(path) for path in _inside(folder) if path.is_dir())
    return sorted((step for step in found if step), reverse=True)


def leftovers(folder: Path) -> list[Path]:
    """Return what an interrupted save or deletion left behind."""
    return sorted(path for path in _inside(folder) if path.name.startswith((_SAVING, _DELETING)))


def remove(path: Path) -> None:
    """Delete a folder such that a half deleted one is never taken for a step."""
    if not path.name.startswith((_SAVING, _DELETING)):
        doomed = path.with_name(f"{_DELETING}{path.name}-{uuid.uuid4().hex[:8]}")
        os.rename(path, doomed)
        path = doomed
    shutil.rmtree(path, ignore_errors=True)


def write(
    folder: Path, step: int, values: Mapping[str, np.ndarray], manifest: Mapping[str, Any]
) -> Path:
    """Write a step, ``values`` by name, and return when it would survive a power cut.

    All is written under a temporary name, flushed, and then renamed. A step that is there already
    is not touched: the new folder gets the next attempt's number, so at no moment is there none.
    ``manifest`` holds 'score', 'meta' and 'arrays', the entries of `leaves.to_host`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stage = folder / f"{_SAVING}step_{step:08d}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    stage.mkdir()
    try:
        # Orbax refuses arrays without elements; shape and dtype in the manifest say it all.
        if stored := {name: value for name, value in values.items() if value.size}:
            _save(stage / ARRAYS, stored)
        files = {
            p.relative_to(stage).as_posix(): {"bytes": p.stat().st_size, "sha256": sha256(p)}
            for p in sorted(stage.rglob("*"))
            if p.is_file()
        }
        sealed = _sealed({"format": FORMAT, "step": step, **manifest, "files": files})
        (stage / MANIFEST).write_text(sealed, encoding="utf-8")
        for path in [stage, *stage.rglob("*")]:
            _sync(path)
        attempt = 1 + max((s.attempt for s in step_folders(folder) if s.step == step), default=0)
        suffix = f".{attempt}" if attempt > 1 else ""
        committed = folder / f"step_{step:08d}{suffix}"
        os.rename(stage, committed)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise
    _sync(folder)
    return committed


def read_manifest(folder: StepFolder) -> dict[str, Any]:
    """Read the manifest of a step; cheap, and finds what was cut or lost, not what was changed.

    Raises DamageError if the manifest is missing, does not match its own checksum, or is of another
    step, or if a file that it names is missing, shorter or longer.
    """
    try:
        manifest = json.loads(regular(folder.path / MANIFEST).read_text(encoding="utf-8"))
        sealed = manifest.pop("manifest_sha256") == _seal(manifest)
    except FileNotFoundError as error:
        missing = f"{MANIFEST} is missing" if any(_inside(folder.path)) else "the folder is empty"
        raise DamageError(missing) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DamageError(f"{MANIFEST} is not readable: {error}") from error
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise DamageError(f"{MANIFEST} is damaged: {one_line(error)}") from error
    if not sealed:
        raise DamageError(f"{MANIFEST} is damaged: it does not match its own checksum")
    if manifest.get("format") != FORMAT:
        other = manifest.get("format")
        raise DamageError(f"{MANIFEST} has format {other}, this segjax reads {FORMAT}")
    if not _is_whole(manifest):
        raise DamageError(f"{MANIFEST} is damaged: something is missing in it, or of a wrong kind")
    if manifest["step"] != folder.step:
        raise DamageError(f"{MANIFEST} is of step {manifest['step']}: was the folder renamed?")
    for name, entry in manifest["files"].items():
        try:
            size = (folder.path / name).stat().st_size
        except OSError as error:
            raise DamageError(f"file {name} is missing") from error
        if size != entry["bytes"]:
            raise DamageError(f"file {name} has {size:,} bytes instead of {entry['bytes']:,}")
    return manifest


def _is_whole(manifest: Mapping[str, Any]) -> bool:
    """Tell whether all is there that `write` puts into a manifest, of the right kinds."""
    number: Any = int | float | None
    try:
        pairs = [(manifest["step"], int), (manifest["meta"], dict), (manifest["score"], number)]
        for entry in manifest["arrays"].values():
            pairs += [(entry["dtype"], str), (entry["shape"], list), (entry["sha256"], str)]
            pairs += [(side, int) for side in entry["shape"]]
        for entry in manifest["files"].values():
            pairs += [(entry["bytes"], int), (entry["sha256"], str)]
    except (KeyError, TypeError, AttributeError):
        return False
    return all(isinstance(value, kind) for value, kind in pairs)


def read_arrays(folder: StepFolder, manifest: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Read all arrays of a step; what comes back is bit for bit what was saved.

    Every file is checked before Orbax parses it, and every array after, so neither a damaged disk
    nor a cast or a mix-up on the way can go unnoticed: a file or an array that is not what the
    manifest says raises DamageError.
    """
    for name, entry in manifest["files"].items():
        try:
            changed = sha256(folder.path / name) != entry["sha256"]
        except OSError as error:
            raise DamageError(f"file {name} is not readable: {error}") from error
        if changed:
            raise DamageError(f"file {name} has changed since it was written (SHA-256 differs)")
    try:
        loaded = _load(folder.path / ARRAYS) if manifest["files"] else {}
    except Exception as error:  # Orbax and tensorstore raise many kinds.
        raise DamageError(f"Orbax cannot read {ARRAYS}: {one_line(error)}") from error
    values = {}
    for name, entry in manifest["arrays"].items():
        is_key, shape = "key_impl" in entry, entry["shape"]
        if name in loaded:
            value = np.asarray(loaded[name])
        elif 0 in shape and not is_key:
            try:
                value = np.zeros(shape, np.dtype(entry["dtype"]))
            except (TypeError, ValueError) as error:
                raise DamageError(f"{MANIFEST} is damaged: {one_line(error)}") from None
        else:
            raise DamageError(f"array {name} is missing")
        same_dtype = str(value.dtype) == ("uint32" if is_key else entry["dtype"])
        same_shape = is_key or list(value.shape) == shape
        if not (same_dtype and same_shape and digest(value) == entry["sha256"]):
            raise DamageError(f"array {name} is not what was saved (SHA-256 differs)")
        values[name] = value
    return values


def _inside(folder: Path) -> list[Path]:
    """Return what is in a folder; unlike glob, not nothing where it may not be looked at."""
    return list(folder.iterdir()) if folder.is_dir() else []


def _save(path: Path, values: Mapping[str, np.ndarray]) -> None:
    """Write arrays with Orbax; of a run's processes only the one that calls this takes part.

    Raises OSError if the disk refuses, which Orbax tells in words of its own.
    """
    orbax = _orbax()
    with _hushed():
        try:
            # Trained weights do not compress; zstd costs time and gains a few percent.
            if jax.process_count() == 1:
                context = orbax.Context()
                context.array.saving.use_compression = False
                with context:
                    orbax.save(path, values)
                return
            # v1's save compares the folder over all processes, whichever are active (Orbax 0.12.8),
            # and would wait for them. The older one does not, and v1 reads what it writes.
            from orbax import checkpoint

            own: dict[str, Any] = {"multiprocessing_options": _alone(checkpoint)}
            handler = checkpoint.PyTreeCheckpointHandler(use_compression=False, **own)
            with checkpoint.Checkpointer(handler, **own) as saver:
                saver.save(path, args=checkpoint.args.PyTreeSave(dict(values)))
        except ValueError as error:
            for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS):
                if os.strerror(code) in str(error):
                    raise OSError(code, os.strerror(code)) from error
            raise


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Keep threads of Orbax that are still writing when one has failed from a traceback each.

    The event loop that they report to is closed by then. After a failure this stays so.
    """
    shown = sys.unraisablehook

    def show(found: Any) -> None:
        if str(found.exc_value) != "Event loop is closed":
            shown(found)

    sys.unraisablehook = show
    yield
    sys.unraisablehook = shown


def _load(path: Path) -> Mapping[str, Any]:
    """Read arrays with Orbax; of a run's processes only the one that calls this takes part."""
    orbax = _orbax()
    with orbax.Context(multiprocessing_options=_alone(orbax)):
        return orbax.load(path)


def _orbax() -> Any:
    """Import Orbax, on first use, and keep it from writing to the user's terminal."""
    from orbax.checkpoint import v1

    for name in ("absl", "asyncio"):
        logging.getLogger(name).addFilter(_not_from_orbax)  # a second time changes nothing
    return v1


def _not_from_orbax(record: logging.LogRecord) -> bool:
    # Nothing is lost: what Orbax logs as an error it raises too, and that is reported.
    raised = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
    return f"{os.sep}orbax{os.sep}" not in record.pathname + raised


def _alone(orbax: Any) -> Any:
    """Tell Orbax not to wait for other processes."""
    own = jax.process_index()
    return orbax.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"process{own}"
    )


def _seal(manifest: Mapping[str, Any]) -> str:
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _sealed(manifest: Mapping[str, Any]) -> str:
    return json.dumps({**manifest, "manifest_sha256": _seal(manifest)}, indent=1) + "\n"


def _sync(path: Path) -> None:
    """Flush a file or a directory to the disk."""
    # Windows has no handle for a directory; there the rename alone has to do.
    with contextlib.suppress(PermissionError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
