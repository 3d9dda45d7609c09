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

from scripts.docs.markdown import plus_minus, replace_between, same_settings, table
from segjax.config import Config
from segjax.errors import ConfigError
from segjax.files import write_text
from segjax.runs.folder import RESULTS_FILE, RunFolder
from segjax.runs.seeds import spread

ROOT = Path(__file__).resolve().parents[2]
GOALS = {"speedrun": 0.95, "best": 0.99}  # mean IoU each recipe aims for
HEADING = "## Time to quality\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the seeds that are asked for, then write JSON and table from all that are there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--recipe", choices=GOALS, default="speedrun")
    parser.add_argument("--runs", type=Path, help="default: runs/RECIPE")
    parser.add_argument("--seeds", default="", help="comma-separated; empty: gather only")
    chosen = parser.parse_args(arguments)
    recipe, runs = chosen.recipe, chosen.runs or Path("runs") / chosen.recipe
    for seed in filter(None, chosen.seeds.split(",")):
        train(runs / f"seed-{int(seed)}", recipe=recipe, seed=int(seed))
    folders = sorted(file.parent for file in runs.glob(f"seed-*/{RESULTS_FILE}"))
    if not folders:
        raise SystemExit(f"{runs}: holds no finished run; name --seeds")
    summary = summarise([RunFolder(folder) for folder in folders], goal=GOALS[recipe])
    file = ROOT / "docs" / "results" / f"{recipe}.json"
    write_text(file, json.dumps(summary, indent=2) + "\n")
    page = ROOT / "docs" / "performance.md"
    text = page.read_text(encoding="utf-8") if page.exists() else "# Performance\n"
    write_text(page, insert(text, "\n".join(lines_of(summary, recipe)), recipe))


def train(folder: Path, *, recipe: str, seed: int) -> None:
    """Train ``recipe`` with ``seed``, unless ``folder`` holds its results already."""
    if (folder / RESULTS_FILE).exists():
        return
    from segjax.training.run import run

    config: Config = importlib.import_module(f"configs.{recipe}").get_config()
    run(config.replace(seed=seed, run_dir=str(folder), overwrite=True, progress="off"))


def summarise(folders: Sequence[RunFolder], *, goal: float) -> dict[str, Any]:
    """Gather runs that differ in their seed only; ConfigError if they differ in more."""
    results = [folder.results() for folder in folders]
    settings = same_settings(
        results, ("seed", "run_dir", "overwrite"), "the runs differ in more than their seed"
    )
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


def lines_of(summary: Mapping[str, Any], recipe: str) -> list[str]:
    """Return the table and the line of what it was measured on."""
    classes, config = summary["test_class_iou"], summary["config"]
    texts = {
        "n": summary["n"],
        "training, s": plus_minus(summary["train_seconds"]["values"], 0),
        "of that compiling, s": plus_minus(summary["compile_seconds"]["values"], 0),
        "test mIoU": f"**{plus_minus(summary['test_miou']['values'])}**",
        "lowest": f"{min(summary['test_miou']['values']):.3f}",
        **{name: plus_minus(scores["values"]) for name, scores in classes.items()},
    }
    where = summary["environment"]
    versions = where["versions"]
    reached = [seconds for seconds in summary["seconds_to_goal_on_validation"] if seconds]
    return [
        *table(list(texts), [list(texts.values())]),
        "",
        f"`configs/{recipe}.py`: {summary['parameters']:,} parameters, {summary['steps']:,} steps "
        f"of {config['batch_size']}, {summary['train_images']:,} training images; the clock runs "
        "from before the first step's compilation to the end of training, validation after each "
        f"epoch included. {len(reached)} of {summary['n']} seeds had {summary['goal']} on the "
        "validation images when an epoch ended"
        + (f", the first time after {plus_minus(reached, 0)} s" if reached else "")
        + f". IoU on the {summary['test_images']:,} test images, half-value threshold; mean ± "
        f"standard deviation over n seeds. {where['device']}, {where['cpu_cores']} cores; "
        f"jax {versions['jax']}, Python {versions['python']}. Data: `docs/results/{recipe}.json`.",
    ]


def insert(text: str, block: str, recipe: str) -> str:
    """Put ``block`` between the recipe's markers; where they are missing, at the end with them."""
    begin, end = f"<!-- {recipe}: scripts/docs/speedrun.py -->", f"<!-- end of {recipe} -->"
    if begin not in text:
        text = f"{text.rstrip()}\n\n{HEADING}\n{begin}\n{end}\n"
    return replace_between(text, begin, end, block)


if __name__ == "__main__":
    main()
