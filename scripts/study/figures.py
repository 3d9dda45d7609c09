"""The study's figures: most from its numbers alone, those that show images from the runs' weights.

Each maker returns None while runs that it needs are missing.
"""

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scripts.study.execute import Study
from scripts.study.floors import Reach
from scripts.study.measure import predict_values
from scripts.study.numbers import ALL, BY_HEART, LOSS_TITLES, MIOU, REPORT, SCALES_OF_DICE, Numbers
from scripts.study.plan import Run
from segjax import plots
from segjax.colours import class_colour
from segjax.data import Dataset
from segjax.data.splits import load_splits
from segjax.plots._style import DPI, STYLE
from segjax.predict.trained import load_trained

BLUE, VERMILION, GREEN, PURPLE, ORANGE = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"
HEADS = {
    "dlstudio": (VERMILION, "--", "o", "DLStudio's output layer"),
    "dense": (BLUE, "-", "s", "dense"),
}
PLAIN_LEGEND = {"fontsize": 9, "edgecolor": "none"}
SHOWN_IMAGES = 3
CLOSE_UP = 28  # pixels


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=DPI)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.08)
    return figure


def _curve(panel: Axes, runs: Sequence[dict[str, Any]], head: str, *, label: str) -> None:
    """Draw the mean of runs' losses and, of several, the range that they span."""
    colour, dash, *_ = HEADS[head]
    steps = runs[0]["curve"]["step"]
    losses = np.array([run["curve"]["loss"] for run in runs])
    panel.plot(steps, losses.mean(0), color=colour, linewidth=1.8, linestyle=dash, label=label)
    if len(runs) > 1:
        panel.fill_between(steps, losses.min(0), losses.max(0), color=colour, alpha=0.2)


def _floor(panel: Axes, run: dict[str, Any], title: str, *, label: str) -> None:
    """Draw a run's floor; close the panel with its title."""
    panel.axhline(run["floor"], color="black", linestyle=":", linewidth=1.4, label=label)
    panel.set_title(title, fontsize=11, loc="left")


def _means(panel: Axes, where: Any, values: Any, *, bars: bool = True, **style: Any) -> None:
    """Draw the mean of each row of values and, with bars, their standard deviation, 0 of one."""
    means = [float(np.mean(row)) for row in values]
    deviations = [float(np.std(row, ddof=1)) if len(row) > 1 else 0.0 for row in values]
    panel.errorbar(where, means, yerr=deviations if bars else None, capsize=3, **style)


def report_curves(numbers: Numbers) -> Figure | None:
    """Draw Figure 1: the four losses normalised, and beside them as they are, with floors."""
    runs = {LOSS_TITLES[n]: run for n in REPORT for run in numbers.group(f"{n}-dlstudio")[:1]}
    if len(runs) < len(REPORT):
        return None
    return plots.normalised_losses_figure(
        {title: run["curve"]["loss"] for title, run in runs.items()},
        floors={title: run["floor"] for title, run in runs.items()},
        steps_per_point=runs[LOSS_TITLES[REPORT[-1]]]["curve"]["step"][0],
        title="DLStudio's recipe and output layer: running means of the training loss",
    )


@mpl.rc_context(STYLE)
def head_curves(numbers: Numbers) -> Figure | None:
    """Draw each loss under both output layers, all seeds, with the floor of DLStudio's."""
    figure = _figure(10, 6.4)
    panels = figure.subplots(2, 2).ravel()
    for panel, name in zip(panels, REPORT, strict=True):
        for head, (*_, label) in HEADS.items():
            runs = numbers.group(f"{name}-{head}")
            if not runs:
                return None
            _curve(panel, runs, head, label=f"{label} (n = {len(runs)})")
        [base, *_] = numbers.group(f"{name}-dlstudio")
        title = f"{LOSS_TITLES[name]} (floor {base['floor']:.4g})"
        _floor(panel, base, title, label="floor of DLStudio's")
        panel.set(xlabel="iterations", ylabel="training loss (running mean)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=3, fontsize=10, edgecolor="none", loc="outside upper left")
    return figure


@mpl.rc_context(STYLE)
def by_heart_curves(numbers: Numbers) -> Figure | None:
    """Draw how near a few images learned by heart come to the floors."""
    figure = _figure(10, 3.6)
    for panel, name in zip(figure.subplots(1, 3), BY_HEART, strict=True):
        if not (faithful := numbers.group(f"by-heart-{name}-dlstudio")):
            return None
        for head, (*_, label) in HEADS.items():
            if runs := numbers.group(f"by-heart-{name}-{head}"):
                _curve(panel, runs[:1], head, label=label)
        label = f"floor {faithful[0]['floor']:.4g}"
        _floor(panel, faithful[0], LOSS_TITLES[name], label=label)
        panel.set_ylim(bottom=0)
        panel.set(xlabel="iterations", ylabel="training loss (mean of an epoch)")
        panel.legend(**PLAIN_LEGEND, framealpha=0.85)
    return figure


@mpl.rc_context(STYLE)
def pull(numbers: Numbers) -> Figure:
    """Draw what multiples of the mask cost under each loss, and which of them the windows read."""
    facts = numbers.floors[ALL]
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
        loss = reach.loss(at, mse=mse, dice=dice)
        best, where = reach.best(mse=mse, dice=dice)
        label = f"{LOSS_TITLES[name]}: lowest at {where:.2f}"
        top.plot(at, loss / loss[0], linestyle=dash, color=colour, linewidth=1.8, label=label)
        top.plot([where], [best / loss[0]], "o", color=colour, markersize=7)
    top.set(ylabel="loss / loss of empty outputs", ylim=(0.4, 1.35))
    top.legend(fontsize=10, edgecolor="none", loc="upper left")
    for row, (low, high) in enumerate(numbers.summary["windows"]):
        wide = (at[-1] if high is None else high) - low
        style = {"color": class_colour(row), "edgecolor": "#444444", "height": 0.6}
        bottom.barh(row, wide, left=low, **style)
    for multiple, colour, dash in ((1.0, BLUE, "-"), (facts["dice_amplitude"], VERMILION, "--")):
        bottom.axvline(multiple, color=colour, linestyle=dash, linewidth=1.8)
    bottom.set_yticks(range(len(numbers.classes)), numbers.classes)
    bottom.invert_yaxis()
    bottom.grid(axis="y", visible=False)
    below = "outputs on the computed pixels, in multiples of the mask value"
    bottom.set(xlabel=below, ylabel="read as its class", xlim=(0, at[-1]))
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
            found = numbers.values(group, "measured", "shapes", f"recall_by_{by}")
            if found:
                where = np.arange(len(ticks)) + 0.08 * (index - 1.5)
                style = {"color": colour, "marker": marker, "linestyle": "none", "markersize": 7}
                style["label"] = f"{label} (n = {len(found)})"
                _means(panel, where, np.array(found, float).T, bars=len(found) > 1, **style)
        panel.set_xticks(range(len(ticks)), ticks)
        panel.set(xlabel=title, ylim=(-0.02, 1))
    panels[0].set_ylabel("objects found (IoU in the box >= 0.5)")
    if not panels[0].get_legend_handles_labels()[0]:
        return None
    panels[0].legend(**PLAIN_LEGEND)
    return figure


@mpl.rc_context(STYLE)
def guesses(numbers: Numbers) -> Figure | None:
    """Draw mean IoU against the length of training, the depth, and the scale of Dice."""
    figure = _figure(10, 4.0)
    axes = figure.subplots(1, 3, sharey=True)
    names = SCALES_OF_DICE.values()
    scales = {head: [numbers.values(f"{n}-{head}", *MIOU) for n in names] for head in HEADS}
    ran = np.flatnonzero([any(of_scale) for of_scale in zip(*scales.values(), strict=True)])
    for head in HEADS:
        _sweep(axes[0], numbers.epochs_sweep(head), head)
        _sweep(axes[1], numbers.depth_sweep(head), head)
        _sweep(axes[2], [(at, scales[head][row]) for at, row in enumerate(ran)], head)
        axes[2].set_xticks(range(len(ran)), [list(SCALES_OF_DICE)[row] for row in ran])
    axes[0].set(xlabel="epochs, Dice alone", ylabel="mean IoU on the test images")
    axes[0].set_ylim(bottom=0)
    axes[1].set_xlabel("depth, MSE")
    axes[2].set_xlabel("s in MSE + s Dice")
    drawn = [found for axis in axes if (found := axis.get_legend_handles_labels())[0]]
    if not drawn:
        return None
    figure.legend(*drawn[0], ncols=2, fontsize=10, edgecolor="none", loc="outside upper left")
    return figure


def _sweep(axes: Axes, points: list[tuple[float, list[float]]], head: str) -> None:
    ran = [point for point in points if point[1]]
    if not ran:
        return
    colour, dash, marker, label = HEADS[head]
    where, values = zip(*ran, strict=True)
    style: Any = {"color": colour, "marker": marker, "linestyle": dash, "label": label}
    _means(axes, where, values, linewidth=1.5, **style)
    axes.set_xticks(where)


@mpl.rc_context(STYLE)
def ranking(numbers: Numbers) -> Figure | None:
    """Draw the library's losses by validation score, with the test's beside it."""
    if not (rows := numbers.ranking()):
        return None
    figure = _figure(8, 1.1 + 0.42 * len(rows))
    axes = figure.subplots()
    shown = (
        ("val", -0.13, BLUE, "o", "validation (what ranks)"),
        ("test", 0.13, ORANGE, "s", "test"),
    )
    for index, (_, runs) in enumerate(rows):
        for key, shift, colour, marker, label in shown:
            values, at = runs[key], index + shift
            points: Any = {"marker": marker, "linestyle": "none", "alpha": 0.45, "markersize": 6}
            axes.plot(values, [at] * len(values), color=colour, **points)
            bar: Any = {"linewidth": 3, "label": None if index else label}
            axes.plot([np.mean(values)] * 2, [at - 0.12, at + 0.12], color=colour, **bar)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.invert_yaxis()
    axes.set_xlabel("mean IoU (bars: means; points: seeds)")
    axes.set_xlim(left=0)
    axes.legend(**PLAIN_LEGEND)
    return figure


@mpl.rc_context(STYLE)
def colour_leak(numbers: Numbers) -> Figure | None:
    """Draw what new colours do to the disk, and a disk's red to other shapes."""
    rows = [(title, found) for title, found in numbers.leak_rows() if found]
    if not rows:
        return None
    disk = numbers.classes.index("disk")
    figure = _figure(10, 1.5 + 0.55 * len(rows))
    left, right = figure.subplots(1, 2, sharey=True)
    plain = ("as_they_are", BLUE, "as they are")
    new, red = ("recoloured", ORANGE, "recoloured"), ("planted", PURPLE, "with a disk's red")
    changes: tuple[tuple[Axes, tuple[str, str, str], Callable[[Any], float]], ...] = (
        (left, new, lambda scene: scene["iou"][disk]),
        (right, red, lambda scene: 100 * scene["false_disk"]),
    )
    for panel, changed, score in changes:
        for index, (_, found) in enumerate(rows):
            for shift, (scene, colour, label) in ((-0.2, plain), (0.2, changed)):
                mean = np.mean([score(leak[scene]) for leak in found])
                style: Any = {"color": colour, "label": None if index else label}
                panel.barh(index + shift, mean, height=0.36, **style)
        panel.grid(axis="y", visible=False)
        panel.legend(**PLAIN_LEGEND)
    left.set_yticks(range(len(rows)), [f"{name} (n = {len(found)})" for name, found in rows])
    left.invert_yaxis()
    left.set_xlabel("IoU of disk")
    right.set_xlabel("pixels of other shapes called disk, %")
    return figure


def first_runs(study: Study, groups: Sequence[str]) -> list[Run] | None:
    """Return each group's finished run of the first seed, or None if one has none."""
    done = {run.group: run for run in reversed(study.done())}
    found = [done[group] for group in groups if group in done]
    return found if len(found) == len(groups) else None


def shown_values(study: Study, run: Run, data: Dataset, rows: Sequence[int]) -> np.ndarray:
    """Return a run's outputs for some images, from batches as the test has them."""
    trained = load_trained(study.path_of(run))
    size = run.config.batch_size
    found = {
        start: predict_values(trained, data.images[start : start + size])
        for start in sorted({row // size * size for row in rows})
    }
    return np.stack([found[row // size * size][row % size] for row in rows])


def four_losses(study: Study, head: str) -> Figure | None:
    """Draw Figure 2: the same test images under the four losses of the report."""
    runs = first_runs(study, [f"{name}-{head}" for name in REPORT])
    if runs is None:
        return None
    data = load_splits(study.runs[0].config, say=lambda line: None).test
    rows = rich_images(data, SHOWN_IMAGES)
    names = {"dlstudio": "DLStudio's output layer", "dense": "the dense output layer"}
    return comparison(
        data.subset(rows),
        {
            LOSS_TITLES[name]: shown_values(study, run, data, rows.tolist())
            for name, run in zip(REPORT, runs, strict=True)
        },
        title=f"The same test images under the four losses, {names[head]}",
    )


def rich_images(data: Dataset, count: int) -> np.ndarray:
    """Return the indices of the images to show: the first with three classes or more."""
    classes = (data.masks > 0).any(axis=(1, 2)).sum(axis=-1)
    found = np.flatnonzero(classes >= 3)
    return (found if len(found) else np.arange(len(data)))[:count]


def comparison(shown: Dataset, values: dict[str, np.ndarray], *, title: str) -> Figure:
    """Draw images, their masks, and what several networks, by title, make of them."""
    return plots.comparison_figure(
        shown.images,
        shown.masks,
        values,
        class_names=shown.class_names,
        class_values=shown.class_values,
        boxes=[shown.boxes_of(index) for index in range(len(shown))],
        title=title,
    )


@mpl.rc_context(STYLE)
def close_up(study: Study) -> Figure | None:
    """Draw an object's channel pixel by pixel, from networks that know it by heart."""
    titles = {
        "by-heart-mse-dlstudio": "MSE, DLStudio's layer",
        "by-heart-dice-dlstudio": "Dice, DLStudio's layer",
        "by-heart-mse-dense": "MSE, dense",
    }
    runs = first_runs(study, list(titles))
    if runs is None:
        return None
    data = load_splits(runs[0].config, say=lambda line: None).train
    index, channel, (x1, y1, x2, y2) = largest_object(data)
    top, left = (  # even, as the computed pixels are
        int(np.clip((low + high - CLOSE_UP) // 2, 0, size - CLOSE_UP)) // 2 * 2
        for low, high, size in zip((y1, x1), (y2, x2), data.masks.shape[1:3], strict=True)
    )
    part = np.s_[top : top + CLOSE_UP, left : left + CLOSE_UP]
    pictures = {"truth": data.masks[index][..., channel][part].astype(float)}
    for run in runs:
        values = shown_values(study, run, data, [index])
        pictures[titles[run.group]] = values[0][..., channel][part]
    figure = Figure(figsize=(10, 3.5), dpi=DPI)
    figure.set_layout_engine("constrained")
    axes = figure.subplots(1, 4)
    for panel, (title, picture) in zip(axes, pictures.items(), strict=True):
        shown = panel.imshow(
            picture / data.class_values[channel],
            cmap="cividis",
            vmin=0,
            vmax=2,
            interpolation="nearest",
            extent=(left - 0.5, left + CLOSE_UP - 0.5, top + CLOSE_UP - 0.5, top - 0.5),
        )
        panel.set_title(title, fontsize=11)
        panel.set_xlabel("column, pixels")
        panel.grid(visible=False)
    axes[0].set_ylabel("row, pixels")
    name = data.class_names[channel]
    figure.colorbar(shown, ax=axes, label=f"output / mask value of {name}", shrink=0.8)
    return figure


def largest_object(data: Dataset) -> tuple[int, int, tuple[int, ...]]:
    """Return the image, the channel and the box of the object with the most pixels."""
    found = []
    for index in range(len(data)):
        for channel, box in data.boxes_of(index):
            x1, y1, x2, y2 = (int(edge) for edge in box)
            pixels = np.count_nonzero(data.masks[index, y1 : y2 + 1, x1 : x2 + 1, channel])
            found.append((pixels, index, channel, (x1, y1, x2, y2)))
    return max(found)[1:]


FIGURES: dict[str, Callable[[Numbers], Figure | None]] = {
    "report-curves": report_curves,
    "pull": pull,
    "by-heart": by_heart_curves,
    "head-curves": head_curves,
    "objects": object_recall,
    "guesses": guesses,
    "ranking": ranking,
    "colour-leak": colour_leak,
}
PICTURES: dict[str, Callable[[Study], Figure | None]] = {
    "four-losses-dlstudio": lambda study: four_losses(study, "dlstudio"),
    "four-losses-dense": lambda study: four_losses(study, "dense"),
    "close-up": close_up,
}
