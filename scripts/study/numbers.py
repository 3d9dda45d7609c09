"""Questions that the page and its figures ask of the study's numbers, and claims on them."""

import statistics
from collections.abc import Callable
from typing import Any

ALL = "all training images"
REPORT = ("mse", "dice", "combo20", "combo400")
BY_HEART = ("mse", "dice", "combo400")
LOSS_TITLES = {"mse": "MSE", "dice": "Dice"} | {
    f"combo{scale}": f"MSE + {scale} Dice" for scale in (20, 100, 400, 4000)
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
MIOU = ("half", "miou")
Run = dict[str, Any]
Sweep = list[tuple[float, list[float]]]


class MissingRunsError(Exception):
    """The runs that a question is about are not done at this scale."""


class Numbers:
    """The content of docs/results/study-SCALE.json, asked by group."""

    def __init__(self, summary: dict[str, Any]) -> None:
        self.summary = summary
        self.floors: dict[str, dict[str, Any]] = summary["floors"]
        self.classes: list[str] = summary["classes"]
        self.groups: dict[str, list[Run]] = {}
        for run in sorted(summary["runs"].values(), key=lambda run: run["seed"]):
            self.groups.setdefault(run["group"], []).append(run)

    def group(self, name: str) -> list[Run]:
        """Return the runs of a group, by seed; empty if none is done."""
        return self.groups.get(name, [])

    def values(self, name: str, *keys: str | int) -> list[Any]:
        """Return what each run of a group holds under its keys, as far as it holds it."""
        found: list[Any] = self.group(name)
        for key in keys:
            below = (value[key] if isinstance(key, int) else value.get(key) for value in found)
            found = [value for value in below if value is not None]
        return found

    def need(self, name: str, *keys: str | int) -> list[Any]:
        """Return ``values``; MissingRunsError if there are none."""
        if found := self.values(name, *keys):
            return found
        raise MissingRunsError(name)

    def miou(self, name: str) -> float:
        """Return a group's mean IoU on the test images; MissingRunsError if there is none."""
        return statistics.mean(self.need(name, *MIOU))

    def gain(self, before: str, after: str) -> float:
        """Return by how much the mean IoU of one group is above another's."""
        return self.miou(after) - self.miou(before)

    def over_floors(self, *names: str) -> list[float]:
        """Return last loss over floor of the runs of groups; MissingRunsError if none has one."""
        runs = [run for name in names for run in self.group(name) if run["floor"]]
        if not runs:
            raise MissingRunsError(*names)
        return [run["last_loss"] / run["floor"] for run in runs]

    def epochs_sweep(self, head: str) -> Sweep:
        """Return (epochs, mean IoUs) of Dice alone."""
        points: Sweep = []
        for name, (first, *_) in self.groups.items():
            if name == f"dice-{head}" or name.startswith(f"dice-{head}-epochs-x"):
                passed = (first["measured"] or {}).get("after_epochs") or {}
                points += [(int(at), [found["mean_iou"]]) for at, found in passed.items()]
                points.append((first["epochs"], self.values(name, *MIOU)))
        return sorted(points)

    def depth_sweep(self, head: str) -> Sweep:
        """Return (depth, mean IoUs) of MSE."""
        base = f"mse-{head}"
        return sorted(
            (runs[0]["depth"], self.values(name, *MIOU))
            for name, runs in self.groups.items()
            if name == base or name.startswith(f"{base}-depth")
        )

    def deepest(self) -> tuple[float, list[float]]:
        """Return depth and mean IoUs of the deepest network beyond the base depth, dense head.

        MissingRunsError if there is none.
        """
        deepest = self.depth_sweep("dense")[-1:]
        if deepest and deepest[0][0] > self.need("mse-dense", "depth")[0]:
            return deepest[0]
        raise MissingRunsError("mse-dense-depth")

    def constant_range(self) -> float:
        """Return the widest range of a channel at the pixels that DLStudio's layer leaves."""
        keys = ("measured", "outputs", "constant_range")
        found = [ranges for name in REPORT for ranges in self.values(f"{name}-dlstudio", *keys)]
        if not any(found):
            raise MissingRunsError("dlstudio")
        return max(max(ranges) for ranges in found if ranges)

    def ranking(self) -> list[tuple[str, dict[str, list[float]]]]:
        """Return the library's losses, best mean validation score first."""
        rows = [
            (
                name.removeprefix("library-"),
                {"val": [run["val_miou"] for run in runs], "test": self.values(name, *MIOU)},
            )
            for name, runs in self.groups.items()
            if name.startswith("library-") and "5" in runs[0]["parts"]
        ]
        return sorted(rows, key=lambda row: -statistics.mean(row[1]["val"]))

    def leak_rows(self) -> list[tuple[str, list[dict[str, Any]]]]:
        """Return the colour-leak measures of each group of ``LEAK_TITLES``."""
        return [(t, self.values(name, "measured", "leak")) for name, t in LEAK_TITLES.items()]

    def false_disks(self, group: str, scene: str) -> list[float]:
        """Return the share of other shapes' pixels called disk in a scene; MissingRunsError."""
        return self.need(group, "measured", "leak", scene, "false_disk")


def _by_heart_near(numbers: Numbers) -> bool:
    ratios = [numbers.over_floors(f"by-heart-{name}-dlstudio")[0] for name in BY_HEART]
    return 0.97 <= min(ratios) <= max(ratios) <= 1.05


def _separate(numbers: Numbers) -> bool:
    if len(rows := numbers.ranking()) < 2:
        raise MissingRunsError("library")
    one, two = (scores["val"] for _, scores in rows[:2])
    if min(len(one), len(two)) < 2:
        return False
    gap = statistics.mean(one) - statistics.mean(two)
    return gap > max(statistics.stdev(one), statistics.stdev(two))


def _called_disk(numbers: Numbers, group: str, scene: str = "planted") -> float:
    return statistics.mean(numbers.false_disks(group, scene))


# What sentences of the page rest on; asked where its runs are missing, MissingRunsError.
CLAIMS: dict[str, Callable[[Numbers], bool]] = {
    # No run with DLStudio's output layer ended below its floor.
    "never_below_floor": lambda n: min(n.over_floors(*n.groups)) >= 0.98,
    # The dense layer's MSE ended below the floor of DLStudio's.
    "dense_below_floor": lambda n: (
        max(n.need("mse-dense", "last_loss")) < n.need("mse-dlstudio", "floor")[0]
    ),
    # The runs by heart end within 5 % of their floors, and not below them: batches are of shuffled
    # images, the bound is of consecutive ones, and moves by a percent or two.
    "by_heart_near": _by_heart_near,
    # The dense layer scores above DLStudio's under each of the report's losses.
    "dense_always_better": lambda n: (
        min(n.gain(f"{name}-dlstudio", f"{name}-dense") for name in REPORT) > 0
    ),
    # Dice in the sum gains no more over MSE on skewed classes than on even ones.
    "skew_no_help": lambda n: (
        n.gain("mse-dense-skewed", "combo400-dense-skewed")
        <= n.gain("mse-dense-uniform", "combo400-dense-uniform")
    ),
    # Four times the epochs raise mean IoU under Dice with both layers.
    "dice_longer": lambda n: (
        min(n.gain(f"dice-{head}", f"dice-{head}-epochs-x4") for head in ("dlstudio", "dense")) > 0
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
    "spread_separates": _separate,
    # A disk's red at least triples what is wrongly called disk.
    "leak_real": lambda n: (
        _called_disk(n, "library-bce") > 3 * _called_disk(n, "library-bce", "as_they_are")
    ),
    # Recoloured training leaves less than a quarter of the leak's false disks.
    "recolour_cures": lambda n: (
        _called_disk(n, "library-bce-recolour") < _called_disk(n, "library-bce") / 4
    ),
}
