"""Numbers inside the page's sentences, and the claims that its sentences rest on."""

import statistics
from collections.abc import Callable

from scripts.study.numbers import Numbers, spread

ALL, USED, TEST = "all training images", "training images used", "test images"


def _energy(numbers: Numbers) -> float:
    return numbers.floors[ALL]["mse_all_zero"]


def _miou(group: str) -> Callable[[Numbers], str | None]:
    def write(numbers: Numbers) -> str | None:
        values = numbers.values(group, "half", "miou")
        return spread(values) if values else None

    return write


def _last(group: str, digits: int) -> Callable[[Numbers], str | None]:
    def write(numbers: Numbers) -> str | None:
        values = numbers.values(group, "last_loss")
        return spread(values, digits) if values else None

    return write


def _floor(group: str, digits: int) -> Callable[[Numbers], str | None]:
    def write(numbers: Numbers) -> str | None:
        run = numbers.first(group)
        return f"{run['floor']:.{digits}f}" if run and run["floor"] is not None else None

    return write


def _amplitude(group: str) -> Callable[[Numbers], str | None]:
    def write(numbers: Numbers) -> str | None:
        values = numbers.measured(group, "outputs", "amplitude_all")
        return spread(values, 2) if values else None

    return write


def _constant_range(numbers: Numbers) -> str | None:
    found = [
        max(ranges)
        for name in ("mse", "dice", "combo20", "combo400")
        for ranges in numbers.measured(f"{name}-dlstudio", "outputs", "constant_range")
        if ranges
    ]
    return f"{max(found):.2g}" if found else None


def _deepest(numbers: Numbers) -> tuple[float, list[float]] | None:
    """Return depth and mean IoUs of the deepest network beyond the base depth, dense head."""
    base, points = numbers.first("mse-dense"), numbers.depth_sweep("dense")
    return points[-1] if base and points[-1][0] > base["depth"] else None


def _deepest_depth(numbers: Numbers) -> str | None:
    found = _deepest(numbers)
    return f"{found[0]:g}" if found else None


def _deepest_miou(numbers: Numbers) -> str | None:
    found = _deepest(numbers)
    return spread(found[1]) if found else None


def _share(key: str, pick: Callable[[list[float]], float]) -> Callable[[Numbers], str]:
    return lambda numbers: f"{100 * pick(numbers.summary['balance']['files'][key]):.2f}"


def _best(index: int, what: str) -> Callable[[Numbers], str | None]:
    def write(numbers: Numbers) -> str | None:
        rows = numbers.ranking()
        if not rows:
            return None
        return rows[index][0] if what == "name" else spread(rows[index][1][what])

    return write


def _leak(group: str, scene: str, key: str) -> Callable[[Numbers], str | None]:
    def write(numbers: Numbers) -> str | None:
        found = numbers.measured(group, "leak", scene)
        if not found:
            return None
        if key == "false_disk":
            return spread([100 * scores["false_disk"] for scores in found], 1)
        disk = numbers.classes.index("disk")
        return spread([scores["iou"][disk] for scores in found])

    return write


NUMBERS: dict[str, Callable[[Numbers], str | None]] = {
    "scale": lambda n: n.summary["scale"],
    "about": lambda n: n.summary["about"],
    "done": lambda n: str(n.summary["done"]),
    "planned": lambda n: str(n.summary["planned"]),
    "device": lambda n: "; ".join(sorted({e["device"] for e in n.summary["environments"]})),
    "commits": lambda n: ", ".join(
        dict.fromkeys(f"`{e['commit']}`" for e in n.summary["environments"])
    ),
    "mse-floor": lambda n: f"{n.floors[ALL]['mse']:.1f}",
    "mse-empty": lambda n: f"{_energy(n):.1f}",
    "dice-floor": lambda n: f"{n.floors[ALL]['dice']:.3f}",
    "dice-at-value": lambda n: f"{n.floors[ALL]['dice_at_mask_value']:.3f}",
    "dice-amplitude": lambda n: f"{n.floors[ALL]['dice_amplitude']:.2f}",
    "gradient-ratio": lambda n: f"{_energy(n):.0f}",
    "gradient-20": lambda n: f"{100 * 20 / _energy(n):.0f}",
    "gradient-400": lambda n: f"{100 * 400 / _energy(n):.0f}",
    "gradient-unit": lambda n: f"{1 / n.floors[ALL]['unit_mse_all_zero']:.0f}",
    "constant-range": _constant_range,
    "foreground": lambda n: f"{100 * n.summary['balance']['files']['foreground']:.1f}",
    "largest-class": _share("pixels", max),
    "smallest-class": _share("pixels", min),
    "overlaps": lambda n: f"{100 * n.summary['balance']['files']['overlapping_images']:.1f}",
    "best-name": _best(0, "name"),
    "best-val": _best(0, "val"),
    "best-test": _best(0, "test"),
    "worst-name": _best(-1, "name"),
    "worst-val": _best(-1, "val"),
    "deepest": _deepest_depth,
    "miou-deepest": _deepest_miou,
}
for _group in (
    "mse-dlstudio", "mse-dense", "mse-dense-inside", "dice-dlstudio", "dice-dense",
    "combo20-dlstudio", "combo20-dense", "combo400-dlstudio", "combo400-dense",
    "dice-dense-unit", "mse-dense-unit", "dice-dlstudio-unit", "library-bce",
    "dice-dlstudio-epochs-x4", "dice-dense-epochs-x4",
    "combo4000-dlstudio", "combo4000-dense",
    "mse-dense-skewed", "combo400-dense-skewed", "mse-dense-uniform", "combo400-dense-uniform",
):  # fmt: skip
    NUMBERS[f"miou-{_group}"] = _miou(_group)
for _group in ("mse-dlstudio", "mse-dense", "dice-dlstudio", "dice-dense"):
    NUMBERS[f"last-{_group}"] = _last(_group, 1 if "mse" in _group else 3)
for _name, _digits in (("mse", 1), ("dice", 3), ("combo400", 1)):
    _group = f"by-heart-{_name}-dlstudio"
    NUMBERS[f"last-{_group}"] = _last(_group, _digits)
    NUMBERS[f"floor-{_group}"] = _floor(_group, _digits)
    NUMBERS[f"amplitude-{_group}"] = _amplitude(_group)
NUMBERS["last-by-heart-mse-dense"] = _last("by-heart-mse-dense", 1)
for _group in ("mse-dense", "library-bce", "library-bce-recolour", "mse-dense-recolour"):
    for _scene in ("as_they_are", "recoloured", "planted"):
        NUMBERS[f"disk-{_group}-{_scene}"] = _leak(_group, _scene, "iou")
        NUMBERS[f"false-{_group}-{_scene}"] = _leak(_group, _scene, "false_disk")


def _above(better: str, worse: str, *, by: float = 0.0) -> Callable[[Numbers], bool | None]:
    """Claim that a group's mean IoU is above another's by more than ``by``."""

    def holds(numbers: Numbers) -> bool | None:
        one, two = (numbers.values(group, "half", "miou") for group in (better, worse))
        if not one or not two:
            return None
        return statistics.mean(one) - statistics.mean(two) > by

    return holds


def _depth_helps_dense(numbers: Numbers) -> bool | None:
    """Claim that the deepest network scores above the base depth's, with the dense layer."""
    found, base = _deepest(numbers), numbers.mean("mse-dense", "half", "miou")
    return None if found is None or base is None else statistics.mean(found[1]) > base


def _never_below_floor(numbers: Numbers) -> bool | None:
    """Claim that no run with DLStudio's output layer ended below its floor."""
    runs = [run for runs in numbers.groups.values() for run in runs if run["floor"] is not None]
    return all(run["last_loss"] >= 0.98 * run["floor"] for run in runs) if runs else None


def _dense_below_floor(numbers: Numbers) -> bool | None:
    """Claim that the dense layer's MSE ended below the floor of DLStudio's."""
    dense, faithful = numbers.values("mse-dense", "last_loss"), numbers.first("mse-dlstudio")
    if not dense or faithful is None:
        return None
    return max(dense) < faithful["floor"]


def _by_heart_near(numbers: Numbers) -> bool | None:
    """Claim that the runs by heart end within 5 % of their floors, and not below them."""
    runs = [numbers.first(f"by-heart-{name}-dlstudio") for name in ("mse", "dice", "combo400")]
    if None in runs:
        return None
    # Batches of shuffled images: the bound is of consecutive ones, and moves by a percent or two.
    return all(0.97 <= run["last_loss"] / run["floor"] <= 1.05 for run in runs if run)


def _dense_always_better(numbers: Numbers) -> bool | None:
    """Claim that the dense layer scores above DLStudio's under each of the report's losses."""
    found = [
        _above(f"{name}-dense", f"{name}-dlstudio")(numbers)
        for name in ("mse", "dice", "combo20", "combo400")
    ]
    return None if None in found else all(found)


def _skew_no_help(numbers: Numbers) -> bool | None:
    """Claim that Dice in the sum gains no more over MSE on skewed classes than on even ones."""
    gains = []
    for kind in ("skewed", "uniform"):
        pair = [
            numbers.mean(f"{loss}-dense-{kind}", "half", "miou") for loss in ("combo400", "mse")
        ]
        if pair[0] is None or pair[1] is None:
            return None
        gains.append(pair[0] - pair[1])
    return gains[0] <= gains[1]


def _dice_longer(numbers: Numbers) -> bool | None:
    """Claim that four times the epochs raise mean IoU under Dice with both layers."""
    found = [_above(f"dice-{h}-epochs-x4", f"dice-{h}")(numbers) for h in ("dlstudio", "dense")]
    return None if None in found else all(found)


def _scale_matters(numbers: Numbers) -> bool | None:
    """Claim that 4000 Dice moves mean IoU further from MSE's than 20 Dice."""
    found = [numbers.mean(f"{n}-dense", "half", "miou") for n in ("mse", "combo20", "combo4000")]
    mse, small, large = found
    if mse is None or small is None or large is None:
        return None
    return abs(large - mse) > abs(small - mse)


def _spread_separates(numbers: Numbers) -> bool | None:
    """Claim that the first loss is ahead of the second by more than either's spread."""
    rows = numbers.ranking()
    if len(rows) < 2:
        return None
    one, two = (rows[k][1]["val"] for k in (0, 1))
    if min(len(one), len(two)) < 2:
        return False
    gap = statistics.mean(one) - statistics.mean(two)
    return gap > max(statistics.stdev(one), statistics.stdev(two))


def _false_disks(numbers: Numbers, group: str) -> tuple[float, float] | None:
    planted = numbers.measured(group, "leak", "planted", "false_disk")
    plain = numbers.measured(group, "leak", "as_they_are", "false_disk")
    return (statistics.mean(planted), statistics.mean(plain)) if planted else None


def _leak_real(numbers: Numbers) -> bool | None:
    """Claim that a disk's red at least triples what is wrongly called disk."""
    found = _false_disks(numbers, "library-bce")
    return None if found is None else found[0] > 3 * found[1]


def _recolour_cures(numbers: Numbers) -> bool | None:
    """Claim that recoloured training leaves less than a quarter of the leak's false disks."""
    with_leak = _false_disks(numbers, "library-bce")
    without = _false_disks(numbers, "library-bce-recolour")
    if with_leak is None or without is None:
        return None
    return without[0] < with_leak[0] / 4


CLAIMS: dict[str, Callable[[Numbers], bool | None]] = {
    "never-below-floor": _never_below_floor,
    "dense-below-floor": _dense_below_floor,
    "by-heart-near": _by_heart_near,
    "dense-always-better": _dense_always_better,
    "skew-no-help": _skew_no_help,
    "dice-longer": _dice_longer,
    "depth-helps-dense": _depth_helps_dense,
    "scale-matters": _scale_matters,
    "dice-lifts": _above("combo4000-dlstudio", "mse-dlstudio", by=0.05),
    "unit-dice": _above("dice-dense-unit", "dice-dense"),
    "spread-separates": _spread_separates,
    "leak-real": _leak_real,
    "recolour-cures": _recolour_cures,
}
