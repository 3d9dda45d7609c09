"""The rows of the page's tables; their headings and notes are in template.md."""

import itertools
from collections.abc import Callable

import numpy as np

from scripts.docs.markdown import plus_minus
from scripts.study.groups import BY_HEART, LEAK_TITLES, LOSS_TITLES, REPORT
from scripts.study.numbers import MIOU, Numbers

HEAD_TITLES = {"dlstudio": "DLStudio's", "dense": "dense"}
NOT_RUN = "not run yet"
Rows = list[list[str]]
Column = tuple[str | int, ...]  # the keys under which a run holds a number


def scored(numbers: Numbers, titles: dict[str, str], *columns: Column) -> Rows:
    """Return a row for each group: its title, its runs, and what they score in each column."""
    rows = []
    for group, title in titles.items():
        runs = numbers.group(group)
        scores = [plus_minus(numbers.values(group, *column)) for column in columns]
        rows.append([title, str(len(runs)), *(scores if runs else [NOT_RUN])])
    return rows


def per_class(numbers: Numbers, key: str) -> list[Column]:
    """Return the columns of a score of each class, half-value threshold."""
    return [("half", key, index) for index in range(len(numbers.classes))]


def windows(numbers: Numbers) -> Rows:
    """Return what DLStudio's windows read of the pixels that a network computes."""
    titles = {f"by-heart-{name}": f"{LOSS_TITLES[name]}, by heart" for name in ("mse", "dice")}
    rows = []
    for name, title in (titles | {name: LOSS_TITLES[name] for name in BY_HEART}).items():
        found = numbers.values(f"{name}-dlstudio", "measured", "outputs")
        row = [f"{title} (n = {len(found)})", plus_minus([n["amplitude_all"] for n in found], 2)]
        for of_class in zip(*(run["windows"] for run in found), strict=True):
            shares = [] if None in of_class[0] else np.mean(of_class, axis=0)
            row.append(" / ".join(f"{100 * share:.0f}" for share in shares) or "-")
        rows.append(row if found else [title, NOT_RUN])
    return rows


def fix(numbers: Numbers, key: str) -> Rows:
    """Return a score per class ('iou' or 'dice') under both output layers, and boundary F1."""
    both = itertools.product(REPORT, HEAD_TITLES.items())
    titles = {f"{loss}-{head}": f"{LOSS_TITLES[loss]}, {title}" for loss, (head, title) in both}
    left = {run.rpartition("-seed")[0] for run in numbers.summary["missing"]}
    planned = numbers.groups.keys() | left  # not every scale has all
    inside = {f"{loss}-dense-inside": f"{LOSS_TITLES[loss]}, dense throughout" for loss in REPORT}
    titles |= {group: title for group, title in inside.items() if group in planned}
    boundary = ("measured", "shapes", "boundary_f1_mean")
    return scored(numbers, titles, ("half", f"m{key}"), *per_class(numbers, key), boundary)


def balance(numbers: Numbers) -> Rows:
    """Return how even the classes are."""
    titles = {"files": "DLStudio's training file"}
    titles |= {"uniform": "drawn, even", "skewed": "drawn, skewed"}
    rows = []
    for key, about in numbers.summary["balance"].items():
        shares = zip(about["pixels"], about["objects"], strict=True)
        total = sum(about["objects"])
        cells = [f"{100 * share:.2f} / {100 * count / total:.1f}" for share, count in shares]
        images, foreground = f"{about['images']:,}", f"{100 * about['foreground']:.2f}"
        rows.append([f"{titles[key]} ({images})", foreground, *cells])
    return rows


def balance_runs(numbers: Numbers) -> Rows:
    """Return how the losses do on even and on skewed classes."""
    both = itertools.product(("mse", "combo400"), {"uniform": "even", "skewed": "skewed"}.items())
    titles = {f"{n}-dense-{kind}": f"{LOSS_TITLES[n]}, {title}" for n, (kind, title) in both}
    return scored(numbers, titles, MIOU, *per_class(numbers, "iou"))


def guesses(numbers: Numbers) -> Rows:
    """Return mean IoU of what the report guessed at: length, depth, scale of Dice, target unit."""
    titles = {
        **{f"dice-{{}}-epochs-x{k}": f"Dice, {k} times the epochs" for k in (2, 4)},
        **{f"mse-{{}}-depth{depth}": f"MSE, depth {depth}" for depth in (4, 8, 16, 32)},
        **{f"{name}-{{}}": title for name, title in LOSS_TITLES.items()},
        **{f"{name}-{{}}-unit": f"{LOSS_TITLES[name]}, 0/1 targets" for name in REPORT[:3]},
    }
    rows = []
    for group, title in titles.items():
        found = [numbers.values(group.format(head), *MIOU) for head in HEAD_TITLES]
        if any(found):
            counts = ", ".join(str(len(scores)) for scores in found)
            rows.append([title, counts, *map(plus_minus, found)])
    return rows


def ranking(numbers: Numbers) -> Rows:
    """Return the library's losses by their validation score."""
    titles = {f"library-{name}": f"`{name}`" for name in numbers.ranking()}
    rows = scored(numbers, titles, ("val_miou",), MIOU, *per_class(numbers, "iou"))
    return [[str(place), *row] for place, row in enumerate(rows, 1)]


def colour_leak(numbers: Numbers) -> Rows:
    """Return what new colours cost, class by class."""
    disk = numbers.classes.index("disk")
    rows = []
    for group, title in LEAK_TITLES.items():
        found = numbers.values(group, "measured", "leak")
        ious = [[run[scene]["iou"] for run in found] for scene in ("as_they_are", "recoloured")]
        cells = [plus_minus([np.mean(iou) for iou in runs]) for runs in ious]
        cells += [plus_minus([iou[disk] for iou in runs]) for runs in ious]
        for scene in ("as_they_are", "planted"):
            cells.append(plus_minus([100 * run[scene]["false_disk"] for run in found], 1))
        rows.append([title, str(len(found)), *(cells if found else [NOT_RUN])])
    return rows


TABLES: tuple[Callable[..., Rows], ...] = (
    windows, fix, balance, balance_runs, guesses, ranking, colour_leak,
)  # fmt: skip
