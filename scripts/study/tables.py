"""The study's tables: lists of cells, which the page writes as Markdown and as HTML."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from scripts.study.numbers import LEAK_TITLES, LOSS_TITLES, Numbers, spread

# A published student run at depth 16: mean loss of the first and of the last 500 iterations.
REPORTED = {"mse": (438.0, 354.0), "dice": (0.842, 0.749), "combo20": (465.0, 377.0)}
# DLStudio under PyTorch 2.13 on a CPU, depth 16, seed 1234: mean MSE of each 250 iterations, and
# the same with a transposed convolution that writes every pixel as the last layer.
PYTORCH = {
    "dlstudio": (456, 449, 426, 413, 408, 407),
    "dense": (377, 318, 258, 218, 187, 175),
}
PYTORCH_STEPS = 250
HEAD_TITLES = {"dlstudio": "DLStudio's", "dense": "dense"}
NOT_RUN = "not run yet"


@dataclasses.dataclass(frozen=True)
class Table:
    """A heading row, rows of text, and what every reader has to know about them."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str


def scale_note(numbers: Numbers) -> str:
    """Return the sentence on scale, device and versions that each table of trained runs carries."""
    about = numbers.summary
    where = "; ".join(
        f"{entry['device']}, {entry['cpu_cores']} cores ({entry['runs']} runs, other programs "
        f"running), jax {entry['versions']['jax']}, Python {entry['versions']['python']}"
        for entry in _merged(about["environments"])
    )
    return f"Scale `{about['scale']}`: {about['about']}. {where}."


def _merged(environments: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join the environments that differ in their commit only."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for entry in environments:
        key = (entry["device"], entry["cpu_cores"], str(entry["versions"]))
        if key in found:
            found[key] = {**found[key], "runs": found[key]["runs"] + entry["runs"]}
        else:
            found[key] = dict(entry)
    return list(found.values())


def floors(numbers: Numbers) -> Table:
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
    sets = list(numbers.floors)
    rows = [
        [title, *(f"{numbers.floors[name][key]:.{digits}f}" for name in sets)]
        for key, title, digits in names
    ]
    best = []
    for found in numbers.floors.values():
        present = [value for value in found["iou"] if value is not None]
        best.append(f"{min(present):.3f} to {max(present):.3f}")
    rows.append(["**highest IoU of a class**", *best])
    counts = [f"{name} ({numbers.floors[name]['images']:,})" for name in sets]
    return Table(["quantity", *counts], rows, "From the masks alone; Dice of a set as one batch.")


def reproduction(numbers: Numbers) -> Table:
    """Return the four losses under DLStudio's recipe beside the report's."""
    rows = []
    for name in ("mse", "dice", "combo20", "combo400"):
        runs = numbers.group(f"{name}-dlstudio")
        told = REPORTED.get(name)
        digits = 3 if name == "dice" else 1
        cells = [LOSS_TITLES[name], f"{told[0]:g} to {told[1]:g}" if told else "not given"]
        if runs:
            cells += [
                str(len(runs)),
                spread([run["curve"]["loss"][0] for run in runs], digits),
                spread([run["last_loss"] for run in runs], digits),
                f"{runs[0]['floor']:.{digits}f}",
                spread([run["half"]["miou"] for run in runs]),
                spread([run["windows"]["miou"] for run in runs]) if "windows" in runs[0] else "-",
            ]
        else:
            cells += ["0", NOT_RUN, "", "", "", ""]
        rows.append(cells)
    return Table(
        ["loss", "report, first to last", "n", "first mean here", "last mean here",
         "floor here", "mean IoU, half value", "mean IoU, DLStudio's windows"],
        rows,
        "Report: a published student run, depth 16, means of 500 iterations over 6 epochs. Here: "
        f"{scale_note(numbers)}",
    )  # fmt: skip


def anchors(numbers: Numbers) -> Table | None:
    """Return the first epoch at depth 16 on all images, beside DLStudio's under PyTorch."""
    rows = []
    for head, told in PYTORCH.items():
        run = numbers.first(f"anchor-mse-{head}")
        rows.append([f"{HEAD_TITLES[head]}, DLStudio in PyTorch", *map(str, told)])
        if run is not None:
            means = means_of(run, PYTORCH_STEPS)[: len(told)]
            cells = [f"{mean:.0f}" for mean in means]
            rows.append([f"**{HEAD_TITLES[head]}, segjax**", *cells, *[""] * (6 - len(cells))])
        else:
            rows.append([f"**{HEAD_TITLES[head]}, segjax**", NOT_RUN, *[""] * 5])
    steps = [f"{PYTORCH_STEPS * (index + 1):,}" for index in range(6)]
    return Table(
        ["output layer", *steps],
        rows,
        "Mean training MSE of the 250 iterations up to the one in the heading; depth 16, all "
        "10,000 images, batches of 4, seed 1234 (which draws other weights and another order in "
        "the two frameworks); n = 1 each. segjax's dense row writes every pixel inside the network "
        "too.",
    )


def means_of(run: dict[str, Any], steps: int) -> list[float]:
    """Return the means of a run's curve over each so many steps, as far as they are whole."""
    found: list[float] = []
    total, before, filled = 0.0, 0, 0
    for step, loss in zip(run["curve"]["step"], run["curve"]["loss"], strict=True):
        total, filled, before = total + loss * (step - before), filled + step - before, step
        if filled >= steps:
            found.append(total / filled)
            total, filled = 0.0, 0
    return found


def fix(numbers: Numbers) -> Table:
    """Return IoU per class under both output layers."""
    return _scores(numbers, "iou", "IoU")


def fix_dice(numbers: Numbers) -> Table:
    """Return Dice per class under both output layers, and boundary F1."""
    return _scores(numbers, "dice", "Dice")


def _scores(numbers: Numbers, key: str, title: str) -> Table:
    rows = []
    groups = [
        *((f"{loss}-{head}", f"{LOSS_TITLES[loss]}, {HEAD_TITLES[head]}")
          for loss in ("mse", "dice", "combo20", "combo400") for head in ("dlstudio", "dense")),
        ("mse-dense-inside", "MSE, dense throughout"),
    ]  # fmt: skip
    for group, name in groups:
        runs = numbers.group(group)
        if not runs:
            rows.append([name, "0", NOT_RUN, *[""] * (len(numbers.classes) + 1)])
            continue
        cells = [spread([run["half"][f"m{key}" if key == "dice" else "miou"] for run in runs])]
        cells += [
            spread([run["half"][key][c] for run in runs]) for c in range(len(numbers.classes))
        ]
        cells.append(spread(numbers.measured(group, "shapes", "boundary_f1_mean")))
        rows.append([name, str(len(runs)), *cells])
    return Table(
        ["loss, output layer", "n", f"mean {title}", *numbers.classes, "boundary F1"],
        rows,
        f"{title} on the test images, half-value threshold; boundary F1 within 1 pixel, mean over "
        f"classes; mean ± standard deviation over n seeds. {scale_note(numbers)}",
    )


def windows(numbers: Numbers) -> Table:
    """Return what DLStudio's windows read of the pixels that a network computes."""
    rows = []
    groups = (
        ("by-heart-mse-dlstudio", "MSE, by heart"),
        ("by-heart-dice-dlstudio", "Dice, by heart"),
        *((f"{name}-dlstudio", LOSS_TITLES[name]) for name in ("mse", "dice", "combo400")),
    )
    for group, title in groups:
        shares = numbers.measured(group, "outputs", "windows")
        if not shares:
            rows.append([title, NOT_RUN, *[""] * len(numbers.classes)])
            continue
        cells = []
        for c in range(len(numbers.classes)):
            parts = [
                100 * sum(run[c][k] for run in shares) / len(shares)
                for k in range(3)
                if shares[0][c][0] is not None
            ]
            cells.append(" / ".join(f"{part:.0f}" for part in parts) or "-")
        amplitude = numbers.measured(group, "outputs", "amplitude_all")
        rows.append([f"{title} (n = {len(shares)})", spread(amplitude, 2), *cells])
    return Table(
        ["loss, DLStudio's output layer", "multiple of the mask value", *numbers.classes],
        rows,
        "Of the computed pixels of each class in the test images, by heart in those learned: below "
        "/ inside / above its window, %. The multiple is a least-squares fit over all classes. "
        f"{scale_note(numbers)}",
    )


def balance(numbers: Numbers) -> Table:
    """Return how even the classes are."""
    rows = []
    names = {
        "files": "DLStudio's training file",
        "uniform": "drawn, even",
        "skewed": "drawn, skewed",
    }
    for key, title in names.items():
        about = numbers.summary["balance"].get(key)
        if about is None:
            continue
        total = sum(about["objects"])
        cells = [
            f"{100 * share:.2f} / {100 * count / total:.1f}"
            for share, count in zip(about["pixels"], about["objects"], strict=True)
        ]
        rows.append([f"{title} ({about['images']:,})", f"{100 * about['foreground']:.2f}", *cells])
    return Table(
        ["images", "foreground, % of pixels", *numbers.classes],
        rows,
        "Per class: share of all pixels, % / share of all objects, %.",
    )


def balance_runs(numbers: Numbers) -> Table:
    """Return how the losses do on even and on skewed classes."""
    rows = []
    for name in ("mse", "combo400"):
        for kind in ("uniform", "skewed"):
            runs = numbers.group(f"{name}-dense-{kind}")
            title = f"{LOSS_TITLES[name]}, {'even' if kind == 'uniform' else 'skewed'}"
            if not runs:
                rows.append([title, "0", NOT_RUN, *[""] * len(numbers.classes)])
                continue
            cells = [spread([run["half"]["miou"] for run in runs])]
            cells += [spread([r["half"]["iou"][c] for r in runs])
                      for c in range(len(numbers.classes))]  # fmt: skip
            rows.append([title, str(len(runs)), *cells])
    return Table(
        ["loss, classes", "n", "mean IoU", *numbers.classes],
        rows,
        "Dense output layer; trained and tested on drawn scenes of the same balance. "
        f"{scale_note(numbers)}",
    )


def guesses(numbers: Numbers) -> Table:
    """Return mean IoU of what the report guessed at: length, depth, scale of Dice, target unit."""
    rows = []
    groups = [
        *((f"dice-{{head}}-epochs-x{k}", f"Dice, {k} times the epochs") for k in (2, 4)),
        *((f"mse-{{head}}-depth{d}", f"MSE, depth {d}") for d in (4, 8, 16, 32)),
        *((f"{name}-{{head}}", LOSS_TITLES[name]) for name in LOSS_TITLES),
        ("mse-{head}-unit", "MSE, 0/1 targets"),
        ("dice-{head}-unit", "Dice, 0/1 targets"),
        ("combo20-{head}-unit", "MSE + 20 Dice, 0/1 targets"),
    ]
    for group, title in groups:
        cells, counts = [], []
        for head in HEAD_TITLES:
            runs = numbers.group(group.format(head=head))
            scores = [run["half"]["miou"] for run in runs] or _passed(numbers, group, head)
            counts.append(str(len(scores)))
            cells.append(spread(scores))
        if counts != ["0", "0"]:
            rows.append([title, f"{counts[0]}, {counts[1]}", *cells])
    return Table(
        ["setting", "n", *(f"mean IoU, {title} output layer" for title in HEAD_TITLES.values())],
        rows,
        f"Test images, half-value threshold. A dash: not run. {scale_note(numbers)}",
    )


def _passed(numbers: Numbers, group: str, head: str) -> list[float]:
    """Return the score that a longer run had when it passed the end of a shorter one."""
    base = numbers.first(f"dice-{head}")
    if base is None or "-epochs-x" not in group:
        return []
    wanted = int(group.rsplit("x", 1)[1]) * base["epochs"]
    return [score for epochs, scores in numbers.epochs_sweep(head) if epochs == wanted
            for score in scores]  # fmt: skip


def ranking(numbers: Numbers) -> Table:
    """Return the library's losses by their validation score."""
    rows = []
    for place, (name, scores) in enumerate(numbers.ranking(), 1):
        runs = numbers.group(f"library-{name}")
        per_class = [
            spread([run["half"]["iou"][c] for run in runs]) for c in range(len(numbers.classes))
        ]
        rows.append(
            [str(place), f"`{name}`", str(len(runs)), spread(scores["val"]),
             spread(scores["test"]), *per_class]
        )  # fmt: skip
    return Table(
        ["rank", "loss", "n", "validation mean IoU", "test mean IoU", *numbers.classes],
        rows,
        "Per class: test IoU. Ranked by the validation images (the last 1,000 of the training "
        "file); the recipe of `configs/quick.py`, chosen under `bce` and tuned to no other loss; "
        f"dense throughout, 0/1 targets. {scale_note(numbers)}",
    )


def colour_leak(numbers: Numbers) -> Table:
    """Return what new colours cost, class by class."""
    disk = numbers.classes.index("disk")
    rows = []
    for group, title in LEAK_TITLES.items():
        found = numbers.measured(group, "leak")
        if not found:
            rows.append([title, "0", NOT_RUN, "", "", "", "", ""])
            continue

        def mean_iou(scene: str, runs: list[dict[str, Any]] = found) -> list[float]:
            return [sum(run[scene]["iou"]) / len(run[scene]["iou"]) for run in runs]

        rows.append(
            [
                title,
                str(len(found)),
                spread(mean_iou("as_they_are")),
                spread(mean_iou("recoloured")),
                spread([run["as_they_are"]["iou"][disk] for run in found]),
                spread([run["recoloured"]["iou"][disk] for run in found]),
                spread([100 * run["as_they_are"]["false_disk"] for run in found], 1),
                spread([100 * run["planted"]["false_disk"] for run in found], 1),
            ]
        )
    return Table(
        ["network", "n", "mean IoU", "recoloured", "disk IoU", "recoloured",
         "called disk, %", "with a disk's red, %"],
        rows,
        "Called disk: share of the pixels of other shapes. With a disk's red: every other shape "
        f"got a red value of 5 to 11. {scale_note(numbers)}",
    )  # fmt: skip


TABLES: dict[str, Callable[[Numbers], Table | None]] = {
    "floors": floors,
    "reproduction": reproduction,
    "anchors": anchors,
    "fix": fix,
    "fix-dice": fix_dice,
    "windows": windows,
    "balance": balance,
    "balance-runs": balance_runs,
    "guesses": guesses,
    "ranking": ranking,
    "colour-leak": colour_leak,
}
