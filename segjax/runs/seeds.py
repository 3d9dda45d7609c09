"""Several seeds of the same settings: their run folders inside one folder, and their spread."""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segjax.config import Config, names_with
from segjax.errors import ConfigError
from segjax.runs.folder import CONFIG_FILE, RunFolder

NOT_SCORES = ("images", "seconds")  # numbers among a run's test results


def member_configs(config: Config, parent: Path) -> list[Config]:
    """Return the settings of the runs that --seeds=N stands for: seed, seed + 1, ...

    Each is a run like any other and can be resumed by itself. All see the same synthetic images.
    """
    seeds = range(config.seed, config.seed + config.seeds)
    common = config.replace(seeds=1, synthetic_seed=config.scenes_seed())
    members = [common.replace(seed=seed, run_dir=str(parent / f"seed{seed}")) for seed in seeds]
    return [
        member.replace(resume=config.resume and (Path(member.run_dir) / CONFIG_FILE).exists())
        for member in members
    ]


def is_finished(config: Config) -> bool:
    """Tell whether the run in --run_dir has ended with the settings that it has now."""
    try:
        done = RunFolder(config.run_dir).results()["config"]
    except (ConfigError, KeyError, TypeError):
        return False
    return all(done.get(name) == getattr(config, name) for name in names_with("tested"))


def summarise(members: Sequence[Config]) -> dict[str, Any]:
    """Read the results of finished runs: each in brief, and the spread of their test scores."""
    found = [RunFolder(member.run_dir).results() for member in members]
    brief = ("tested_step", "steps", "train_seconds", "runs_at_once")
    runs = [
        {"seed": member.seed, "folder": Path(member.run_dir).name}
        | {name: results[name] for name in brief if name in results}
        for member, results in zip(members, found, strict=True)
    ]
    summary: dict[str, Any] = {"runs": runs}
    if found:
        summary["classes"] = found[0]["classes"]
    if tests := [results["test"] for results in found if "test" in results]:
        summary["test"] = spread(tests)
    return summary


def spread(values: Sequence[Any]) -> Any:
    """Turn equal structures of numbers into one of {mean, std, n} in the place of each number.

    ``std`` is the sample standard deviation, None of a single value. A value that is None or not
    finite (the score of a class that a run's test did not have) is left out and not in ``n``.
    """
    first = values[0]
    if isinstance(first, Mapping):
        return {
            name: spread([value[name] for value in values])
            for name in first
            if name not in NOT_SCORES and not isinstance(first[name], str)
        }
    if isinstance(first, list):
        return [spread(items) for items in zip(*values, strict=True)]
    numbers = [float(value) for value in values if value is not None and math.isfinite(value)]
    return {
        "mean": statistics.fmean(numbers) if numbers else None,
        "std": statistics.stdev(numbers) if len(numbers) > 1 else None,
        "n": len(numbers),
    }


def summary_line(results: Mapping[str, Any]) -> str:
    """Return one line on the spread of the test scores in a parent folder's results."""
    count = len(results["runs"])
    if "test" not in results:
        return f"{count} seeds are trained; none was tested"
    half = results["test"]["half"]
    scores = half["mean"] | {"accuracy": half["pixel_accuracy"]}
    parts = []
    for name, key in (("mIoU", "iou"), ("Dice", "dice"), ("accuracy", "accuracy")):
        mean, std = scores[key]["mean"], scores[key]["std"]
        plus_minus = "" if std is None else f" ± {std:.4f}"
        parts.append(f"{name} -" if mean is None else f"{name} {mean:.4f}{plus_minus}")
    return f"test over {count} seeds: {', '.join(parts)} (mean ± sample standard deviation)"
