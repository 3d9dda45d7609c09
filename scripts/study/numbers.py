"""Questions that the page and its figures ask of the study's numbers, and claims on them."""

import statistics
from collections.abc import Callable
from typing import Any

from scripts.study.groups import BY_HEART, REPORT

MIOU = ("half", "miou")
Run = dict[str, Any]


class MissingRunsError(Exception):
    """The runs that a question is about are not done at this scale."""


class Numbers:
    """The content of docs/results/study-SCALE.json, asked by group."""

    def __init__(self, summary: dict[str, Any]) -> None:
        self.summary = summary
        self.classes: list[str] = summary["classes"]
        self.groups: dict[str, list[Run]] = {}
        for run in sorted(summary["runs"].values(), key=lambda run: run["seed"]):
            self.groups.setdefault(run["group"], []).append(run)
            # A longer run that was tested on its way stands for the shorter ones, too.
            for epochs, found in ((run["measured"] or {}).get("after_epochs") or {}).items():
                base, _, factor = run["group"].rpartition("x")
                name = f"{base}x{int(factor) * int(epochs) // run['epochs']}"
                scores = {"half": {"miou": found["mean_iou"]}, "floor": None, "measured": None}
                self.groups.setdefault(name, []).append({**run, "epochs": int(epochs), **scores})

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

    def mean(self, name: str, *keys: str | int) -> float:
        """Return the mean of what the runs of a group hold; MissingRunsError."""
        return statistics.mean(self.need(name, *keys))

    def gain(self, before: str, after: str) -> float:
        """Return by how much the mean IoU of one group on the test images is above another's."""
        return self.mean(after, *MIOU) - self.mean(before, *MIOU)

    def called_disk(self, group: str, scene: str = "planted") -> float:
        """Return the mean share of other shapes' pixels called disk in a scene."""
        return self.mean(group, "measured", "leak", scene, "false_disk")

    def over_floors(self, *names: str) -> list[float]:
        """Return last loss over floor of the runs of groups; MissingRunsError if none has one."""
        runs = [run for name in names for run in self.group(name) if run["floor"]]
        if not runs:
            raise MissingRunsError(*names)
        return [run["last_loss"] / run["floor"] for run in runs]

    def sweep(self, base: str, setting: str) -> list[tuple[float, list[float]]]:
        """Return (setting, mean IoUs) of a group and of those that differ in this setting."""
        return sorted(
            (runs[0][setting], self.values(name, *MIOU))
            for name, runs in self.groups.items()
            if name == base or name.startswith(f"{base}-{setting}")
        )

    def deepest(self) -> str:
        """Return the group of the deepest network beyond the base depth, dense head.

        MissingRunsError if there is none.
        """
        [base, *_] = self.need("mse-dense", "depth")
        [*_, (depth, _)] = self.sweep("mse-dense", "depth")
        if depth == base:
            raise MissingRunsError("mse-dense-depth")
        return f"mse-dense-depth{depth}"

    def constant_range(self) -> str:
        """Write the widest range of a channel at the pixels that DLStudio's layer leaves."""
        keys = ("measured", "outputs", "constant_range")
        found = [ranges for name in REPORT for ranges in self.values(f"{name}-dlstudio", *keys)]
        if not any(found):
            raise MissingRunsError("dlstudio")
        return f"{max(max(ranges) for ranges in found if ranges):.2g}"

    def ranking(self) -> list[str]:
        """Return the library's losses, best mean validation score first."""
        found = [
            (-self.mean(name, "val_miou"), name.removeprefix("library-"))
            for name, runs in self.groups.items()
            if name.startswith("library-") and "5" in runs[0]["parts"]
        ]
        return [loss for _, loss in sorted(found)]


def _separate(numbers: Numbers) -> bool:
    if len(ranking := numbers.ranking()) < 2:
        raise MissingRunsError("library")
    one, two = (numbers.need(f"library-{loss}", "val_miou") for loss in ranking[:2])
    if min(len(one), len(two)) < 2:
        return False
    gap = statistics.mean(one) - statistics.mean(two)
    return gap > max(statistics.stdev(one), statistics.stdev(two))


# What sentences of the page rest on; asked where its runs are missing, MissingRunsError.
CLAIMS: dict[str, Callable[[Numbers], bool]] = {
    # No run with DLStudio's output layer ended below its floor.
    "never_below_floor": lambda n: min(n.over_floors(*n.groups)) >= 0.98,
    # The dense layer's MSE ended below the floor of DLStudio's.
    "dense_below_floor": lambda n: (
        max(n.need("mse-dense", "last_loss")) < n.need("mse-dlstudio", "floor")[0]
    ),
    # Within 5 % of their floors, and not below them: batches are of shuffled images, the bound is
    # of consecutive ones, and moves by a percent or two.
    "by_heart_near": lambda n: (
        {0.97 <= n.over_floors(f"by-heart-{name}-dlstudio")[0] <= 1.05 for name in BY_HEART}
        == {True}  # all are asked, so that one without runs is told
    ),
    "dense_always_better": lambda n: (
        min(n.gain(f"{name}-dlstudio", f"{name}-dense") for name in REPORT) > 0
    ),
    # Dice in the sum gains no more over MSE on skewed classes than on even ones.
    "skew_no_help": lambda n: (
        n.gain("mse-dense-skewed", "combo400-dense-skewed")
        <= n.gain("mse-dense-uniform", "combo400-dense-uniform")
    ),
    # With both layers.
    "dice_longer": lambda n: (
        min(n.gain(f"dice-{head}", f"dice-{head}-epochs-x4") for head in ("dlstudio", "dense")) > 0
    ),
    "depth_helps_dense": lambda n: n.gain("mse-dense", n.deepest()) > 0,
    # 4000 Dice moves mean IoU further from MSE's than 20 Dice.
    "scale_matters": lambda n: (
        abs(n.gain("mse-dense", "combo4000-dense")) > abs(n.gain("mse-dense", "combo20-dense"))
    ),
    "dice_lifts": lambda n: n.gain("mse-dlstudio", "combo4000-dlstudio") > 0.05,
    "unit_dice": lambda n: n.gain("dice-dense", "dice-dense-unit") > 0,
    # The first loss is ahead of the second by more than either's spread.
    "spread_separates": _separate,
    # A disk's red at least triples what is wrongly called disk.
    "leak_real": lambda n: (
        n.called_disk("library-bce") > 3 * n.called_disk("library-bce", "as_they_are")
    ),
    # Less than a quarter of the leak's false disks are left.
    "recolour_cures": lambda n: (
        n.called_disk("library-bce-recolour") < n.called_disk("library-bce") / 4
    ),
}
