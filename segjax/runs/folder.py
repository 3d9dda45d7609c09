"""A run's folder: its name, its files, and what is in them. Everything is written atomically."""

import itertools
import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from segjax.config import Config
from segjax.errors import ConfigError
from segjax.files import write_text
from segjax.runs.logs import csv_text

CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.jsonl"
METRICS_TABLE = "metrics.csv"
RESULTS_FILE = "results.json"


class RunFolder:
    """The files of one run. Construct with ``open_run`` or, to read only, ``RunFolder(path)``.

    ``writes``: whether this process is the one that writes it; what others log is dropped.
    """

    def __init__(self, path: Path | str, *, writes: bool = True) -> None:
        self.path, self.writes = Path(path), writes
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"  # TensorBoard's event files
        self.profile = self.path / "profile"  # the profiler's traces

    def config(self) -> Config:
        """Read the resolved settings; ConfigError if there are none or they are damaged."""
        text = self._read(CONFIG_FILE, str, missing=f"holds no run ({CONFIG_FILE} is missing)")
        return Config.from_json(text, source=str(self.path / CONFIG_FILE))

    def records(self) -> list[dict[str, Any]]:
        """Read the log, oldest first; a last line cut short by a crash is left out."""
        file, records = self.path / METRICS_FILE, []
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        for number, line in enumerate(lines, 1):
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                if number < len(lines):
                    raise ConfigError(f"{file}: line {number} is not JSON") from None
        return records

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one record to the log."""
        if not self.writes:
            return
        with open(self.path / METRICS_FILE, "a", encoding="utf-8") as file:
            file.write(json.dumps(_plain(record)) + "\n")
        self._write(METRICS_TABLE, csv_text(self.records()))

    def rewind_log(self, step: int) -> None:
        """Drop the records after ``step``, which a resumed run is going to write again."""
        kept = [record for record in self.records() if record.get("step", 0) <= step]
        self._write(METRICS_FILE, "".join(json.dumps(record) + "\n" for record in kept))
        self._write(METRICS_TABLE, csv_text(kept))

    def write_performance_numbers(self, epochs: int, log_steps: int) -> None:
        """Write DLStudio's performance_numbers_<epochs>.txt: one mean loss a line, 3 decimals."""
        full = [record for record in self.records() if record.get("mean_over") == log_steps]
        lines = "".join(f"{record['loss']:.3f}\n" for record in full)
        self._write(f"performance_numbers_{epochs}.txt", lines)

    def write_results(self, results: Mapping[str, Any]) -> None:
        """Write results.json; a number that is not one becomes null."""
        self._write(RESULTS_FILE, json.dumps(_plain(results), indent=2) + "\n")

    def results(self) -> dict[str, Any]:
        """Read results.json; ConfigError if the run has not finished."""
        missing = "has no results.json; has the run ended?"
        return self._read(RESULTS_FILE, json.loads, missing=missing)

    def _read(self, name: str, parse: Callable[[str], Any], *, missing: str) -> Any:
        file = self.path / name
        try:
            return parse(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(f"{self.path}: {missing}") from None
        except (OSError, ValueError) as error:
            raise ConfigError(f"{file}: cannot be read ({error})") from None

    def _write(self, name: str, text: str) -> None:
        if self.writes:
            write_text(self.path / name, text)


def run_name(config: Config) -> str:
    """Return a folder name that tells runs apart: loss, head, depth, seed or seeds."""
    loss = "".join(char if char.isalnum() or char in "._+-" else "_" for char in config.loss)
    parameters = "".join(
        f"-{name}{format(value, 'g' if isinstance(value, float) else '')}"
        for name, value in sorted(config.loss_params.items())
    )
    munet = config.network == "munet"
    network = f"{config.head}-depth{config.depth}" if munet else config.network
    last = config.seed + config.seeds - 1
    seeds = f"seed{last}" if config.seeds == 1 else f"seeds{config.seed}-{last}"
    return f"{loss}{parameters}-{network}-{seeds}"


def choose_folder(config: Config, *, under: Path | str = "runs") -> RunFolder:
    """Decide where the run goes, without touching the disk.

    With no --run_dir a new run gets the first free name of NAME, NAME-2, NAME-3, ... and
    --resume takes the newest of them.

    Raises ConfigError if the folder holds another run (or other files) and neither --resume nor
    --overwrite is given, or if --resume finds nothing to go on with.
    """
    if not config.run_dir:
        first = newest = path = Path(under) / run_name(config)
        numbers = itertools.count(2)
        while path.exists():
            newest, path = path, first.with_name(f"{first.name}-{next(numbers)}")
        if not config.resume:
            return RunFolder(path)
        if not (newest / CONFIG_FILE).exists():
            raise ConfigError(f"--resume: there is no run {first}; name its --run_dir")
        return RunFolder(newest)
    path = Path(config.run_dir)
    holds_run = (path / CONFIG_FILE).exists()
    if path.exists() and not path.is_dir():
        raise ConfigError(f"--run_dir={path}: is a file, not a folder")
    if config.resume and not holds_run:
        raise ConfigError(f"--resume: {path} holds no run ({CONFIG_FILE} is missing)")
    if not holds_run and path.exists() and any(path.iterdir()):
        raise ConfigError(
            f"{path} holds files that are no run; choose another --run_dir or empty it"
        )
    if holds_run and not (config.resume or config.overwrite):
        raise ConfigError(
            f"{path} already holds a run: --resume goes on with it, --overwrite deletes it, "
            "another --run_dir leaves it alone"
        )
    return RunFolder(path)


def open_run(folder: RunFolder, config: Config) -> None:
    """Create the folder (empty it first with --overwrite) and write the resolved settings."""
    if config.overwrite and (folder.path / CONFIG_FILE).exists():
        shutil.rmtree(folder.path)
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        write_text(folder.path / CONFIG_FILE, config.to_json())
    except OSError as error:
        raise ConfigError(f"{folder.path}: cannot be written ({error.strerror})") from None


def _plain(value: Any) -> Any:
    """Turn NumPy numbers and arrays, tuples and NaN into what JSON has."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
