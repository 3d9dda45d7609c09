"""Write README.md's numbers and its figure, python -m scripts.docs.readme, from docs/results.

The table goes between the markers in README.md: the report's recipe at full size under both kinds
of layers (full), then configs/quick.py and configs/speedrun.py (written by scripts.speedrun). The
figure, docs/figures/heads.png, shows test images under both kinds of layers; it reads their file.
"""

import json
from typing import Any

from scripts.docs.markdown import ROOT, filled, plus_minus, table, write_part
from scripts.study.report import Report, shown
from segjax import plots

RESULTS = ROOT / "docs" / "results"
LAYERS = {"DLStudio's layers": "mse-dlstudio", "dense layers": "mse-dense-inside"}


def main() -> None:
    """Read the records, write the table and the figure."""
    quick, speedrun = (
        json.loads((RESULTS / f"{name}.json").read_text("utf-8")) for name in ("quick", "speedrun")
    )
    report = Report(RESULTS / "full", {})
    text = text_of(report, quick, speedrun)
    write_part(ROOT / "README.md", "numbers", "scripts/docs/readme.py", text)
    title = "DLStudio's recipe at full size: the same test images under both kinds of layers"
    plots.save(shown(report, LAYERS, title=title), ROOT / "docs" / "figures" / "heads.png")


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

    quick_title = f"mUnet, depth {quick['config']['depth']}, dense layers, `configs/quick.py`"
    fast = {quick_title: quick, "small U-Net, `configs/speedrun.py`": speedrun}
    for title, found in fast.items():
        mean, recoloured = (found[f"{name}_miou"] for name in ("test", "recoloured"))
        ious = [plus_minus(found["test_class_iou"][name]) for name in names]
        seconds = plus_minus(found["train_seconds"], 0)
        cells = [f"**{plus_minus(mean)}**", plus_minus(recoloured), *ious, seconds]
        rows.append([title, found["n"], *cells])
    head = ["network and recipe", "n", "mean IoU", "recoloured", *names, "training, s"]
    [full, *_] = report.values(LAYERS["dense layers"], "results")
    about = {"full": full, "quick": quick, "speedrun": speedrun}
    return filled(__file__, table="\n".join(table(head, rows)), **about)


if __name__ == "__main__":
    main()
