"""Questions that the page and its figures ask of the study's numbers, and claims on them."""

import statistics
from collections.abc import Callable
from typing import Any

ALL = "all training images"
REPORT = ("mse", "dice", "combo20", "combo400")
BY_HEART = ("mse", "dice", "combo400")
LOSS_TITLES = {
    "mse": "MSE",
    "dice": "Dice",
    "combo20": "MSE + 20 Dice",
    "combo100": "MSE + 100 Dice",
    "combo400": "MSE + 400 Dice",
    "combo4000": "MSE + 4000 Dice",
}
LEAK_TITLES = {
    "mse-dlstudio": "MSE, DLStudio's layer",
    "mse-dense": "MSE, dense",
    "mse-dense-recolour": "MSE, dense, recoloured training",
    "anchor-mse-dense": "MSE, dense, depth 16, all images",
    "library-bce": "cross-entropy, quick recipe",
    "library-bce-recolour": "cross-entropy, quick recipe, recoloured training",
}
SCALES_OF_DICE = {
    "0": "mse",
    "20": "combo20",
    "100": "combo100",
    "400": "combo400",
    "4000": "combo4000",
    "Dice\nalone": "dice",
}


class MissingRunsError(Exception):
    """The runs that a question is about are not done at this scale."""


class Numbers:
    """The content of docs/results/study-SCALE.json, asked by group."""

    def __init__(self, summary: dict[str, Any]) -> None:
        self.summary = summary
        self.floors: dict[str, dict[str, Any]] = summary["floors"]
        self.classes: list[str] = summary["classes"]
        self.groups: dict[str, list[dict[str, Any]]] = {}
        for run in sorted(summary["runs"].values(), key=lambda run: run["seed"]):
            self.groups.setdefault(run["group"], []).append(run)

    def group(self, name: str) -> list[dict[str, Any]]:
        """Return the runs of a group, by seed; empty if none is done."""
        return self.groups.get(name, [])

    def first(self, name: str) -> dict[str, Any] | None:
        """Return a group's run of the first seed, or None."""
        return next(iter(self.group(name)), None)

    def planned(self, name: str) -> bool:
        """Tell whether a group is part of this scale, done or not."""
        left = (run.rpartition("-seed")[0] for run in self.summary["missing"])
        return name in self.groups or name in left

    def values(self, name: str, *keys: str | int) -> list[Any]:
        """Return what each run of a group holds under its keys, as far as it holds it."""
        found = []
        for run in self.group(name):
            value: Any = run
            for key in keys:
                if value is not None:
                    value = value[key] if isinstance(key, int) else value.get(key)
            if value is not None:
                found.append(value)
        return found

    def need(self, name: str, *keys: str | int) -> list[Any]:
        """Return ``values``; MissingRunsError if there are none."""
        if found := self.values(name, *keys):
            return found
        raise MissingRunsError(name)

    def mean(self, name: str, *keys: str | int) -> float:
        """Return the mean over a group's runs; MissingRunsError if there are none."""
        return statistics.mean(self.need(name, *keys))

    def miou(self, name: str) -> float:
        """Return a group's mean IoU on the test images; MissingRunsError if there is none."""
        return self.mean(name, "half", "miou")

    def epochs_sweep(self, head: str) -> list[tuple[float, list[float]]]:
        """Return (epochs, mean IoUs) of Dice alone."""
        points = []
        for name, runs in self.groups.items():
            if name == f"dice-{head}" or name.startswith(f"dice-{head}-epochs-x"):
                passed = (runs[0]["measured"] or {}).get("after_epochs") or {}
                points += [(int(at), [found["mean_iou"]]) for at, found in passed.items()]
                points.append((runs[0]["epochs"], self.values(name, "half", "miou")))
        return sorted(points)

    def depth_sweep(self, head: str) -> list[tuple[float, list[float]]]:
        """Return (depth, mean IoUs) of MSE."""
        base = f"mse-{head}"
        return sorted(
            (runs[0]["depth"], self.values(name, "half", "miou"))
            for name, runs in self.groups.items()
            if name == base or name.startswith(f"{base}-depth")
        )

    def scale_sweep(self, head: str) -> list[tuple[str, list[float]]]:
        """Return (scale of Dice, mean IoUs), MSE alone first and Dice alone last."""
        return [
            (title, self.values(f"{name}-{head}", "half", "miou"))
            for title, name in SCALES_OF_DICE.items()
        ]

    def deepest(self) -> tuple[float, list[float]]:
        """Return depth and mean IoUs of the deepest network beyond the base depth, dense head.

        MissingRunsError if there is none.
        """
        base, points = self.need("mse-dense", "depth")[0], self.depth_sweep("dense")
        if points[-1][0] <= base:
            raise MissingRunsError("mse-dense-depth")
        return points[-1]

    def constant_range(self) -> float:
        """Return the widest range of a channel at the pixels that DLStudio's layer leaves."""
        found = [
            max(ranges)
            for name in REPORT
            for ranges in self.values(f"{name}-dlstudio", "measured", "outputs", "constant_range")
            if ranges
        ]
        if not found:
            raise MissingRunsError("dlstudio")
        return max(found)

    def ranking(self) -> list[tuple[str, dict[str, list[float]]]]:
        """Return the library's losses, best mean validation score first."""
        rows = []
        for name, runs in self.groups.items():
            if name.startswith("library-") and "5" in runs[0]["parts"]:
                scores = {"val": [run["val_miou"] for run in runs]}
                scores["test"] = self.values(name, "half", "miou")
                rows.append((name.removeprefix("library-"), scores))
        return sorted(rows, key=lambda row: -statistics.mean(row[1]["val"]))

    def leak_rows(self) -> list[tuple[str, list[dict[str, Any]]]]:
        """Return the colour-leak measures of each group of ``LEAK_TITLES``."""
        return [(t, self.values(name, "measured", "leak")) for name, t in LEAK_TITLES.items()]

    def false_disks(self, group: str, scene: str) -> list[float]:
        """Return the share of other shapes' pixels called disk in a scene; MissingRunsError."""
        return self.need(group, "measured", "leak", scene, "false_disk")


def never_below_floor(numbers: Numbers) -> bool:
    """Claim that no run with DLStudio's output layer ended below its floor."""
    runs = [run for runs in numbers.groups.values() for run in runs if run["floor"] is not None]
    if not runs:
        raise MissingRunsError("dlstudio")
    return all(run["last_loss"] >= 0.98 * run["floor"] for run in runs)


def dense_below_floor(numbers: Numbers) -> bool:
    """Claim that the dense layer's MSE ended below the floor of DLStudio's."""
    return max(numbers.need("mse-dense", "last_loss")) < numbers.need("mse-dlstudio", "floor")[0]


def by_heart_near(numbers: Numbers) -> bool:
    """Claim that the runs by heart end within 5 % of their floors, and not below them."""
    groups = [f"by-heart-{name}-dlstudio" for name in BY_HEART]
    ends = [numbers.need(group, "last_loss")[0] for group in groups]
    floors = [numbers.need(group, "floor")[0] for group in groups]
    # Batches of shuffled images: the bound is of consecutive ones, and moves by a percent or two.
    return all(0.97 <= end / floor <= 1.05 for end, floor in zip(ends, floors, strict=True))


def dense_always_better(numbers: Numbers) -> bool:
    """Claim that the dense layer scores above DLStudio's under each of the report's losses."""
    dense, original = ([numbers.miou(f"{n}-{h}") for n in REPORT] for h in ("dense", "dlstudio"))
    return all(one > other for one, other in zip(dense, original, strict=True))


def skew_no_help(numbers: Numbers) -> bool:
    """Claim that Dice in the sum gains no more over MSE on skewed classes than on even ones."""
    skewed, even = (
        numbers.miou(f"combo400-dense-{kind}") - numbers.miou(f"mse-dense-{kind}")
        for kind in ("skewed", "uniform")
    )
    return skewed <= even


def dice_longer(numbers: Numbers) -> bool:
    """Claim that four times the epochs raise mean IoU under Dice with both layers."""
    heads = ("dlstudio", "dense")
    gains = [numbers.miou(f"dice-{h}-epochs-x4") - numbers.miou(f"dice-{h}") for h in heads]
    return all(gain > 0 for gain in gains)


def depth_helps_dense(numbers: Numbers) -> bool:
    """Claim that the deepest network scores above the base depth's, with the dense layer."""
    return statistics.mean(numbers.deepest()[1]) > numbers.miou("mse-dense")


def scale_matters(numbers: Numbers) -> bool:
    """Claim that 4000 Dice moves mean IoU further from MSE's than 20 Dice."""
    mse, small, large = (numbers.miou(f"{n}-dense") for n in ("mse", "combo20", "combo4000"))
    return abs(large - mse) > abs(small - mse)


def dice_lifts(numbers: Numbers) -> bool:
    """Claim that 4000 Dice scores above MSE alone by more than 0.05, DLStudio's layer."""
    return numbers.miou("combo4000-dlstudio") - numbers.miou("mse-dlstudio") > 0.05


def unit_dice(numbers: Numbers) -> bool:
    """Claim that Dice alone scores higher against 0/1 targets than against raw masks, dense."""
    return numbers.miou("dice-dense-unit") > numbers.miou("dice-dense")


def spread_separates(numbers: Numbers) -> bool:
    """Claim that the first loss is ahead of the second by more than either's spread."""
    rows = numbers.ranking()
    if len(rows) < 2:
        raise MissingRunsError("library")
    one, two = (scores["val"] for _, scores in rows[:2])
    if min(len(one), len(two)) < 2:
        return False
    gap = statistics.mean(one) - statistics.mean(two)
    return gap > max(statistics.stdev(one), statistics.stdev(two))


def leak_real(numbers: Numbers) -> bool:
    """Claim that a disk's red at least triples what is wrongly called disk."""
    planted, plain = (
        statistics.mean(numbers.false_disks("library-bce", scene))
        for scene in ("planted", "as_they_are")
    )
    return planted > 3 * plain


def recolour_cures(numbers: Numbers) -> bool:
    """Claim that recoloured training leaves less than a quarter of the leak's false disks."""
    leak, cured = (
        statistics.mean(numbers.false_disks(group, "planted"))
        for group in ("library-bce", "library-bce-recolour")
    )
    return cured < leak / 4


CLAIMS: tuple[Callable[[Numbers], bool], ...] = (
    never_below_floor, dense_below_floor, by_heart_near, dense_always_better, skew_no_help,
    dice_longer, depth_helps_dense, scale_matters, dice_lifts, unit_dice, spread_separates,
    leak_real, recolour_cures,
)  # fmt: skip
