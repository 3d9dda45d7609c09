"""The study's figures that need nothing but its numbers."""

from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scripts.study.floors import Reach
from scripts.study.numbers import LOSS_TITLES, Numbers
from segjax import plots
from segjax.plots._style import DPI, STYLE, class_colour

BLUE, VERMILION, GREEN, PURPLE, ORANGE = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"
HEADS = {"dlstudio": (VERMILION, "o", "DLStudio's output layer"), "dense": (BLUE, "s", "dense")}
REPORT = ("mse", "dice", "combo20", "combo400")

Maker = Callable[[Numbers], Figure | None]


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=DPI)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.08)
    return figure


def report_curves(numbers: Numbers) -> Figure | None:
    """Draw Figure 1: the four losses normalised, and beside them as they are, with floors."""
    curves, floors = {}, {}
    step = 1
    for name in REPORT:
        run = numbers.first(f"{name}-dlstudio")
        if run is None:
            return None
        title = LOSS_TITLES[name]
        curves[title], step = run["curve"]["loss"], run["curve"]["step"][0]
        if run["floor"] is not None:
            floors[title] = run["floor"]
    return plots.normalised_losses_figure(
        curves,
        floors=floors,
        steps_per_point=step,
        title="DLStudio's recipe and output layer: running means of the training loss",
    )


@mpl.rc_context(STYLE)
def head_curves(numbers: Numbers) -> Figure | None:
    """Draw each loss under both output layers, all seeds, with the floor of DLStudio's."""
    figure = _figure(10, 6.4)
    panels = figure.subplots(2, 2).ravel()
    for panel, name in zip(panels, REPORT, strict=True):
        for head, (colour, _, label) in HEADS.items():
            runs = numbers.group(f"{name}-{head}")
            if not runs:
                return None
            steps = runs[0]["curve"]["step"]
            losses = np.array([run["curve"]["loss"] for run in runs])
            panel.plot(steps, losses.mean(0), color=colour, linewidth=1.8,
                       linestyle="-" if head == "dense" else "--",
                       label=f"{label} (n = {len(runs)})")  # fmt: skip
            if len(runs) > 1:
                panel.fill_between(steps, losses.min(0), losses.max(0), color=colour, alpha=0.2)
        faithful = numbers.first(f"{name}-dlstudio")
        title = LOSS_TITLES[name]
        if faithful is not None and (floor := faithful["floor"]) is not None:
            panel.axhline(floor, color="black", linestyle=":", linewidth=1.4,
                          label="floor of DLStudio's")  # fmt: skip
            title = f"{title} (floor {floor:.4g})"
        panel.set_title(title, fontsize=11, loc="left")
        panel.set_xlabel("iterations")
        panel.set_ylabel("training loss (running mean)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=3, fontsize=10, edgecolor="none", loc="outside upper left")
    return figure


@mpl.rc_context(STYLE)
def by_heart_curves(numbers: Numbers) -> Figure | None:
    """Draw how near a few images learned by heart come to the floors."""
    figure = _figure(10, 3.6)
    for panel, name in zip(figure.subplots(1, 3), ("mse", "dice", "combo400"), strict=True):
        run = numbers.first(f"by-heart-{name}-dlstudio")
        if run is None:
            return None
        panel.plot(run["curve"]["step"], run["curve"]["loss"], color=VERMILION, linestyle="--",
                   linewidth=1.8, label="DLStudio's output layer")  # fmt: skip
        dense = numbers.first(f"by-heart-{name}-dense")
        if dense is not None:
            panel.plot(dense["curve"]["step"], dense["curve"]["loss"], color=BLUE, linewidth=1.8,
                       label="dense")  # fmt: skip
        panel.axhline(run["floor"], color="black", linestyle=":", linewidth=1.4,
                      label=f"floor {run['floor']:.4g}")  # fmt: skip
        panel.set_ylim(bottom=0)
        panel.set_title(LOSS_TITLES[name], fontsize=11, loc="left")
        panel.set_xlabel("iterations")
        panel.legend(fontsize=9, edgecolor="none", framealpha=0.85)
        panel.set_ylabel("training loss (mean of an epoch)")
    return figure


@mpl.rc_context(STYLE)
def pull(numbers: Numbers) -> Figure:
    """Draw what multiples of the mask cost under each loss, and which of them the windows read."""
    facts = numbers.floors["all training images"]
    energy = facts["mse_all_zero"]
    reach = Reach(energy=energy, projected=energy - facts["mse"], values=1)
    at = np.linspace(0.0, 2.6, 261)
    figure = _figure(9, 6.4)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1.25, 1])
    styles = (
        (1, 0, "-", BLUE),
        (0, 1, "--", VERMILION),
        (1, 20, ":", GREEN),
        (1, 400, "-.", PURPLE),
    )
    for (mse, dice, dash, colour), name in zip(styles, REPORT, strict=True):
        loss = np.array([mse * reach.mse(a) + dice * reach.dice(a) for a in at])
        top.plot(at, loss / loss[0], linestyle=dash, color=colour, linewidth=1.8)
        best, where = reach.best(mse=mse, dice=dice)
        top.plot([where], [best / loss[0]], "o", color=colour, markersize=7)
        top.get_lines()[-2].set_label(f"{LOSS_TITLES[name]}: lowest at {where:.2f}")
    top.set_ylabel("loss / loss of empty outputs")
    top.set_ylim(0.4, 1.35)
    top.legend(fontsize=10, edgecolor="none", loc="upper left")
    names = numbers.classes
    for row, (low, high) in enumerate(numbers.summary["windows"]):
        end = high if high is not None else at[-1]
        bottom.barh(
            row, end - low, left=low, color=class_colour(row), edgecolor="#444444", height=0.6
        )
    for where, colour, dash in ((1.0, BLUE, "-"), (facts["dice_amplitude"], VERMILION, "--")):
        bottom.axvline(where, color=colour, linestyle=dash, linewidth=1.8)
    bottom.set_yticks(range(len(names)), names)
    bottom.invert_yaxis()
    bottom.grid(axis="y", visible=False)
    bottom.set_ylabel("read as its class")
    bottom.set_xlabel("outputs on the computed pixels, in multiples of the mask value")
    bottom.set_xlim(0, at[-1])
    return figure


@mpl.rc_context(STYLE)
def object_recall(numbers: Numbers) -> Figure | None:
    """Draw the share of objects found, by size and by how much of them is hidden."""
    figure = _figure(10, 4.0)
    panels = figure.subplots(1, 2, sharey=True)
    labels = {
        "size": ("size of the object, pixels", ("up to 64", "65 to 256", "over 256")),
        "hidden": ("hidden by another object", ("nothing", "up to 1/4", "up to 1/2", "more")),
    }
    groups = (
        ("mse-dlstudio", VERMILION, "o", "MSE, DLStudio's layer"),
        ("mse-dense", BLUE, "s", "MSE, dense"),
        ("mse-dense-inside", GREEN, "^", "MSE, dense throughout"),
        ("library-bce", PURPLE, "D", "cross-entropy, quick recipe"),
    )
    for panel, (by, (title, ticks)) in zip(panels, labels.items(), strict=True):
        for index, (group, colour, marker, label) in enumerate(groups):
            found = numbers.measured(group, "shapes", f"recall_by_{by}")
            if not found:
                continue
            values = np.array(found, float)
            spread = values.std(0, ddof=1) if len(values) > 1 else None
            where = np.arange(values.shape[1]) + 0.08 * (index - 1.5)
            panel.errorbar(where, values.mean(0), yerr=spread, color=colour, marker=marker,
                           linestyle="none", markersize=7, capsize=3,
                           label=f"{label} (n = {len(values)})")  # fmt: skip
        panel.set_xticks(range(len(ticks)), ticks)
        panel.set_xlabel(title)
        panel.set_ylim(-0.02, 1)
    panels[0].set_ylabel("objects found (IoU in the box >= 0.5)")
    if not panels[0].get_legend_handles_labels()[0]:
        return None
    panels[0].legend(fontsize=9, edgecolor="none")
    return figure


@mpl.rc_context(STYLE)
def guesses(numbers: Numbers) -> Figure | None:
    """Draw mean IoU against the length of training, the depth, and the scale of Dice."""
    figure = _figure(10, 4.0)
    axes = figure.subplots(1, 3, sharey=True)
    scales = {head: numbers.scale_sweep(head) for head in HEADS}
    ran = [s for sweep in scales.values() for s, values in sweep if values]
    ticks = [s for s, _ in scales["dense"] if s in ran]
    for head, (colour, marker, label) in HEADS.items():
        style = {
            "color": colour, "marker": marker, "capsize": 3, "linewidth": 1.5,
            "linestyle": "-" if head == "dense" else "--", "label": label,
        }  # fmt: skip
        _sweep(axes[0], numbers.epochs_sweep(head), style)
        _sweep(axes[1], numbers.depth_sweep(head), style)
        _sweep(axes[2], [(ticks.index(s), v) for s, v in scales[head] if s in ticks], style)
        axes[2].set_xticks(range(len(ticks)), ticks)
    axes[0].set_xlabel("epochs, Dice alone")
    axes[1].set_xlabel("depth, MSE")
    axes[2].set_xlabel("s in MSE + s Dice")
    axes[0].set_ylabel("mean IoU on the test images")
    axes[0].set_ylim(bottom=0)
    drawn = [found for axis in axes if (found := axis.get_legend_handles_labels())[0]]
    if not drawn:
        return None
    figure.legend(*drawn[0], ncols=2, fontsize=10, edgecolor="none", loc="outside upper left")
    return figure


def _sweep(axes: Axes, points: list[tuple[float, list[float]]], style: dict[str, Any]) -> None:
    points = [point for point in points if point[1]]
    if not points:
        return
    where = [at for at, _ in points]
    means = [float(np.mean(values)) for _, values in points]
    spread = [float(np.std(v, ddof=1)) if len(v) > 1 else 0.0 for _, v in points]
    axes.errorbar(where, means, yerr=spread, **style)
    axes.set_xticks(where)


@mpl.rc_context(STYLE)
def ranking(numbers: Numbers) -> Figure | None:
    """Draw the library's losses by validation score, with the test's beside it."""
    rows = numbers.ranking()
    if not rows:
        return None
    figure = _figure(8, 1.1 + 0.42 * len(rows))
    axes = figure.subplots()
    for index, (_, runs) in enumerate(rows):
        for shift, key, colour, marker, label in (
            (-0.13, "val", BLUE, "o", "validation (what ranks)"),
            (0.13, "test", ORANGE, "s", "test"),
        ):
            values = runs[key]
            axes.plot(values, [index + shift] * len(values), marker=marker, linestyle="none",
                      color=colour, alpha=0.45, markersize=6)  # fmt: skip
            axes.plot([np.mean(values)] * 2, [index + shift - 0.12, index + shift + 0.12],
                      color=colour, linewidth=3, label=label if index == 0 else None)  # fmt: skip
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.invert_yaxis()
    axes.set_xlabel("mean IoU (bars: means; points: seeds)")
    axes.set_xlim(left=0)
    axes.legend(fontsize=9, edgecolor="none")
    return figure


@mpl.rc_context(STYLE)
def colour_leak(numbers: Numbers) -> Figure | None:
    """Draw what new colours do to the disk, and a disk's red to other shapes."""
    rows = numbers.leak_rows()
    if not rows:
        return None
    figure = _figure(10, 1.5 + 0.55 * len(rows))
    left, right = figure.subplots(1, 2, sharey=True)
    disk = numbers.classes.index("disk")
    for index, (_, found) in enumerate(rows):
        for shift, scene, colour, label in (
            (-0.2, "as_they_are", BLUE, "as they are"),
            (0.2, "recoloured", ORANGE, "recoloured"),
        ):
            values = [leak[scene]["iou"][disk] for leak in found]
            left.barh(index + shift, np.mean(values), height=0.36, color=colour,
                      label=label if index == 0 else None)  # fmt: skip
        for shift, scene, colour, label in (
            (-0.2, "as_they_are", BLUE, "as they are"),
            (0.2, "planted", PURPLE, "with a disk's red"),
        ):
            values = [100 * leak[scene]["false_disk"] for leak in found]
            right.barh(index + shift, np.mean(values), height=0.36, color=colour,
                       label=label if index == 0 else None)  # fmt: skip
    left.set_yticks(range(len(rows)), [f"{name} (n = {len(found)})" for name, found in rows])
    left.invert_yaxis()
    left.set_xlabel("IoU of disk")
    right.set_xlabel("pixels of other shapes called disk, %")
    for panel in (left, right):
        panel.grid(axis="y", visible=False)
        panel.legend(fontsize=9, edgecolor="none")
    return figure


FIGURES: dict[str, Maker] = {
    "report-curves": report_curves,
    "pull": pull,
    "by-heart": by_heart_curves,
    "head-curves": head_curves,
    "objects": object_recall,
    "guesses": guesses,
    "ranking": ranking,
    "colour-leak": colour_leak,
}
