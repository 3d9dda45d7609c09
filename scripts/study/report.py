"""The report at its own size: its table, its figures, and what becomes of its sentences.

All of it is asked of the records in docs/results/full, one finished run each.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from scripts.docs.markdown import plus_minus
from scripts.study.figures import comparison
from scripts.study.numbers import LOSS_TITLES, REPORT, REPORTED, WEIGHTS
from scripts.study.record import unpacked
from scripts.study.tables import Rows
from segjax import plots
from segjax.config import Config
from segjax.data.splits import load_splits
from segjax.dlstudio.floors import Reach

LAYERS = {"dlstudio": "DLStudio's layers", "dense-inside": "dense layers"}
PYTORCH = "mse-pytorch"
NAME = re.compile(r"(.+)-seed\d+")


class Report:
    """The records of the report's runs, by group; true when each loss has both kinds of layers."""

    def __init__(self, folder: Path, floors: dict[str, Any]) -> None:
        """Read ``folder``; ``floors`` are the output layer's on all training images."""
        self.reach = Reach(floors["mse_all_zero"], floors["mse"]) if floors else None
        self.groups: dict[str, list[dict[str, Any]]] = {}
        for file in sorted(folder.glob("*.json")):
            if name := NAME.fullmatch(file.stem):
                record = json.loads(file.read_text(encoding="utf-8"))
                self.groups.setdefault(name[1], []).append(record)

    def __bool__(self) -> bool:
        return all(f"{loss}-{layers}" in self.groups for loss in REPORT for layers in LAYERS)

    def losses(self, group: str) -> np.ndarray:
        """Return the mean losses of a group's first run, one for every 500 steps."""
        return np.array([line["loss"] for line in self.groups[group][0]["log"]])

    def floor(self, loss: str) -> float:
        """Return the lowest value of a loss that DLStudio's output layer can reach."""
        assert self.reach
        mse, dice = WEIGHTS[loss]
        return self.reach.best(mse=mse, dice=dice)[0]

    def values(self, group: str, *keys: str) -> list[Any]:
        """Return what each record of a group holds under its keys."""
        found: list[Any] = self.groups.get(group, [])
        for key in keys:
            found = [value[key] for value in found]
        return found

    def score(self, group: str, digits: int, *keys: str) -> str:
        """Write what a group's records hold under their keys, a mean over all that is below."""
        return plus_minus([float(np.mean(value)) for value in self.values(group, *keys)], digits)

    def row(self, group: str, title: str, loss: str) -> list[str]:
        """Return a row of the table: its losses and its scores."""
        ends = [[run["log"][at]["loss"] for run in self.groups[group]] for at in (0, -1)]
        digits = 3 if loss == "dice" else 1
        floor = "" if group.endswith("dense-inside") else f"{self.floor(loss):.{digits}f}"
        half, windows = (("results", "test", way, "mean", "iou") for way in ("half", "windows"))
        recoloured = ("measured", "leak", "recoloured", "iou")
        boundary = ("measured", "shapes", "boundary_f1_mean")
        scores = [self.score(group, 3, *keys) for keys in (half, recoloured, windows, boundary)]
        count = str(len(self.groups[group]))
        return [title, count, *(plus_minus(end, digits) for end in ends), floor, *scores]

    def rows(self) -> Rows:
        """Return the report's own numbers, then each loss under both kinds of layers."""
        rows = [
            [f"{LOSS_TITLES[name]}, the report", "1", *map(str, ends)]
            for name, ends in REPORTED.items()
        ]
        for layers, title in LAYERS.items():
            if layers == "dlstudio" and PYTORCH in self.groups:
                rows.append(self.row(PYTORCH, "MSE, DLStudio in PyTorch", "mse"))
            both = ((f"{n}-{layers}", f"{LOSS_TITLES[n]}, {title}", n) for n in REPORT)
            rows += [self.row(*each) for each in both]
        return rows

    def fall(self, loss: str) -> float:
        """Return by what share a loss falls with DLStudio's layers."""
        losses = self.losses(f"{loss}-dlstudio")
        return float(1 - losses[-1] / losses[0])

    def way(self, loss: str) -> float:
        """Return how much of the way from its first mean to its floor a loss goes."""
        losses = self.losses(f"{loss}-dlstudio")
        return float((losses[0] - losses[-1]) / (losses[0] - self.floor(loss)))

    def scaled(self, loss: str) -> np.ndarray:
        """Return a curve as the report draws it, between its own least and most."""
        losses = self.losses(f"{loss}-dlstudio")
        return (losses - losses.min()) / np.ptp(losses)

    def rough(self, loss: str) -> float:
        """Return the mean change of a scaled curve's slope from one mean to the next."""
        return float(np.abs(np.diff(self.scaled(loss), 2)).mean())

    def verdicts(self) -> Rows:
        """Return the report's sentences, whether each holds at its own size, and by what."""

        def iou(loss: str, way: str = "half", key: str = "iou", layers: str = "dlstudio") -> float:
            keys = ("results", "test", way, "mean", key)
            return float(np.mean(self.values(f"{loss}-{layers}", *keys)))

        def edges(loss: str) -> float:
            keys = ("measured", "shapes", "boundary_f1_mean")
            return float(np.mean(self.values(f"{loss}-dlstudio", *keys)))

        falls, rough = ({n: f(n) for n in REPORT} for f in (self.fall, self.rough))
        apart = float(np.abs(self.scaled("combo20") - self.scaled("mse")).max())
        others = ", ".join(f"{LOSS_TITLES[n]} {falls[n]:.1%}" for n in REPORT[:3])
        found = [
            ("MSE improved much more than Dice", self.way("mse") > 2 * self.way("dice"),
             f"MSE falls by {falls['mse']:.1%} and Dice by {falls['dice']:.1%}; of the way to its "
             f"floor MSE goes {self.way('mse'):.0%}, Dice {self.way('dice'):.0%}"),
            ("Dice is smoother", rough["dice"] < rough["mse"],
             f"from one mean to the next its slope changes by {rough['dice']:.1%} of the curve's "
             f"range, MSE's by {rough['mse']:.1%}"),
            ("with 20 Dice it remained very similar", apart < 0.05,
             f"scaled to 0..1 the two curves are never more than {apart:.3f} apart; mean IoU "
             f"{iou('combo20'):.3f} and {iou('mse'):.3f}"),
            ("400 Dice has the greatest increase", max(falls, key=lambda n: falls[n]) == "combo400",
             f"it falls by {falls['combo400']:.1%}; {others}"),
            ("and is smoother", rough["combo400"] < rough["mse"],
             f"its slope changes by {rough['combo400']:.1%} of its range, MSE's by "
             f"{rough['mse']:.1%}"),
            ("Dice did well at boundaries", edges("dice") >= edges("mse"),
             f"boundary F1 within a pixel {edges('dice'):.3f}, MSE {edges('mse'):.3f}"),
            ("but misclassified", iou("dice", key="precision") < iou("mse", key="precision"),
             f"of the pixels it gives to a class {iou('dice', key='precision'):.0%} are of it, of "
             f"MSE's {iou('mse', key='precision'):.0%}"),
            ("and failed to fill in the pixels of solid objects",
             max(iou(n, key="recall") for n in REPORT) < 0.26,
             f"as does every loss: of a class's pixels Dice finds {iou('dice', key='recall'):.0%}, "
             f"MSE {iou('mse', key='recall'):.0%}; with dense layers "
             f"{iou('dice', key='recall', layers='dense-inside'):.0%} and "
             f"{iou('mse', key='recall', layers='dense-inside'):.0%}"),
        ]  # fmt: skip
        return [
            [f'"{quote}"', "confirmed" if holds else "**refuted**", evidence]
            for quote, holds, evidence in found
        ]

    def note(self) -> str:
        """Return where these runs ran."""
        places: dict[str, None] = {}
        for record in (run for group in self.groups.values() for run in group):
            about = record["results"]["environment"]
            where = f"{about['device']}, jax {about['versions']['jax']}"
            if "torch" in about["versions"]:
                where = f"DLStudio: {about['device']}, PyTorch {about['versions']['torch']}"
            places[f"{where}, commit {about['commit']}"] = None
        return "; ".join(places)


def curves(report: Report) -> Figure:
    """Draw Figure 1: the four losses normalised, and beside them as they are, with floors."""
    groups = {LOSS_TITLES[name]: f"{name}-dlstudio" for name in REPORT}
    floors = {LOSS_TITLES[name]: report.floor(name) for name in REPORT}
    if PYTORCH in report.groups:
        groups["MSE, DLStudio in PyTorch"] = PYTORCH
        floors["MSE, DLStudio in PyTorch"] = report.floor("mse")
    return plots.normalised_losses_figure(
        {title: report.losses(group).tolist() for title, group in groups.items()},
        floors=floors,
        steps_per_point=report.groups["mse-dlstudio"][0]["log"][0]["step"],
        title="The report's recipe at its own size: running means of the training loss",
    )


def pictures(report: Report, layers: str) -> Figure:
    """Draw Figure 2: the same test images under the four losses. It reads the test file."""
    groups = {LOSS_TITLES[name]: f"{name}-{layers}" for name in REPORT}
    title = f"The same test images under the four losses, {LAYERS[layers]}"
    return shown(report, groups, title=title)


def shown(report: Report, groups: dict[str, str], *, title: str) -> Figure:
    """Draw the records' test images as the first runs of groups, by title, see them."""
    records = {name: report.groups[group][0] for name, group in groups.items()}
    rows = next(iter(records.values()))["shown"]["test_images"]
    data = load_splits(Config(), say=lambda line: None).test.subset(np.array(rows))
    values = {name: unpacked(record).astype(float) for name, record in records.items()}
    return comparison(data, values, title=title)
