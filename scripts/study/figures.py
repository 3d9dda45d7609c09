"""The study's figures: most from its numbers alone, those that show images from the runs' weights.

A maker raises MissingRunsError while runs that it needs are missing.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scripts.study.execute import Study
from scripts.study.groups import BY_HEART, LEAK_TITLES, LOSS_TITLES, REPORT, WEIGHTS
from scripts.study.measure import shown_values
from scripts.study.numbers import MIOU, MissingRunsError, Numbers, Run
from segjax import plots
from segjax.classes import class_colour
from segjax.data import Dataset
from segjax.data.splits import load_splits
from segjax.dlstudio.floors import Reach
from segjax.plots._style import DPI
from segjax.predict.trained import load_trained

BLUE, VERMILION, GREEN, PURPLE, ORANGE = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"
HEADS = {
    "dlstudio": (VERMILION, "--", "o", "DLStudio's output layer"),
    "dense": (BLUE, "-", "s", "dense"),
}
PLAIN_LEGEND: dict[str, Any] = {"fontsize": 9, "edgecolor": "none"}
TOP_LEGEND: dict[str, Any] = {"fontsize": 10, "edgecolor": "none", "loc": "outside upper left"}
CLOSE_UP = 28  # pixels


def _panels(width: float, height: float, *shape: int, **more: Any) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), dpi=DPI)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.08)
    return figure, figure.subplots(*shape, **more)


def _curves(panel: Axes, runs: dict[str, list[Run]], *, label: str, floor: str, title: str) -> None:
    """Draw a loss under each output layer: the mean, the range of several, DLStudio's floor."""
    bound = runs["dlstudio"][0]["floor"]
    for head, found in runs.items():
        colour, dash, _, name = HEADS[head]
        steps = found[0]["curve"]["step"]
        losses = np.array([run["curve"]["loss"] for run in found])
        name = label.format(name, len(found))
        panel.plot(steps, losses.mean(0), color=colour, linewidth=1.8, linestyle=dash, label=name)
        if len(found) > 1:
            panel.fill_between(steps, losses.min(0), losses.max(0), color=colour, alpha=0.2)
    panel.axhline(bound, color="black", linestyle=":", linewidth=1.4, label=floor.format(bound))
    panel.set_title(title.format(bound), fontsize=11, loc="left")
    panel.set_xlabel("iterations")


def head_curves(numbers: Numbers) -> Figure:
    """Draw each loss under both output layers, all seeds, with the floor of DLStudio's."""
    figure, panels = _panels(10, 6.4, 2, 2)
    texts = {"label": "{} (n = {})", "floor": "floor of DLStudio's"}
    for panel, name in zip(panels.flat, REPORT, strict=True):
        runs = {head: numbers.need(f"{name}-{head}") for head in HEADS}
        _curves(panel, runs, **texts, title=f"{LOSS_TITLES[name]} (floor {{:.4g}})")
        panel.set(ylabel="training loss (running mean)")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), ncols=3, **TOP_LEGEND)
    return figure


def by_heart(numbers: Numbers) -> Figure:
    """Draw how near a few images learned by heart come to the floors."""
    figure, panels = _panels(10, 3.6, 1, 3)
    for panel, name in zip(panels, BY_HEART, strict=True):
        runs = {"dlstudio": numbers.need(f"by-heart-{name}-dlstudio")}
        if dense := numbers.group(f"by-heart-{name}-dense"):
            runs["dense"] = dense
        _curves(panel, runs, label="{}", floor="floor {:.4g}", title=LOSS_TITLES[name])
        panel.set(ylabel="training loss (mean of an epoch)", ylim=(0, None))
        panel.legend(**PLAIN_LEGEND, framealpha=0.85)
    return figure


def pull(numbers: Numbers) -> Figure:
    """Draw what multiples of the mask cost under each loss, and which of them the windows read."""
    facts = numbers.summary["floors"]["all training images"]
    reach = Reach(facts["mse_all_zero"], facts["mse"])
    at = np.linspace(0.0, 2.6, 261)
    figure, (top, bottom) = _panels(9, 6.4, 2, 1, sharex=True, height_ratios=[1.25, 1])
    colours, dashes = (BLUE, VERMILION, GREEN, PURPLE), ("-", "--", ":", "-.")
    for name, colour, dash in zip(REPORT, colours, dashes, strict=True):
        mse, dice = WEIGHTS[name]
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


def objects(numbers: Numbers) -> Figure:
    """Draw the share of objects found, by size and by how much of them is hidden."""
    figure, panels = _panels(10, 4.0, 1, 2, sharey=True)
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
            found = np.array(numbers.values(group, "measured", "shapes", f"recall_by_{by}"), float)
            if len(found):
                where = np.arange(len(ticks)) + 0.08 * (index - 1.5)
                style: Any = {"color": colour, "marker": marker, "linestyle": "none"}
                style |= {"markersize": 7, "label": f"{label} (n = {len(found)})"}
                spread = found.std(0, ddof=1) if len(found) > 1 else None
                panel.errorbar(where, found.mean(0), yerr=spread, capsize=3, **style)
        panel.set_xticks(range(len(ticks)), ticks)
        panel.set(xlabel=title, ylim=(-0.02, 1))
    panels[0].set_ylabel("objects found (IoU in the box >= 0.5)")
    _legend(panels[0], panels, **PLAIN_LEGEND)
    return figure


def _legend(on: Any, panels: Sequence[Axes], **style: Any) -> None:
    """Put a legend of the first panel that shows anything; MissingRunsError if none does."""
    drawn = [found for panel in panels if (found := panel.get_legend_handles_labels())[0]]
    if not drawn:
        raise MissingRunsError
    on.legend(*drawn[0], **style)


def guesses(numbers: Numbers) -> Figure:
    """Draw mean IoU against the length of training, the depth, and the scale of Dice."""
    figure, panels = _panels(10, 4.0, 1, 3, sharey=True)
    losses = {"0": "mse"} | {f"{s}": f"combo{s}" for s in (20, 100, 400, 4000)}
    losses |= {"Dice\nalone": "dice"}
    ran = {text: n for text, n in losses.items() if any(numbers.group(f"{n}-{h}") for h in HEADS)}
    for head, (colour, dash, marker, label) in HEADS.items():
        epochs = numbers.sweep(f"dice-{head}", "epochs")
        depths = numbers.sweep(f"mse-{head}", "depth")
        scales: Any = [
            (at, numbers.values(f"{n}-{head}", *MIOU)) for at, n in enumerate(ran.values())
        ]
        for panel, sweep in zip(panels, (epochs, depths, scales), strict=True):
            if points := {at: scores for at, scores in sweep if scores}:
                means = [np.mean(scores) for scores in points.values()]
                spread = [np.std(s, ddof=1) if len(s) > 1 else 0.0 for s in points.values()]
                style: Any = {"color": colour, "marker": marker, "linestyle": dash, "label": label}
                panel.errorbar(list(points), means, yerr=spread, capsize=3, linewidth=1.5, **style)
                panel.set_xticks(list(points))
    panels[2].set_xticks(range(len(ran)), list(ran))
    label = "mean IoU on the test images"
    panels[0].set(xlabel="epochs, Dice alone", ylabel=label, ylim=(0, None))
    panels[1].set_xlabel("depth, MSE")
    panels[2].set_xlabel("s in MSE + s Dice")
    _legend(figure, panels, ncols=2, **TOP_LEGEND)
    return figure


def ranking(numbers: Numbers) -> Figure:
    """Draw the library's losses by validation score, with the test's beside it."""
    rows = numbers.ranking()
    if not rows:
        raise MissingRunsError
    figure, panel = _panels(8, 1.1 + 0.42 * len(rows))
    validation = (("val_miou",), -0.13, BLUE, "o", "validation (what ranks)")
    shown = (validation, (MIOU, 0.13, ORANGE, "s", "test"))
    for index, name in enumerate(rows):
        for keys, shift, colour, marker, label in shown:
            values, at = numbers.values(f"library-{name}", *keys), index + shift
            points: Any = {"marker": marker, "linestyle": "none", "alpha": 0.45, "markersize": 6}
            panel.plot(values, [at] * len(values), color=colour, **points)
            bar: Any = {"linewidth": 3, "label": None if index else label}
            panel.plot([np.mean(values)] * 2, [at - 0.12, at + 0.12], color=colour, **bar)
    panel.set_yticks(range(len(rows)), rows)
    panel.invert_yaxis()
    panel.set(xlabel="mean IoU (bars: means; points: seeds)", xlim=(0, None))
    panel.legend(**PLAIN_LEGEND)
    return figure


def colour_leak(numbers: Numbers) -> Figure:
    """Draw what new colours do to the disk, and a disk's red to other shapes."""
    rows = {
        f"{title} (n = {len(found)})": found
        for group, title in LEAK_TITLES.items()
        if (found := numbers.values(group, "measured", "leak"))
    }
    if not rows:
        raise MissingRunsError
    disk = numbers.classes.index("disk")
    figure, (left, right) = _panels(10, 1.5 + 0.55 * len(rows), 1, 2, sharey=True)
    changes: Any = (
        (left, "recoloured", ORANGE, "recoloured", lambda scene: scene["iou"][disk]),
        (right, "planted", PURPLE, "with a disk's red", lambda scene: 100 * scene["false_disk"]),
    )
    for panel, *changed, score in changes:
        bars = ((-0.2, "as_they_are", BLUE, "as they are"), (0.2, *changed))
        for shift, scene, colour, label in bars:
            means = [np.mean([score(leak[scene]) for leak in found]) for found in rows.values()]
            where = np.arange(len(rows)) + shift
            panel.barh(where, means, height=0.36, color=colour, label=label)
        panel.grid(axis="y", visible=False)
        panel.legend(**PLAIN_LEGEND)
    left.set_yticks(range(len(rows)), list(rows))
    left.invert_yaxis()
    left.set(xlabel="IoU of disk")
    right.set(xlabel="pixels of other shapes called disk, %")
    return figure


def comparison(shown: Dataset, values: dict[str, np.ndarray], *, title: str) -> Figure:
    """Draw images, their masks, and what several networks, by title, make of them."""
    about: Any = {"class_names": shown.class_names, "class_values": shown.class_values}
    about["boxes"] = [shown.boxes_of(index) for index in range(len(shown))]
    return plots.comparison_figure(shown.images, shown.masks, values, **about, title=title)


def close_up(study: Study) -> Figure:
    """Draw an object's channel pixel by pixel, from networks that know it by heart."""
    titles = {
        "by-heart-mse-dlstudio": "MSE, DLStudio's layer",
        "by-heart-dice-dlstudio": "Dice, DLStudio's layer",
        "by-heart-mse-dense": "MSE, dense",
    }
    done = {run.group: study.path_of(run) for run in reversed(study.done())}  # the first of each
    if missing := titles.keys() - done:
        raise MissingRunsError(*missing)
    config = next(run.config for run in study.runs if run.group in titles)
    data = load_splits(config, say=lambda line: None).train
    index, channel, (x1, y1, x2, y2) = largest_object(data)
    top, left = (  # even, as the computed pixels are
        int(np.clip((low + high - CLOSE_UP) // 2, 0, size - CLOSE_UP)) // 2 * 2
        for low, high, size in zip((y1, x1), (y2, x2), data.masks.shape[1:3], strict=True)
    )
    pictures = {"truth": data.masks[index].astype(float)}
    for group, title in titles.items():
        pictures[title] = shown_values(load_trained(done[group]), data.images, [index])[0]
    figure = Figure(figsize=(10, 3.5), dpi=DPI, layout="constrained")
    panels = figure.subplots(1, 4)
    edges = (left - 0.5, left + CLOSE_UP - 0.5, top + CLOSE_UP - 0.5, top - 0.5)
    style: Any = {"cmap": "cividis", "vmin": 0, "vmax": 2, "interpolation": "nearest"}
    for panel, (title, picture) in zip(panels, pictures.items(), strict=True):
        part = picture[top : top + CLOSE_UP, left : left + CLOSE_UP, channel]
        shown = panel.imshow(part / data.class_values[channel], extent=edges, **style)
        panel.set_title(title, fontsize=11)
        panel.set_xlabel("column, pixels")
        panel.grid(visible=False)
    panels[0].set_ylabel("row, pixels")
    name = data.class_names[channel]
    figure.colorbar(shown, ax=panels, label=f"output / mask value of {name}", shrink=0.8)
    return figure


def largest_object(data: Dataset) -> tuple[int, int, tuple[int, ...]]:
    """Return the image, the channel and the box of the object with the most pixels."""
    return max(
        (np.count_nonzero(data.masks[at, y1 : y2 + 1, x1 : x2 + 1, c]), at, c, (x1, y1, x2, y2))
        for at in range(len(data))
        for c, (x1, y1, x2, y2) in data.boxes_of(at)
    )[1:]


_MAKERS = (pull, by_heart, head_curves, objects, guesses, ranking, colour_leak)
FIGURES = {make.__name__.replace("_", "-"): make for make in _MAKERS}
PICTURES: dict[str, Callable[[Study], Figure]] = {"close-up": close_up}
