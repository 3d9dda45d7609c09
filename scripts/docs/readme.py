"""Write README.md's numbers and its figure from records and finished runs.

    python -m scripts.docs.readme [--quick RUN [RUN ...]]

The table goes between the markers in README.md: the report's recipe at full size under both kinds
of layers (docs/results/full), configs/quick.py (docs/results/quick.json, made anew from the runs
given, which differ in their seed only) and configs/speedrun.py (docs/results/speedrun.json). The
figure, docs/figures/heads.png, shows test images under both kinds of layers; it reads their file.
``--untimed`` leaves out the seconds of runs that others ran beside.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.docs.markdown import plus_minus, same_settings, table, write_part
from scripts.study.report import Report, shown
from segjax import plots
from segjax.files import write_text
from segjax.runs.folder import RunFolder

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results"
LAYERS = {"DLStudio's layers": "mse-dlstudio", "dense layers": "mse-dense-inside"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Read records and runs, write the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--quick", nargs="*", default=[], type=Path, help="runs of configs/quick.py"
    )
    parser.add_argument("--untimed", action="store_true", help="others ran beside those")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        made = summarise(chosen.quick)
        if chosen.untimed:
            made["train_seconds"] = []
        write_text(RESULTS / "quick.json", json.dumps(made, indent=2) + "\n")
    quick, speedrun = (
        json.loads((RESULTS / f"{name}.json").read_text("utf-8")) for name in ("quick", "speedrun")
    )
    report = Report(RESULTS / "full", {})
    text = text_of(report, quick, speedrun)
    write_part(ROOT / "README.md", "numbers", "docs/readme.py", text)
    title = "DLStudio's recipe at full size: the same test images under both kinds of layers"
    plots.save(shown(report, LAYERS, title=title), ROOT / "docs" / "figures" / "heads.png")


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


def text_of(report: Report, quick: dict[str, Any], speedrun: dict[str, Any]) -> str:
    """Return the table and what it was measured on."""
    [names, *_] = report.values(LAYERS["dense layers"], "results", "classes")
    rows = []
    for title, group in LAYERS.items():
        half = report.values(group, "results", "test", "half")
        mean = plus_minus([scores["mean"]["iou"] for scores in half])
        of_class = zip(*(scores["per_class"]["iou"] for scores in half), strict=True)
        recoloured = report.score(group, 3, "measured", "leak", "recoloured", "iou")
        cells = [f"**{mean}**", recoloured, *(plus_minus(list(ious)) for ious in of_class), "-"]
        rows.append([f"mUnet, depth 16, DLStudio's recipe, {title}", len(half), *cells])

    def row(title: str, n: int, miou: list[float], ious: list[list[float]], seconds: Any) -> Any:
        scores = [f"**{plus_minus(miou)}**", "-", *map(plus_minus, ious)]
        return [title, n, *scores, plus_minus(seconds or [], 0)]

    ious = [quick["class_iou"][name] for name in names]
    told = f"mUnet, depth {quick['config']['depth']}, dense layers, `configs/quick.py`"
    rows.append(row(told, len(quick["seeds"]), quick["miou"], ious, quick["train_seconds"]))
    ious = [speedrun["test_class_iou"][name]["values"] for name in names]
    miou, seconds = (speedrun[name]["values"] for name in ("test_miou", "train_seconds"))
    rows.append(row("small U-Net, `configs/speedrun.py`", speedrun["n"], miou, ious, seconds))
    head = ["network and recipe", "n", "mean IoU", "recoloured", *names, "training, s"]
    text = Path(__file__).with_name("readme.md").read_text(encoding="utf-8")
    [full, *_] = report.values(LAYERS["dense layers"], "results")
    about = {"full": full, "quick": quick, "speedrun": speedrun}
    return text.format(table="\n".join(table(head, rows)), **about)


if __name__ == "__main__":
    main()
