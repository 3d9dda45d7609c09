"""The report at its own size: its table, its figures, and what becomes of its sentences.

All of it is asked of the records in docs/results/full, one finished run each.
"""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from scripts.docs.markdown import plus_minus
from scripts.study.figures import comparison
from scripts.study.groups import LOSS_TITLES, REPORT, REPORTED, WEIGHTS
from scripts.study.record import unpacked
from scripts.study.tables import Rows
from segjax import plots
from segjax.config import Config
from segjax.data.splits import load_splits
from segjax.dlstudio.floors import Reach

LAYERS = {"dlstudio": "DLStudio's layers", "dense-inside": "dense layers"}
PYTORCH = "mse-pytorch"
NAME = re.compile(r"(.+)-seed\d+")
HALF = ("results", "test", "half", "mean")
RECOLOURED = ("measured", "leak", "recoloured", "iou")
BOUNDARY = ("measured", "shapes", "boundary_f1_mean")


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
        windows = ("results", "test", "windows", "mean", "iou")
        columns = ((*HALF, "iou"), RECOLOURED, windows, BOUNDARY)
        scores = [self.score(group, 3, *keys) for keys in columns]
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

    def course(self, loss: str) -> SimpleNamespace:
        """Return how a loss goes with DLStudio's layers.

        ``fall``: by what share it falls; ``way``: how much of the way from its first mean to its
        floor that is; ``scaled``: its curve as the report draws it, between its own least and most;
        ``rough``: the mean change of that curve's slope from one mean to the next.
        """
        losses = self.losses(f"{loss}-dlstudio")
        fell, scaled = losses[0] - losses[-1], (losses - losses.min()) / np.ptp(losses)
        way, rough = fell / (losses[0] - self.floor(loss)), np.abs(np.diff(scaled, 2)).mean()
        return SimpleNamespace(fall=fell / losses[0], way=way, scaled=scaled, rough=rough)

    def verdicts(self) -> Rows:
        """Return the report's sentences, whether each holds at its own size, and by what."""

        def mean(loss: str, key: str = "iou", layers: str = "dlstudio") -> float:
            return float(np.mean(self.values(f"{loss}-{layers}", *HALF, key)))

        of = {n: self.course(n) for n in REPORT}
        mse, dice, combo20, combo400 = of.values()
        edges = {n: float(np.mean(self.values(f"{n}-dlstudio", *BOUNDARY))) for n in REPORT}
        apart = float(np.abs(combo20.scaled - mse.scaled).max())
        others = ", ".join(f"{LOSS_TITLES[n]} {of[n].fall:.1%}" for n in REPORT[:3])
        found = [
            ("MSE improved much more than Dice", mse.way > 2 * dice.way,
             f"MSE falls by {mse.fall:.1%} and Dice by {dice.fall:.1%}; of the way to its "
             f"floor MSE goes {mse.way:.0%}, Dice {dice.way:.0%}"),
            ("Dice is smoother", dice.rough < mse.rough,
             f"from one mean to the next its slope changes by {dice.rough:.1%} of the curve's "
             f"range, MSE's by {mse.rough:.1%}"),
            ("with 20 Dice it remained very similar", apart < 0.05,
             f"scaled to 0..1 the two curves are never more than {apart:.3f} apart; mean IoU "
             f"{mean('combo20'):.3f} and {mean('mse'):.3f}"),
            ("400 Dice has the greatest increase", max(of, key=lambda n: of[n].fall) == "combo400",
             f"it falls by {combo400.fall:.1%}; {others}"),
            ("and is smoother", combo400.rough < mse.rough,
             f"its slope changes by {combo400.rough:.1%} of its range, MSE's by "
             f"{mse.rough:.1%}"),
            ("Dice did well at boundaries", edges["dice"] >= edges["mse"],
             f"boundary F1 within a pixel {edges['dice']:.3f}, MSE {edges['mse']:.3f}"),
            ("but misclassified", mean("dice", "precision") < mean("mse", "precision"),
             f"of the pixels it gives to a class {mean('dice', 'precision'):.0%} are of it, of "
             f"MSE's {mean('mse', 'precision'):.0%}"),
            ("and failed to fill in the pixels of solid objects",
             max(mean(n, "recall") for n in REPORT) < 0.26,
             f"as does every loss: of a class's pixels Dice finds {mean('dice', 'recall'):.0%}, "
             f"MSE {mean('mse', 'recall'):.0%}; with dense layers "
             f"{mean('dice', 'recall', layers='dense-inside'):.0%} and "
             f"{mean('mse', 'recall', layers='dense-inside'):.0%}"),
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
