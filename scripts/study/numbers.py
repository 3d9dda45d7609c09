"""Questions that the page and its figures ask of the study's numbers."""

import statistics
from collections.abc import Sequence
from typing import Any

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
SCALES_OF_DICE = (
    ("0", "mse"),
    ("20", "combo20"),
    ("100", "combo100"),
    ("400", "combo400"),
    ("4000", "combo4000"),
    ("Dice\nalone", "dice"),
)


class Numbers:
    """The content of docs/results/study-SCALE.json, asked by group."""

    def __init__(self, summary: dict[str, Any]) -> None:
        self.summary = summary
        self.floors: dict[str, dict[str, Any]] = summary["floors"]
        self.classes: list[str] = summary["classes"]
        self.groups: dict[str, list[dict[str, Any]]] = {}
        for run in summary["runs"].values():
            self.groups.setdefault(run["group"], []).append(run)
        for runs in self.groups.values():
            runs.sort(key=lambda run: run["seed"])

    def group(self, name: str) -> list[dict[str, Any]]:
        """Return the runs of a group, by seed; empty if none is done."""
        return self.groups.get(name, [])

    def first(self, name: str) -> dict[str, Any] | None:
        """Return a group's run of the first seed, or None."""
        runs = self.group(name)
        return runs[0] if runs else None

    def values(self, name: str, *keys: str | int) -> list[Any]:
        """Return one number (or list) of each run of a group, found by its keys."""
        found = []
        for run in self.group(name):
            value: Any = run
            for key in keys:
                value = None if value is None else value[key]
            if value is not None:
                found.append(value)
        return found

    def measured(self, name: str, *keys: str) -> list[Any]:
        """Return one measure of each run of a group that was measured."""
        runs = [run for run in self.group(name) if run["measured"]]
        found = []
        for run in runs:
            value: Any = run["measured"]
            for key in keys:
                value = value.get(key) if value is not None else None
            if value is not None:
                found.append(value)
        return found

    def mean(self, name: str, *keys: str | int) -> float | None:
        """Return the mean over a group's runs, or None without any."""
        values = self.values(name, *keys)
        return statistics.mean(values) if values else None

    def epochs_sweep(self, head: str) -> list[tuple[float, list[float]]]:
        """Return (epochs, mean IoUs) of Dice alone."""
        base = self.group(f"dice-{head}")
        points = [(base[0]["epochs"], [run["half"]["miou"] for run in base])] if base else []
        for name, runs in self.groups.items():
            if name.startswith(f"dice-{head}-epochs-x"):
                for epochs, found in (
                    (runs[0]["measured"] or {}).get("after_epochs") or {}
                ).items():
                    points.append((int(epochs), [found["mean_iou"]]))
                points.append((runs[0]["epochs"], [run["half"]["miou"] for run in runs]))
        return sorted(points)

    def depth_sweep(self, head: str) -> list[tuple[float, list[float]]]:
        """Return (depth, mean IoUs) of MSE."""
        names = [f"mse-{head}", *(n for n in self.groups if n.startswith(f"mse-{head}-depth"))]
        found = [(runs[0]["depth"], runs) for name in names if (runs := self.group(name))]
        return sorted((depth, [run["half"]["miou"] for run in runs]) for depth, runs in found)

    def scale_sweep(self, head: str) -> list[tuple[str, list[float]]]:
        """Return (scale of Dice, mean IoUs), MSE alone first and Dice alone last."""
        return [
            (title, [run["half"]["miou"] for run in self.group(f"{name}-{head}")])
            for title, name in SCALES_OF_DICE
        ]

    def ranking(self) -> list[tuple[str, dict[str, list[float]]]]:
        """Return the library's losses, best mean validation score first."""
        rows = []
        for name, runs in self.groups.items():
            if name.startswith("library-") and "5" in runs[0]["parts"]:
                scores = {
                    "val": [run["val_miou"] for run in runs],
                    "test": [run["half"]["miou"] for run in runs],
                }
                rows.append((name.removeprefix("library-"), scores))
        return sorted(rows, key=lambda row: -statistics.mean(row[1]["val"]))

    def leak_rows(self) -> list[tuple[str, list[dict[str, Any]]]]:
        """Return the colour-leak measures of each group that has them."""
        rows = [(title, self.measured(name, "leak")) for name, title in LEAK_TITLES.items()]
        return [(title, found) for title, found in rows if found]


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Write mean and standard deviation; a dash without values."""
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"
