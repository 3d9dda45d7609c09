"""A run's folder: its name, its files, and what is in them. Everything is written atomically."""

import contextlib
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from segjax.config import Config
from segjax.errors import ConfigError, Say, to_stderr
from segjax.files import naming, regular, write_text
from segjax.runs.logs import csv_text

CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.jsonl"
METRICS_TABLE = "metrics.csv"
RESULTS_FILE = "results.json"
# What the values of a log's records are, by their names.
_NUMBER = (int, float, type(None))
_KINDS: dict[str, Any] = {"kind": str} | dict.fromkeys(("step", "epoch", "iter", "mean_over"), int)
_KINDS |= dict.fromkeys(("loss", "val_loss", "val_miou", "seconds"), _NUMBER)


class RunFolder:
    """The files of one run. Get it by `segjax.runs.claim.claimed` or, to read, ``RunFolder(path)``.

    ``writes``: whether this process is the one that writes it; what others log is dropped.
    """

    def __init__(self, path: Path | str, *, writes: bool = True) -> None:
        self.path, self.writes = Path(path), writes
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"  # TensorBoard's event files
        self.profile = self.path / "profile"  # the profiler's traces

    def config(self) -> Config:
        """Read the resolved settings; ConfigError if there are none or they are damaged."""
        why = f"{CONFIG_FILE} is missing" if self.path.is_dir() else "there is no such folder"
        if self.path.is_file():
            why = "it is a file, not a folder"
        text = self._read(CONFIG_FILE, str, missing=f"holds no run ({why})")
        return Config.from_json(text, source=str(self.path / CONFIG_FILE))

    def records(self) -> list[dict[str, Any]]:
        """Read the log, oldest first; a last line cut short by a crash is left out."""
        records, bad = self._records()
        if bad:
            file = self.path / METRICS_FILE
            raise ConfigError(f"{file}: line {bad[0]} is no JSON object; delete that line")
        return records

    def _records(self) -> tuple[list[dict[str, Any]], list[int]]:
        """Return the log's records, and the numbers of the lines, but for the last, without one."""
        file = self.path / METRICS_FILE
        there = file.exists()
        text = regular(file).read_text(encoding="utf-8", errors="replace") if there else ""
        records, bad = [], []
        for number, line in enumerate(text.splitlines(), 1):
            with contextlib.suppress(ValueError, RecursionError):
                if isinstance(record := json.loads(line), dict) and all(
                    isinstance(value, _KINDS.get(name, object)) for name, value in record.items()
                ):
                    records.append(record)
                    continue
            bad.append(number)
        return records, [number for number in bad if number < len(text.splitlines())]

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one record to the log."""
        if not self.writes:
            return
        file = self.path / METRICS_FILE
        with naming(file), open(file, "a", encoding="utf-8") as log:
            log.write(json.dumps(plain(record)) + "\n")
        self._write(METRICS_TABLE, csv_text(self.records()))

    def sync_log(self) -> int:
        """Flush the log to the disk, as a checkpoint counts on it; return its number of records."""
        file = self.path / METRICS_FILE
        if not file.exists():
            return 0
        with naming(file), open(file, "rb+") as log:
            os.fsync(log.fileno())
        return len(self._records()[0])

    def rewind_log(self, step: int, *, expected: int = 0, say: Say = to_stderr) -> None:
        """Drop the records after ``step``, which a resumed run is going to write again.

        ``say`` hears of lines that cannot be read, and of records missing of the ``expected``.
        """
        file, (records, bad) = self.path / METRICS_FILE, self._records()
        for number in bad:
            say(f"{file}: line {number} is no JSON object and left out")
        kept = [record for record in records if record.get("step", 0) <= step]
        if len(kept) < expected:
            lost = expected - len(kept)
            say(f"{file}: {lost} of {expected} records up to step {step} are lost")
        self._write(METRICS_FILE, "".join(json.dumps(record) + "\n" for record in kept))
        self._write(METRICS_TABLE, csv_text(kept))

    def write_performance_numbers(self, epochs: int, log_steps: int) -> None:
        """Write DLStudio's performance_numbers_<epochs>.txt: one mean loss a line, 3 decimals."""
        full = [record for record in self.records() if record.get("mean_over") == log_steps]
        lines = "".join(f"{record['loss']:.3f}\n" for record in full)
        self._write(f"performance_numbers_{epochs}.txt", lines)

    def write_results(self, results: Mapping[str, Any]) -> None:
        """Write results.json; a number that is not one becomes null."""
        self._write(RESULTS_FILE, json.dumps(plain(results), indent=2) + "\n")

    def results(self) -> dict[str, Any]:
        """Read results.json; ConfigError if the run has not finished."""
        missing = "has no results.json; has the run ended?"
        results = self._read(RESULTS_FILE, json.loads, missing=missing)
        if not isinstance(results, dict):
            raise ConfigError(f"{self.path / RESULTS_FILE}: is no JSON object")
        return results

    def _read(self, name: str, parse: Callable[[str], Any], *, missing: str) -> Any:
        file = self.path / name
        try:
            return parse(regular(file).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise ConfigError(f"{self.path}: {missing}") from None
        except (OSError, ValueError, RecursionError) as error:
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


def plain(value: Any) -> Any:
    """Turn NumPy numbers and arrays, tuples and NaN into what JSON has."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
