"""Where a run goes: a folder that no other run has, and that holds nothing of anybody else."""

import contextlib
import itertools
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from segjax.config import Config
from segjax.errors import ConfigError
from segjax.files import regular, write_text
from segjax.runs.folder import (
    CONFIG_FILE,
    METRICS_FILE,
    METRICS_TABLE,
    RESULTS_FILE,
    RunFolder,
    run_name,
)
from segjax.runs.identity import RUN_FILE, Identity, identify
from segjax.runs.lock import HELD, HOLDER_FILE, LOCK_FILE, InUseError, held

# What a run writes, and --overwrite deletes: files, and folders that are its own to the last file.
_FILES = (
    *(CONFIG_FILE, METRICS_FILE, METRICS_TABLE, RESULTS_FILE, "performance_numbers_*.txt"),
    *(RUN_FILE, "loss.png", "predictions.png", "dlstudio_extra.npz", ".*.[0-9]*.tmp"),
    "tensorboard/events.out.tfevents.*",
)
_FOLDERS = (
    *("checkpoints/step_*", "checkpoints/.saving-*", "checkpoints/.deleting-*"),
    "profile/plugins",
)
_TELLING = {"loss", "depth", "seed"}  # settings of every run, whichever version wrote it


@contextlib.contextmanager
def claimed(config: Config, *, under: Path | str = "runs") -> Iterator[RunFolder]:
    """Choose the run's folder and hold it, made if it is not there, while the context lasts.

    A folder that was made here and has no settings in the end goes again.

    Raises ConfigError as `choose_folder`, or if the folder cannot be made;
    `segjax.runs.lock.InUseError` if a run that is still going holds it.
    """
    with contextlib.ExitStack() as hold:
        for path in _names(config, under):
            made = [one for one in (path, *path.parents) if not one.exists()]
            _make(path)
            try:
                hold.enter_context(held(path))
            except InUseError:
                if config.run_dir or config.resume:
                    raise
                continue  # somebody has just taken that name
            hold.callback(_withdraw, path, made)
            # By now another run may have come to its end here.
            if config.run_dir or config.resume:
                _check(path, config)
            elif _contents(path):
                hold.pop_all().close()
                continue
            break
        yield RunFolder(path)


def choose_folder(config: Config, *, under: Path | str = "runs") -> RunFolder:
    """Decide where the run goes, without touching the disk.

    With no --run_dir a new run gets the first free name of NAME, NAME-2, NAME-3, ... and
    --resume takes the newest of them.

    Raises ConfigError if the folder holds another run (or other files) and neither --resume nor
    --overwrite is given, if --resume finds nothing to go on with, or --overwrite no run.
    """
    return RunFolder(next(_names(config, under)))


def open_run(folder: RunFolder, config: Config, *, data: str = "") -> Identity:
    """Create the folder and write the settings; with --overwrite delete what a run wrote in it.

    Returns what the run is told by; ``data`` is the digest of its data.

    Raises ConfigError if what --overwrite is about to delete is no run, and as `identify`.
    """
    if config.overwrite and (folder.path / CONFIG_FILE).exists():
        _check(folder.path, config)
        _delete_run(folder.path)
    identity = identify(folder.path, config, data=data)
    _make(folder.path)
    try:
        write_text(folder.path / CONFIG_FILE, config.to_json())
        identity.write(folder.path)
    except OSError as error:
        raise ConfigError(f"{folder.path}: cannot be written ({error.strerror})") from None
    return identity


def _names(config: Config, under: Path | str) -> Iterator[Path]:
    """Yield the folder to take, and for a new run without a name the next ones that are free."""
    if config.run_dir:
        _check(Path(config.run_dir), config)
        yield Path(config.run_dir)
        return
    first = Path(under) / run_name(config)
    numbers = (first.with_name(f"{first.name}-{number}") for number in itertools.count(2))
    names = itertools.chain([first], numbers)
    if not config.resume:
        yield from (path for path in names if not (path.is_file() or _contents(path)))
    runs = [path for path in itertools.takewhile(Path.exists, names) if _holds_settings(path)]
    if not runs:
        raise ConfigError(f"--resume: there is no run {first}; name its --run_dir")
    yield runs[-1]


def _check(path: Path, config: Config) -> None:
    """Raise ConfigError unless a run with these settings may go to ``path``."""
    if path.exists() and not path.is_dir():
        raise ConfigError(f"--run_dir={path}: is a file, not a folder")
    holds_run = _holds_settings(path)
    if config.resume and not holds_run:
        raise ConfigError(f"--resume: {path} holds no run ({CONFIG_FILE} is missing)")
    if not holds_run and _contents(path):
        raise ConfigError(
            f"{path} holds files that are no run; choose another --run_dir or empty it"
        )
    if holds_run and not (config.resume or config.overwrite):
        raise ConfigError(
            f"{path} already holds a run: --resume goes on with it, --overwrite deletes it, "
            "another --run_dir leaves it alone"
        )
    if holds_run and config.overwrite and (other := _other_than_run(path)):
        raise ConfigError(f"--overwrite: {other}; nothing was deleted; choose another --run_dir")


def _holds_settings(path: Path) -> bool:
    return (path / CONFIG_FILE).exists()


def _contents(path: Path) -> list[Path]:
    """Return what is in a folder, the lock's files aside."""
    found = path.iterdir() if path.is_dir() else ()
    return [one for one in found if one.name not in (LOCK_FILE, HOLDER_FILE)]


def _other_than_run(path: Path) -> str | None:
    """Tell in a few words why a folder's config.json is not that of a run; None if it is."""
    try:
        RunFolder(path).config()
        settings = json.loads(regular(path / CONFIG_FILE).read_text(encoding="utf-8"))
    except ConfigError as error:
        return f"{path} holds no run ({error})"
    return None if settings.keys() >= _TELLING else f"{path / CONFIG_FILE} is not that of a run"


def _delete_run(path: Path) -> None:
    """Delete what a run wrote into a folder, its config.json last, and nothing else."""
    seeds = [one for one in path.glob("seed*") if one.is_dir() and not _other_than_run(one)]
    with contextlib.ExitStack() as holds:
        others = [member for member in seeds if member not in HELD]
        for member in others:
            holds.enter_context(held(member))
        for member in seeds:
            _delete_run(member)
        for member in others:
            _withdraw(member, [member])
    for pattern in _FOLDERS:
        for folder in path.glob(pattern):
            shutil.rmtree(folder)
    for file in [file for pattern in reversed(_FILES) for file in path.glob(pattern)]:
        file.unlink()
    for name in ("checkpoints", "tensorboard", "profile"):
        with contextlib.suppress(OSError):  # not there, or others' files are in it
            (path / name).rmdir()


def _make(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from None


def _withdraw(path: Path, made: Iterable[Path]) -> None:
    """Remove the lock's files from a folder that has nothing else, and then the folders ``made``.

    The folder is held, and those ``made`` are it and the ones above it.
    """
    with contextlib.suppress(OSError):  # it is gone, or Windows keeps a file that is open
        if not _contents(path):
            (path / HOLDER_FILE).unlink(missing_ok=True)
            (path / LOCK_FILE).unlink(missing_ok=True)
            for folder in made:
                folder.rmdir()
