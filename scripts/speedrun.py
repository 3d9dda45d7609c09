"""Measure a recipe's time and its test mIoU: train seeds, write what came out.

    python -m scripts.speedrun --seeds=1,2,3
    python -m scripts.speedrun --recipe=best --seeds=1

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

import numpy as np

from scripts.docs.markdown import ROOT, filled, plus_minus, table, write_part
from scripts.study.measure import leak
from segjax.data.splits import load_splits
from segjax.errors import ConfigError
from segjax.files import write_text
from segjax.predict.trained import load_trained
from segjax.runs.folder import RESULTS_FILE, RunFolder
from segjax.training.run import run

GOALS = {"quick": 0.93, "speedrun": 0.95, "best": 0.985}  # mean IoU each recipe aims for


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the seeds that are asked for, then write JSON and table from all that are there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--recipe", choices=GOALS, default="speedrun")
    parser.add_argument("--runs", type=Path, help="default: runs/RECIPE")
    parser.add_argument("--seeds", default="", help="comma-separated; empty: gather only")
    chosen = parser.parse_args(arguments)
    recipe, runs = chosen.recipe, chosen.runs or Path("runs") / chosen.recipe
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
    write_part(ROOT / "docs/performance.md", recipe, "scripts/speedrun.py", text)


def summarise(folders: Sequence[RunFolder], *, goal: float) -> dict[str, Any]:
    """Gather runs that differ in their seed only; ConfigError if they differ in more."""
    results = [folder.results() for folder in folders]
    own = dict.fromkeys(("seed", "run_dir", "overwrite"))
    settings = {**results[0]["config"], **own}
    if any({**found["config"], **own} != settings for found in results):
        raise ConfigError("the runs differ in more than their seed")
    where = [{**found["environment"], "commit": None} for found in results]
    if any(other != where[0] for other in where):
        raise ConfigError("the runs come from different devices or versions")
    records = [folder.records() for folder in folders]
    validated = [[r for r in logged if r["kind"] == "validation"] for logged in records]
    test = [found["test"]["half"]["per_class"]["iou"] for found in results]
    recoloured = [recoloured_iou(folder) for folder in folders]
    scores: dict[str, Any] = {}
    for scenes, runs in (("test", test), ("recoloured", recoloured)):
        scores[f"{scenes}_miou"] = [float(np.mean(ious)) for ious in runs]
        scores[f"{scenes}_class_iou"] = {
            name: ious for name, *ious in zip(results[0]["classes"], *runs, strict=True)
        }
    return {
        "goal": goal,
        "n": len(results),
        "seeds": [found["config"]["seed"] for found in results],
        "train_seconds": [found["train_seconds"] for found in results],
        "compile_seconds": [compile_seconds(logged) for logged in records],
        "seconds_to_goal_on_validation": [  # of the first epoch that validated at it
            next((float(r["seconds"]) for r in run if r["val_miou"] >= goal), None)
            for run in validated
        ],
        **scores,
        "val_miou_by_epoch": [[record["val_miou"] for record in run] for run in validated],
        **{name: results[0][name] for name in ("train_images", "steps", "parameters")},
        "test_images": results[0]["test"]["images"],
        "commits": [found["environment"].get("commit") for found in results],
        "environment": where[0],
        "config": settings,
    }


def recoloured_iou(folder: RunFolder) -> list[float]:
    """Return the IoU of each class on the test scenes in new colours."""
    config = folder.config().replace(composed_scenes=0)  # which the test does not need
    test = load_splits(config, say=lambda line: None).test
    [found] = leak(load_trained(folder.path), test, ["recoloured"]).values()
    return list(found["iou"])


def compile_seconds(records: Sequence[Mapping[str, Any]]) -> float:
    """Return what the first logged steps took beyond as many of the following ones.

    That is the compilation of the training step, on the clock like everything else.
    """
    first, second = [record for record in records if record["kind"] == "train"][:2]
    took = (second["seconds"] - first["seconds"]) / second["mean_over"] * first["mean_over"]
    return float(first["seconds"] - took)


def text_of(summary: Mapping[str, Any], recipe: str) -> str:
    """Return the table and what it was measured on."""
    rows = []
    for scenes, told in (("test", "as drawn"), ("recoloured", "in new colours")):
        miou = summary[f"{scenes}_miou"]
        classes = summary[f"{scenes}_class_iou"]
        of_class = [plus_minus(scores) for scores in classes.values()]
        rows.append([told, f"**{plus_minus(miou)}**", f"{min(miou):.3f}", *of_class])
    reached = [seconds for seconds in summary["seconds_to_goal_on_validation"] if seconds]
    about = {
        "table": "\n".join(table(["test scenes", "mIoU", "lowest", *classes], rows)),
        "trained": plus_minus(summary["train_seconds"], 0),
        "compiled": plus_minus(summary["compile_seconds"], 0),
        "reached": len(reached),
        "first": f", the first time after {plus_minus(reached, 0)} s" if reached else "",
    }
    return filled(__file__, recipe=recipe, **about, **summary)


if __name__ == "__main__":
    main()
