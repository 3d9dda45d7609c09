"""Run what is missing of a plan: ordinary run folders, resumable, several processes at once."""

import contextlib
import dataclasses
import itertools
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from scripts.study.plan import BALANCES, GENERATOR_SEED, Run, Scale, balance_file, cost_of
from segjax.config import Config, settings_that_differ
from segjax.data.purdue.synthetic import synthetic, write_gz
from segjax.errors import ConfigError, Say
from segjax.loss_table import spec
from segjax.runs.folder import CONFIG_FILE, RESULTS_FILE, RunFolder
from segjax.runs.lock import locked

SECONDS_PER_UNIT = 0.15  # until a run of this study has been timed
WAIT_S = 20.0
MOST_AT_ONCE = 24
# In which runs of one program may differ.
OWN_SETTINGS = ("loss", "loss_params", "seed", "learning_rate")


@dataclasses.dataclass(frozen=True)
class Study:
    """A scale, its runs, and the folder that holds them."""

    scale: Scale
    runs: Sequence[Run]
    folder: Path
    records: Path | None = None  # where the report's own runs leave their results

    def path_of(self, run: Run) -> Path:
        """Return the folder of a run."""
        return self.folder / run.name

    def state_of(self, run: Run) -> Literal["done", "begun", "missing"]:
        """Tell how far a run is; ConfigError if its folder holds other settings than the plan."""
        path = self.path_of(run)
        if not (path / CONFIG_FILE).exists():
            return "missing"
        old, new = RunFolder(path).config(), run.config
        changes = settings_that_differ(old, new)
        if old.epochs != new.epochs:
            changes.append(f"--epochs was {old.epochs}, is {new.epochs}")
        if changes:
            raise ConfigError(
                f"{path}: the plan has changed since ({'; '.join(changes)}); delete that folder"
            )
        return "done" if (path / RESULTS_FILE).exists() else "begun"

    def done(self) -> list[Run]:
        """Return the finished runs."""
        return [run for run in self.runs if self.state_of(run) == "done"]

    def named(self, only: str) -> list[Run]:
        """Return the runs of the part ``only``, or in whose name that expression is found."""
        try:
            return [run for run in self.runs if only in run.parts or re.search(only, run.name)]
        except re.error as error:
            raise ConfigError(f"--only={only}: no regular expression ({error})") from None

    def left(self, only: str) -> list[Run]:
        """Return those ``named`` that are not finished."""
        return [run for run in self.named(only) if self.state_of(run) != "done"]

    def time_for(self, runs: Sequence[Run]) -> str:
        """Estimate how long runs take, by what the finished ones took."""
        took = cost = 0.0
        for run in self.done():
            files = (self.path_of(run) / name for name in (CONFIG_FILE, RESULTS_FILE))
            begun, ended = (file.stat().st_mtime for file in files)
            took, cost = took + ended - begun, cost + cost_of(self.scale, run)
        rate = took / cost if took > 0 else SECONDS_PER_UNIT
        return clock(rate * sum(cost_of(self.scale, run) for run in runs))


def listing(study: Study, only: str) -> list[str]:
    """Return a line for each run, and one with what is left."""
    chosen, left = study.named(only), study.left(only)
    lines = [f"{study.state_of(run):8} parts {','.join(run.parts):7} {run.name}" for run in chosen]
    ahead = study.time_for(left) if left else "nothing"
    return [*lines, f"{len(chosen) - len(left)} of {len(chosen)} runs done; left: {ahead}"]


def execute(
    study: Study, *, only: str = "", max_runs: int = 0, vectorised: bool = False, say: Say
) -> bool:
    """Run what is left in the plan's order; return False if a signal or the limit ended it.

    A run that another process is at is passed over, and waited for at the end. ``vectorised``, for
    accelerators: runs that differ in loss, seed and the like train in one program.
    """
    draw_balances(study, study.left(only), say=say)
    done = 0
    while left := study.left(only):
        waiting = True
        for run in left:
            mates = mates_of(study, run, left) if vectorised else [run]
            with contextlib.ExitStack() as claims:
                held = [m for m in mates if claims.enter_context(claim(study.folder, m.name))]
                mine = [mate for mate in held if study.state_of(mate) != "done"]
                if run not in mine:
                    continue
                waiting, ahead = False, study.time_for(study.left(only))
                names = ", ".join(mate.name for mate in mine)
                say(f"{names}: starting; all that is left takes about {ahead}")
                if not train(study, mine, say=say):
                    return False
            done += len(mine)
            if max_runs and done >= max_runs:
                return not study.left(only)
            if vectorised:
                break  # what is left has changed by more than this run
        if waiting:
            say(f"waiting for {len(left)} runs of other processes")
            time.sleep(WAIT_S)
    return True


def train(study: Study, runs: Sequence[Run], *, say: Say) -> bool:
    """Train and measure runs, several in one program; return False if a signal ended them."""
    from scripts.study.measure import keep_measures
    from scripts.study.record import keep_record
    from segjax.training.many import run_many
    from segjax.training.run import run

    told: list[str] = []
    started, configs = time.perf_counter(), []
    for entry in runs:
        begun, folder = study.state_of(entry) == "begun", str(study.path_of(entry))
        own = {"run_dir": folder, "resume": begun, "cache_dir": str(study.folder / "compiled")}
        configs.append(entry.config.replace(**own))
    if len(configs) == 1:
        results = [run(configs[0], say=told.append)]
    else:
        results = run_many(configs, at_once=True, say=told.append)
    for entry, result in zip(runs, results, strict=True):
        if result.error is not None:
            raise result.error
        if not result.finished:
            say(f"{entry.name}: {told[-1]}")
            return False
        keep_measures(study.path_of(entry), entry)
        if study.records and "report" in entry.parts:
            keep_record(study.path_of(entry), study.records / f"{entry.name}.json")
        loss, scores = (result.results["test"][key] for key in ("loss", "half"))
        say(f"{entry.name}: test loss {loss:.4g}, mean IoU {scores['mean']['iou']:.3f}")
    say(f"{len(runs)} done in {clock(time.perf_counter() - started)}")
    return True


def mates_of(study: Study, run: Run, left: Sequence[Run]) -> list[Run]:
    """Return ``run`` and the runs that can train in one program with it.

    They share their data and network and are all at their beginning; what is begun goes alone.
    """
    if study.state_of(run) == "begun":
        return [run]
    plain = {name: getattr(Config(), name) for name in OWN_SETTINGS}

    def shared(of: Run) -> Any:
        return of.config.replace(**plain), spec(of.config.loss).reads == "softmax"

    mates = (other for other in left if shared(other) == shared(run))
    return [mate for mate in mates if study.state_of(mate) == "missing"][:MOST_AT_ONCE]


def draw_balances(study: Study, runs: Sequence[Run], *, say: Say) -> None:
    """Draw the scenes of the class balances that the runs ask for, once."""
    asked = {run.config.train_file for run in runs} | {run.config.test_file for run in runs}
    for balance, (index, split) in itertools.product(BALANCES, enumerate(("train", "test"))):
        file = balance_file(study.folder, balance, split)
        if str(file) not in asked:
            continue
        with claim(study.folder, file.name) as mine:
            if mine and not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                say(f"drawing {file.name}")
                count, seed = study.scale.generated[index], GENERATOR_SEED + index
                write_gz(synthetic(count, seed=seed, class_probs=BALANCES[balance]), file)


def claim(folder: Path, name: str) -> contextlib.AbstractContextManager[bool]:
    """Hold a run against other processes of the study; yields False if one of them has it."""
    file = folder / "locks" / f"{name}.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    return locked(file)


def clock(seconds: float) -> str:
    """Write a duration."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
