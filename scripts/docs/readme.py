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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.docs.markdown import plus_minus, same_settings, table, write_part
from scripts.study.figures import comparison, rich_images
from scripts.study.measure import predict_values
from segjax import plots
from segjax.data.splits import load_splits
from segjax.files import write_text
from segjax.predict.trained import load_trained
from segjax.runs.folder import RunFolder

ROOT = Path(__file__).resolve().parents[2]
SHOWN_IMAGES = 4


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the runs, write the three files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name in ("dense", "dlstudio"):
        parser.add_argument(f"--{name}", nargs="+", required=True, type=Path)
    told = "groups that ran while other programs did"
    parser.add_argument("--untimed", nargs="*", default=[], help=told)
    chosen = parser.parse_args(arguments)
    groups = {"dense": chosen.dense, "dlstudio": chosen.dlstudio}
    summary = {name: summarise(folders) for name, folders in groups.items()}
    for name in chosen.untimed:
        summary[name]["train_seconds"] = None
    results = ROOT / "docs" / "results"
    speedrun = json.loads((results / "speedrun.json").read_text("utf-8"))
    write_text(results / "quick.json", json.dumps(summary, indent=2) + "\n")
    text = text_of(summary, speedrun)
    write_part(ROOT / "README.md", "numbers", "docs/readme.py", text)
    figure = heads_figure({name: folders[0] for name, folders in groups.items()})
    plots.save(figure, ROOT / "docs" / "figures" / "heads.png")


def summarise(folders: Sequence[Path]) -> dict[str, Any]:
    """Gather the scores of runs that differ in nothing but their seed."""
    results = [RunFolder(folder).results() for folder in folders]
    differ = "the runs of a group differ in more than their seed"
    settings = same_settings(results, ("seed", "run_dir"), differ)
    half = [found["test"]["half"] for found in results]
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
        "environment": results[0]["environment"],
        "config": settings,
    }


def text_of(summary: dict[str, dict[str, Any]], speedrun: dict[str, Any]) -> str:
    """Return the table and what it was measured on."""
    names = list(summary["dense"]["class_iou"])

    def row(title: str, n: int, miou: list[float], ious: list[list[float]], seconds: Any) -> Any:
        scores = [f"**{plus_minus(miou)}**", *map(plus_minus, ious)]
        return [title, n, *scores, plus_minus(seconds or [], 0)]

    rows = []
    for key, title in {"dlstudio": "mUnet, DLStudio's", "dense": "mUnet, repaired"}.items():
        group = summary[key]
        ious = [group["class_iou"][name] for name in names]
        rows.append(row(title, len(group["seeds"]), group["miou"], ious, group["train_seconds"]))
    ious = [speedrun["test_class_iou"][name]["values"] for name in names]
    miou, seconds = (speedrun[name]["values"] for name in ("test_miou", "train_seconds"))
    rows.append(row("small U-Net", speedrun["n"], miou, ious, seconds))
    head = ["network, output layer", "n", "mean IoU", *names, "training, s"]
    text = Path(__file__).with_name("readme.md").read_text(encoding="utf-8")
    return text.format(table="\n".join(table(head, rows)), **summary, speedrun=speedrun)


def heads_figure(folders: dict[str, Path]) -> Any:
    """Draw the same test images as two runs see them."""
    titles = {"dlstudio": "DLStudio's output layer", "dense": "the repaired one"}
    test = load_splits(RunFolder(folders["dense"]).config()).test
    shown = test.subset(rich_images(test, SHOWN_IMAGES))
    trained = {title: load_trained(folders[name]) for name, title in titles.items()}
    values = {title: predict_values(run, shown.images) for title, run in trained.items()}
    title = "The same network, data and steps under two output layers"
    return comparison(shown, values, title=title)


if __name__ == "__main__":
    main()
