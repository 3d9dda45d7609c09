"""Measure the time to a test mIoU of 0.95, or the highest one: train seeds, write what came out.

    python -m scripts.speedrun --seeds=1,2,3
    python -m scripts.speedrun --recipe=best --seeds=1
    python -m scripts.speedrun --recipe=best

Trains ``configs/RECIPE.py`` once per seed into RUNS/seed-N (a seed that is there already is not
trained again), then gathers every seed in RUNS into docs/results/RECIPE.json and its table in
docs/performance.md. Without --seeds it only gathers. Let nothing else run meanwhile, or the seconds
are not the recipe's.
"""

import argparse
import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.docs.markdown import plus_minus, same_settings, table, write_part
from segjax.errors import ConfigError
from segjax.files import write_text
from segjax.runs.folder import RESULTS_FILE, RunFolder
from segjax.runs.seeds import spread

ROOT = Path(__file__).resolve().parents[2]
GOALS = {"speedrun": 0.95, "best": 0.99}  # mean IoU each recipe aims for


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the seeds that are asked for, then write JSON and table from all that are there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--recipe", choices=GOALS, default="speedrun")
    parser.add_argument("--runs", type=Path, help="default: runs/RECIPE")
    parser.add_argument("--seeds", default="", help="comma-separated; empty: gather only")
    chosen = parser.parse_args(arguments)
    recipe, runs = chosen.recipe, chosen.runs or Path("runs") / chosen.recipe
    from segjax.training.run import run

    for seed in map(int, filter(None, chosen.seeds.split(","))):
        if not (runs / f"seed-{seed}" / RESULTS_FILE).exists():
            config = importlib.import_module(f"configs.{recipe}").get_config()
            where = {"run_dir": str(runs / f"seed-{seed}"), "overwrite": True}
            run(config.replace(seed=seed, progress="off", **where))
    folders = sorted(file.parent for file in runs.glob(f"seed-*/{RESULTS_FILE}"))
    if not folders:
        raise SystemExit(f"{runs}: holds no finished run; name --seeds")
    summary = summarise([RunFolder(folder) for folder in folders], goal=GOALS[recipe])
    file = ROOT / "docs" / "results" / f"{recipe}.json"
    write_text(file, json.dumps(summary, indent=2) + "\n")
    text = text_of(summary, recipe)
    write_part(ROOT / "docs" / "performance.md", recipe, "docs/speedrun.py", text)


def summarise(folders: Sequence[RunFolder], *, goal: float) -> dict[str, Any]:
    """Gather runs that differ in their seed only; ConfigError if they differ in more."""
    results = [folder.results() for folder in folders]
    differ = "the runs differ in more than their seed"
    settings = same_settings(results, ("seed", "run_dir", "overwrite"), differ)
    where = [{**found["environment"], "commit": None} for found in results]
    if any(other != where[0] for other in where):
        raise ConfigError("the runs come from different devices or versions")
    records = [folder.records() for folder in folders]
    half = [found["test"]["half"] for found in results]
    return {
        "goal": goal,
        "n": len(results),
        "seeds": [found["config"]["seed"] for found in results],
        "train_seconds": with_values([found["train_seconds"] for found in results]),
        "compile_seconds": with_values([compile_seconds(logged) for logged in records]),
        "seconds_to_goal_on_validation": [seconds_to_goal(logged, goal) for logged in records],
        "test_miou": with_values([scores["mean"]["iou"] for scores in half]),
        "test_class_iou": {
            name: with_values([scores["per_class"]["iou"][index] for scores in half])
            for index, name in enumerate(results[0]["classes"])
        },
        "val_miou_by_epoch": [
            [record["val_miou"] for record in logged if record["kind"] == "validation"]
            for logged in records
        ],
        "train_images": results[0]["train_images"],
        "test_images": results[0]["test"]["images"],
        "steps": results[0]["steps"],
        "parameters": results[0]["parameters"],
        "commits": [found["environment"].get("commit") for found in results],
        "environment": where[0],
        "config": settings,
    }


def with_values(values: Sequence[float]) -> dict[str, Any]:
    """Return values, their mean and, of two or more, their standard deviation."""
    found = spread(values)
    return {"values": list(values), "mean": found["mean"], "deviation": found["std"]}


def compile_seconds(records: Sequence[Mapping[str, Any]]) -> float:
    """Return what the first logged steps took beyond as many of the following ones.

    That is the compilation of the training step, on the clock like everything else.
    """
    first, second = [record for record in records if record["kind"] == "train"][:2]
    took = (second["seconds"] - first["seconds"]) / second["mean_over"] * first["mean_over"]
    return float(first["seconds"] - took)


def seconds_to_goal(records: Sequence[Mapping[str, Any]], goal: float) -> float | None:
    """Return the clock at the end of the first epoch that validated at ``goal``, or None."""
    validated = (record for record in records if record["kind"] == "validation")
    return next((float(r["seconds"]) for r in validated if r["val_miou"] >= goal), None)


def text_of(summary: Mapping[str, Any], recipe: str) -> str:
    """Return the table and what it was measured on."""
    texts = {
        "n": summary["n"],
        "training, s": plus_minus(summary["train_seconds"]["values"], 0),
        "of that compiling, s": plus_minus(summary["compile_seconds"]["values"], 0),
        "test mIoU": f"**{plus_minus(summary['test_miou']['values'])}**",
        "lowest": f"{min(summary['test_miou']['values']):.3f}",
    }
    classes = summary["test_class_iou"].items()
    texts |= {name: plus_minus(scores["values"]) for name, scores in classes}
    reached = [seconds for seconds in summary["seconds_to_goal_on_validation"] if seconds]
    first = f", the first time after {plus_minus(reached, 0)} s" if reached else ""
    rows = "\n".join(table(list(texts), [list(texts.values())]))
    text = Path(__file__).with_name("speedrun.md").read_text(encoding="utf-8")
    return text.format(table=rows, recipe=recipe, reached=len(reached), first=first, **summary)


if __name__ == "__main__":
    main()
