"""Questions that the page and its figures ask of the study's numbers, and claims on them."""

import statistics
from collections.abc import Callable, Sequence
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

    def miou(self, name: str) -> float:
        """Return a group's mean IoU on the test images; MissingRunsError if there is none."""
        return statistics.mean(self.need(name, "half", "miou"))

    def gain(self, before: str, after: str) -> float:
        """Return by how much the mean IoU of one group is above another's."""
        return self.miou(after) - self.miou(before)

    def all_gain(self, pairs: dict[str, str]) -> bool:
        """Tell whether each group gains over the one that it is paired with."""
        return min(self.gain(before, after) for before, after in pairs.items()) > 0

    def ends_and_floors(self, group: str) -> list[tuple[float, float]]:
        """Return last loss and floor of the runs of a group, or of all, that have a floor."""
        runs = self.group(group) if group else [r for runs in self.groups.values() for r in runs]
        if found := [(r["last_loss"], r["floor"]) for r in runs if r["floor"] is not None]:
            return found
        raise MissingRunsError(group)

    def by_heart_ratios(self) -> list[float]:
        """Return last loss over floor of each run by heart with DLStudio's layer."""
        found = [self.ends_and_floors(f"by-heart-{name}-dlstudio")[0] for name in BY_HEART]
        return [end / floor for end, floor in found]

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

    def two_best(self) -> tuple[list[float], list[float]]:
        """Return the validation scores of the two best of the library's losses."""
        if len(rows := self.ranking()) < 2:
            raise MissingRunsError("library")
        return rows[0][1]["val"], rows[1][1]["val"]

    def leak_rows(self) -> list[tuple[str, list[dict[str, Any]]]]:
        """Return the colour-leak measures of each group of ``LEAK_TITLES``."""
        return [(t, self.values(name, "measured", "leak")) for name, t in LEAK_TITLES.items()]

    def false_disks(self, group: str, scene: str) -> list[float]:
        """Return the share of other shapes' pixels called disk in a scene; MissingRunsError."""
        return self.need(group, "measured", "leak", scene, "false_disk")


# What sentences of the page rest on; asked where its runs are missing, MissingRunsError.
CLAIMS: dict[str, Callable[[Numbers], bool]] = {
    # No run with DLStudio's output layer ended below its floor.
    "never_below_floor": lambda n: all(at >= 0.98 * floor for at, floor in n.ends_and_floors("")),
    # The dense layer's MSE ended below the floor of DLStudio's.
    "dense_below_floor": lambda n: (
        max(n.need("mse-dense", "last_loss")) < n.need("mse-dlstudio", "floor")[0]
    ),
    # The runs by heart end within 5 % of their floors, and not below them: batches are of shuffled
    # images, the bound is of consecutive ones, and moves by a percent or two.
    "by_heart_near": lambda n: all(0.97 <= ratio <= 1.05 for ratio in n.by_heart_ratios()),
    # The dense layer scores above DLStudio's under each of the report's losses.
    "dense_always_better": lambda n: n.all_gain(
        {f"{name}-dlstudio": f"{name}-dense" for name in REPORT}
    ),
    # Dice in the sum gains no more over MSE on skewed classes than on even ones.
    "skew_no_help": lambda n: (
        n.gain("mse-dense-skewed", "combo400-dense-skewed")
        <= n.gain("mse-dense-uniform", "combo400-dense-uniform")
    ),
    # Four times the epochs raise mean IoU under Dice with both layers.
    "dice_longer": lambda n: n.all_gain(
        {f"dice-{head}": f"dice-{head}-epochs-x4" for head in ("dlstudio", "dense")}
    ),
    # The deepest network scores above the base depth's, with the dense layer.
    "depth_helps_dense": lambda n: statistics.mean(n.deepest()[1]) > n.miou("mse-dense"),
    # 4000 Dice moves mean IoU further from MSE's than 20 Dice.
    "scale_matters": lambda n: (
        abs(n.gain("mse-dense", "combo4000-dense")) > abs(n.gain("mse-dense", "combo20-dense"))
    ),
    # With DLStudio's layer, 4000 Dice scores above MSE alone by more than 0.05.
    "dice_lifts": lambda n: n.gain("mse-dlstudio", "combo4000-dlstudio") > 0.05,
    # Dice alone scores higher against 0/1 targets than against raw masks, dense.
    "unit_dice": lambda n: n.gain("dice-dense", "dice-dense-unit") > 0,
    # The first loss is ahead of the second by more than either's spread.
    "spread_separates": lambda n: _apart(*n.two_best()),
    # A disk's red at least triples what is wrongly called disk.
    "leak_real": lambda n: (
        statistics.mean(n.false_disks("library-bce", "planted"))
        > 3 * statistics.mean(n.false_disks("library-bce", "as_they_are"))
    ),
    # Recoloured training leaves less than a quarter of the leak's false disks.
    "recolour_cures": lambda n: (
        statistics.mean(n.false_disks("library-bce-recolour", "planted"))
        < statistics.mean(n.false_disks("library-bce", "planted")) / 4
    ),
}


def _apart(one: Sequence[float], two: Sequence[float]) -> bool:
    if min(len(one), len(two)) < 2:
        return False
    gap = statistics.mean(one) - statistics.mean(two)
    return gap > max(statistics.stdev(one), statistics.stdev(two))
