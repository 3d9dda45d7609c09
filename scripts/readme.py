"""Write README.md's numbers and its figure from finished runs.

    python -m scripts.readme --dense RUN [RUN ...] --dlstudio RUN [RUN ...]

The runs of a group differ in their seed only: configs/quick.py as it is, and the same settings
with --head=dlstudio. The table goes between the markers in README.md, what it was made from into
docs/results/quick.json, and the same test images under both heads into docs/figures/heads.png.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segjax import plots
from segjax.checkpoint import Checkpoints
from segjax.errors import ConfigError
from segjax.evaluate import make_predict
from segjax.rundir import RunFolder, write_text
from segjax.runner import Trainer
from segjax.sources import load_splits

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- numbers: scripts/readme.py -->", "<!-- end of numbers -->"
SHOWN_IMAGES, SHOWN_CLASSES = 4, 3  # the first test images with at least so many classes


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the runs, write the three files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dense", nargs="+", required=True, type=Path)
    parser.add_argument("--dlstudio", nargs="+", required=True, type=Path)
    chosen = parser.parse_args(arguments)
    groups = {"dense": chosen.dense, "dlstudio": chosen.dlstudio}
    summary = {name: summarise(folders) for name, folders in groups.items()}
    target = ROOT / "docs" / "results" / "quick.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, json.dumps(summary, indent=2) + "\n")
    readme = ROOT / "README.md"
    write_text(readme, insert(readme.read_text(encoding="utf-8"), "\n".join(lines_of(summary))))
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


def lines_of(summary: dict[str, dict[str, Any]]) -> list[str]:
    """Return the lines of the table and of what it was measured on."""
    names = list(summary["dense"]["class_iou"])
    lines = [
        "| output layer | n | mean IoU | " + " | ".join(names) + " | training, s |",
        "|---|---|---|" + "---|" * (len(names) + 1),
    ]
    titles = {"dense": "repaired (`dense`)", "dlstudio": "DLStudio's (`dlstudio`)"}
    for key, title in titles.items():
        group = summary[key]
        cells = [title, str(len(group["seeds"])), f"**{spread(group['miou'])}**"]
        cells += [spread(group["class_iou"][name]) for name in names]
        cells.append(spread(group["train_seconds"], 0))
        lines.append("| " + " | ".join(cells) + " |")
    dense = summary["dense"]
    where, versions = dense["environment"], dense["environment"]["versions"]
    lines += [
        "",
        f"IoU on the {dense['test_images']:,} test images, half-value threshold, mean ± standard "
        f"deviation over n seeds; `configs/quick.py` (depth {dense['config']['depth']}, "
        f"{dense['steps']} steps of {dense['config']['batch_size']}, {dense['train_images']:,} "
        f"training images), the second row with `--head=dlstudio`. "
        f"{where['device']}, {where['cpu_cores']} cores, other programs running; "
        f"jax {versions['jax']}, Python {versions['python']}. Data: `docs/results/quick.json`.",
    ]
    return lines


def insert(text: str, block: str) -> str:
    """Replace what stands between the markers; ValueError if they are missing."""
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    return f"{head}{BEGIN}\n{block}\n{END}{tail}"


def heads_figure(folders: dict[str, Path]) -> Any:
    """Draw the same test images as two runs see them."""
    values, shown = {}, None
    titles = {"dlstudio": "DLStudio's output layer", "dense": "the repaired one"}
    for name in ("dlstudio", "dense"):
        folder = RunFolder(folders[name])
        config = folder.config()
        splits = load_splits(config)
        trainer = Trainer(config, splits, folder, print)
        state, _ = trainer.first_state()
        state = Checkpoints(folder.checkpoints).restore(state, which="best").state
        classes = (splits.test.masks > 0).any(axis=(1, 2)).sum(axis=-1)
        shown = splits.test.subset(np.flatnonzero(classes >= SHOWN_CLASSES)[:SHOWN_IMAGES])
        predict = make_predict(trainer.model, trainer.objective, stats=config.eval_stats)
        values[titles[name]] = np.asarray(predict(state.variables(), shown.images))
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
