"""Write README.md's numbers and its figure from finished runs.

    python -m scripts.docs.readme --dense RUN [RUN ...] --dlstudio RUN [RUN ...]

``--untimed GROUP`` leaves out the seconds of a group that ran while other programs did.

The runs of a group differ in their seed only: configs/quick.py as it is, and the same settings
with --head=dlstudio. The table goes between the markers in README.md, what it was made from into
docs/results/quick.json, and the same test images under both heads into docs/figures/heads.png. A
row for configs/speedrun.py comes from docs/results/speedrun.json (scripts/docs/speedrun.py).
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scripts.docs.marks import replace_between
from segjax import plots
from segjax.data.splits import load_splits
from segjax.errors import ConfigError
from segjax.predict.trained import load_trained
from segjax.runs.folder import RunFolder, write_text
from segjax.training.evaluate import make_predict

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- numbers: scripts/docs/readme.py -->", "<!-- end of numbers -->"
SHOWN_IMAGES, SHOWN_CLASSES = 4, 3  # the first test images with at least so many classes


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the runs, write the three files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dense", nargs="+", required=True, type=Path)
    parser.add_argument("--dlstudio", nargs="+", required=True, type=Path)
    parser.add_argument(
        "--untimed", nargs="*", default=[], help="groups that ran while other programs did"
    )
    chosen = parser.parse_args(arguments)
    groups = {"dense": chosen.dense, "dlstudio": chosen.dlstudio}
    summary = {name: summarise(folders) for name, folders in groups.items()}
    for name in chosen.untimed:
        summary[name]["train_seconds"] = None
    speedrun = json.loads((ROOT / "docs" / "results" / "speedrun.json").read_text("utf-8"))
    target = ROOT / "docs" / "results" / "quick.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, json.dumps(summary, indent=2) + "\n")
    readme = ROOT / "README.md"
    text, block = readme.read_text(encoding="utf-8"), "\n".join(lines_of(summary, speedrun))
    write_text(readme, replace_between(text, BEGIN, END, block))
    figure = heads_figure({name: folders[0] for name, folders in groups.items()})
    plots.save(figure, ROOT / "docs" / "figures" / "heads.png")


def summarise(folders: Sequence[Path]) -> dict[str, Any]:
    """Gather the scores of runs that differ in nothing but their seed."""
    results = [RunFolder(folder).results() for folder in folders]
    settings = [{**found["config"], "seed": None, "run_dir": None} for found in results]
    if any(other != settings[0] for other in settings):
        raise ConfigError("the runs of a group differ in more than their seed")
    half = [found["test"]["half"] for found in results]
    environment = results[0]["environment"]
    return {
        "seeds": [found["config"]["seed"] for found in results],
        "miou": [scores["mean"]["iou"] for scores in half],
        "mean_dice": [scores["mean"]["dice"] for scores in half],
        "class_iou": {
            name: [scores["per_class"]["iou"][index] for scores in half]
            for index, name in enumerate(results[0]["classes"])
        },
        "train_seconds": [found["train_seconds"] for found in results],
        "train_images": results[0]["train_images"],
        "test_images": results[0]["test"]["images"],
        "steps": results[0]["steps"],
        "parameters": results[0]["parameters"],
        "environment": environment,
        "config": settings[0],
    }


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Write mean and standard deviation."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def lines_of(summary: dict[str, dict[str, Any]], speedrun: dict[str, Any]) -> list[str]:
    """Return the lines of the table and of what it was measured on."""
    names = list(summary["dense"]["class_iou"])
    lines = [
        "| network, output layer | n | mean IoU | " + " | ".join(names) + " | training, s |",
        "|---|---|---|" + "---|" * (len(names) + 1),
    ]
    titles = {"dlstudio": "mUnet, DLStudio's", "dense": "mUnet, repaired"}
    for key, title in titles.items():
        group = summary[key]
        seconds = group["train_seconds"]
        cells = [title, str(len(group["seeds"])), f"**{spread(group['miou'])}**"]
        cells += [spread(group["class_iou"][name]) for name in names]
        cells.append("-" if seconds is None else spread(seconds, 0))
        lines.append("| " + " | ".join(cells) + " |")
    values = {name: speedrun["test_class_iou"][name]["values"] for name in names}
    cells = ["small U-Net", str(speedrun["n"]), f"**{spread(speedrun['test_miou']['values'])}**"]
    cells += [spread(values[name]) for name in names]
    cells.append(spread(speedrun["train_seconds"]["values"], 0))
    lines.append("| " + " | ".join(cells) + " |")
    dense = summary["dense"]
    where, versions = dense["environment"], dense["environment"]["versions"]
    lines += [
        "",
        f"IoU on the {dense['test_images']:,} test images, half-value threshold, mean ± standard "
        f"deviation over n seeds. Second row: `configs/quick.py` (depth {dense['config']['depth']},"
        f" {dense['steps']:,} steps of {dense['config']['batch_size']}, {dense['train_images']:,} "
        "training images); first row: the same with `--head=dlstudio`; third: "
        f"`configs/speedrun.py` ({speedrun['steps']:,} steps of "
        f"{speedrun['config']['batch_size']}). Seconds include compilation and validation. "
        f"{where['device']}, {where['cpu_cores']} cores; jax {versions['jax']}, "
        f"Python {versions['python']}. Data: `docs/results/quick.json`, `speedrun.json`.",
    ]
    return lines


def heads_figure(folders: dict[str, Path]) -> Any:
    """Draw the same test images as two runs see them."""
    values, shown = {}, None
    titles = {"dlstudio": "DLStudio's output layer", "dense": "the repaired one"}
    for name in ("dlstudio", "dense"):
        folder = RunFolder(folders[name])
        config = folder.config()
        splits = load_splits(config)
        trained = load_trained(folder.path)
        classes = (splits.test.masks > 0).any(axis=(1, 2)).sum(axis=-1)
        shown = splits.test.subset(np.flatnonzero(classes >= SHOWN_CLASSES)[:SHOWN_IMAGES])
        predict = make_predict(trained.model, trained.objective, stats=config.eval_stats)
        values[titles[name]] = np.asarray(predict(trained.variables, shown.images))
    assert shown is not None
    return plots.comparison_figure(
        shown.images,
        shown.masks,
        values,
        class_names=shown.class_names,
        class_values=shown.class_values,
        boxes=[shown.boxes_of(index) for index in range(len(shown))],
        title="The same network, data and steps under two output layers",
    )


if __name__ == "__main__":
    main()
