"""The rows of the page's tables; their headings and notes are in template.md."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripts.docs.markdown import plus_minus
from scripts.study.numbers import BY_HEART, LOSS_TITLES, MIOU, REPORT, Numbers

# From elsewhere: the report's own losses, and DLStudio's under PyTorch.
REPORTED = json.loads(Path(__file__).with_name("reported.json").read_text(encoding="utf-8"))
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


def reproduction(numbers: Numbers) -> Rows:
    """Return the four losses under DLStudio's recipe beside the report's."""
    rows = []
    for name in REPORT:
        group, digits = f"{name}-dlstudio", 3 if name == "dice" else 1
        told = REPORTED["report"]["losses"].get(name)
        row = [LOSS_TITLES[name], f"{told[0]:g} to {told[1]:g}" if told else "not given"]
        if runs := numbers.group(group):
            row += [
                str(len(runs)),
                plus_minus(numbers.values(group, "curve", "loss", 0), digits),
                plus_minus(numbers.values(group, "last_loss"), digits),
                f"{runs[0]['floor']:.{digits}f}",
                plus_minus(numbers.values(group, *MIOU)),
                plus_minus(numbers.values(group, "windows", "miou")),
            ]
        rows.append(row if runs else [*row, "0", NOT_RUN])
    return rows


def anchors(numbers: Numbers) -> Rows:
    """Return the first epoch at depth 16 on all images, beside DLStudio's under PyTorch."""
    rows = []
    told = REPORTED["dlstudio_in_pytorch"]
    for head, losses in told["losses"].items():
        rows.append([f"{HEAD_TITLES[head]}, DLStudio in PyTorch", *map(str, losses)])
        curves = numbers.values(f"anchor-mse-{head}", "curve")
        means = means_of(curves[0], told["steps"])[: len(losses)] if curves else []
        cells = [f"{mean:.0f}" for mean in means] if curves else [NOT_RUN]
        rows.append([f"**{HEAD_TITLES[head]}, segjax**", *cells])
    return rows


def means_of(curve: dict[str, Any], steps: int) -> list[float]:
    """Return the means of a curve over each so many steps, as far as they are whole."""
    found: list[float] = []
    total, before, filled = 0.0, 0, 0
    for step, loss in zip(curve["step"], curve["loss"], strict=True):
        total, filled, before = total + loss * (step - before), filled + step - before, step
        if filled >= steps:
            found.append(total / filled)
            total, filled = 0.0, 0
    return found


def floors(numbers: Numbers) -> Rows:
    """Return what no training can get under."""
    names = (
        ("mse_all_zero", "MSE of empty outputs", 1),
        ("mse_best_constant", "MSE of the best constant per channel", 1),
        ("mse", "**lowest MSE with this output layer**", 1),
        ("dice_at_mask_value", "Dice with the mask value on the computed pixels", 3),
        ("dice_zero_bias", "lowest Dice with constants of 0", 3),
        ("dice", "**lowest Dice with this output layer**", 3),
        ("dice_amplitude", "multiple of the mask value where that is reached", 2),
    )
    sets = numbers.floors.values()
    rows = [
        [title, *(f"{found[key]:.{digits}f}" for found in sets)] for key, title, digits in names
    ]
    present = [[value for value in found["iou"] if value is not None] for found in sets]
    best = [f"{min(values):.3f} to {max(values):.3f}" for values in present]
    return [*rows, ["**highest IoU of a class**", *best]]


def windows(numbers: Numbers) -> Rows:
    """Return what DLStudio's windows read of the pixels that a network computes."""
    titles = {f"by-heart-{name}": f"{LOSS_TITLES[name]}, by heart" for name in ("mse", "dice")}
    rows = []
    for name, title in (titles | {name: LOSS_TITLES[name] for name in BY_HEART}).items():
        found = numbers.values(f"{name}-dlstudio", "measured", "outputs")
        row = [
            f"{title} (n = {len(found)})",
            plus_minus([run["amplitude_all"] for run in found], 2),
        ]
        for of_class in zip(*(run["windows"] for run in found), strict=True):
            parts = zip(*of_class, strict=True) if of_class[0][0] is not None else ()
            row.append(" / ".join(f"{100 * sum(p) / len(p):.0f}" for p in parts) or "-")
        rows.append(row if found else [title, NOT_RUN])
    return rows


def fix(numbers: Numbers, key: str) -> Rows:
    """Return a score per class ('iou' or 'dice') under both output layers, and boundary F1."""
    titles = {
        f"{loss}-{head}": f"{LOSS_TITLES[loss]}, {HEAD_TITLES[head]}"
        for loss in REPORT
        for head in HEAD_TITLES
    }
    left = {run.rpartition("-seed")[0] for run in numbers.summary["missing"]}
    planned = numbers.groups.keys() | left  # not every scale has all
    titles |= {
        group: f"{LOSS_TITLES[loss]}, dense throughout"
        for loss in REPORT
        if (group := f"{loss}-dense-inside") in planned
    }
    boundary = ("measured", "shapes", "boundary_f1_mean")
    return scored(numbers, titles, ("half", f"m{key}"), *per_class(numbers, key), boundary)


def balance(numbers: Numbers) -> Rows:
    """Return how even the classes are."""
    titles = {
        "files": "DLStudio's training file",
        "uniform": "drawn, even",
        "skewed": "drawn, skewed",
    }
    rows = []
    for key, title in titles.items():
        if about := numbers.summary["balance"].get(key):
            shares = zip(about["pixels"], about["objects"], strict=True)
            total = sum(about["objects"])
            cells = [f"{100 * share:.2f} / {100 * count / total:.1f}" for share, count in shares]
            images, foreground = f"{about['images']:,}", f"{100 * about['foreground']:.2f}"
            rows.append([f"{title} ({images})", foreground, *cells])
    return rows


def balance_runs(numbers: Numbers) -> Rows:
    """Return how the losses do on even and on skewed classes."""
    titles = {
        f"{name}-dense-{kind}": f"{LOSS_TITLES[name]}, {title}"
        for name in ("mse", "combo400")
        for kind, title in (("uniform", "even"), ("skewed", "skewed"))
    }
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
        found = [
            numbers.values(group.format(head), *MIOU) or _passed(numbers, group, head)
            for head in HEAD_TITLES
        ]
        if any(found):
            counts = ", ".join(str(len(scores)) for scores in found)
            rows.append([title, counts, *map(plus_minus, found)])
    return rows


def _passed(numbers: Numbers, group: str, head: str) -> list[float]:
    """Return the score that a longer run had when it passed the end of a shorter one."""
    base = numbers.group(f"dice-{head}")
    if not base or "-epochs-x" not in group:
        return []
    wanted = int(group.rpartition("x")[2]) * base[0]["epochs"]
    sweep = numbers.epochs_sweep(head)
    return [score for epochs, scores in sweep if epochs == wanted for score in scores]


def ranking(numbers: Numbers) -> Rows:
    """Return the library's losses by their validation score."""
    titles = {f"library-{name}": f"`{name}`" for name, _ in numbers.ranking()}
    rows = scored(numbers, titles, ("val_miou",), MIOU, *per_class(numbers, "iou"))
    return [[str(place), *row] for place, row in enumerate(rows, 1)]


def colour_leak(numbers: Numbers) -> Rows:
    """Return what new colours cost, class by class."""
    disk = numbers.classes.index("disk")
    rows = []
    for title, found in numbers.leak_rows():
        plain, new, red = (
            [run[scene] for run in found] for scene in ("as_they_are", "recoloured", "planted")
        )
        cells = [
            *(
                plus_minus([sum(s["iou"]) / len(s["iou"]) for s in scenes])
                for scenes in (plain, new)
            ),
            *(plus_minus([scene["iou"][disk] for scene in scenes]) for scenes in (plain, new)),
            *(plus_minus([100 * s["false_disk"] for s in scenes], 1) for scenes in (plain, red)),
        ]
        rows.append([title, str(len(found)), *(cells if found else [NOT_RUN])])
    return rows


TABLES: tuple[Callable[..., Rows], ...] = (
    reproduction, anchors, floors, windows, fix, balance, balance_runs, guesses, ranking,
    colour_leak,
)  # fmt: skip
