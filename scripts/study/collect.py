"""All numbers of the study in one file, from which tables, curves and page can be made again."""

import dataclasses
import json
import operator
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from scripts.study.execute import Study
from scripts.study.measure import measures_of, rounded
from scripts.study.plan import BALANCES, Run, balance_file
from segjax.classes import DLSTUDIO_WINDOWS
from segjax.config import Config
from segjax.data import Dataset, load
from segjax.data.splits import load_splits
from segjax.dlstudio.floors import output_layer_floors
from segjax.errors import ConfigError
from segjax.files import write_text
from segjax.runs.folder import RunFolder

CURVE_POINTS = 60
CURVE_PARTS = {"1", "2", "3"}
FLOOR_OF = operator.attrgetter(
    "loss", "loss_params", "head", "targets", "data", "train_file", "train_images"
)


def collect(study: Study) -> dict[str, Any]:
    """Gather what the page needs of all finished runs and of the data; ConfigError without any."""
    if not (done := study.done()):
        raise ConfigError(f"{study.folder}: no run is done yet")
    first = study.runs[0].config
    splits = load_splits(first, say=lambda line: None)
    every = first.replace(train_images=0, val_images=0)
    base = load_splits(every, say=lambda line: None).train
    drawn = {name: balance_file(study.folder, name, "train") for name in BALANCES}
    summary: dict[str, Any] = {
        "scale": study.scale.name,
        "about": study.scale.about,
        "planned": len(study.runs),
        "done": len(done),
        "missing": [run.name for run in study.runs if run not in done],
        "environments": environments(study, done),
        "classes": list(splits.test.class_names),
        "windows": [  # in multiples of the mask value
            [low / value, high / value if np.isfinite(high) else None]
            for value, (low, high) in DLSTUDIO_WINDOWS.items()
        ],
        "floors": {
            "all training images": facts(base.masks),
            "training images used": facts(splits.train.masks),
            "test images": facts(splits.test.masks),
        },
        "balance": {"files": balance(base)}
        | {name: balance(load(f, progress=False)) for name, f in drawn.items() if f.exists()},
        "runs": {},
    }
    bounds: dict[str, float | None] = {}
    for run in done:
        key = str(FLOOR_OF(run.config))
        if key not in bounds and (CURVE_PARTS & set(run.parts) or run.config.targets == "unit"):
            masks = load_splits(run.config, say=lambda line: None).train.masks
            bounds[key] = loss_floor(run.config, masks)
        summary["runs"][run.name] = row_of(study, run, floor=bounds.get(key))
    return rounded(summary)


def environments(study: Study, done: list[Run]) -> list[dict[str, Any]]:
    """Return each distinct device, set of versions and commit, with its number of runs."""
    found: Counter[str] = Counter()
    for run in done:
        about = RunFolder(study.path_of(run)).results()["environment"]
        kept = {name: about[name] for name in ("device", "platform", "cpu_cores", "commit")}
        kept["versions"] = {name: about["versions"][name] for name in ("python", "jax", "flax")}
        found[json.dumps(kept)] += 1
    return [{**json.loads(kept), "runs": count} for kept, count in found.items()]


def row_of(study: Study, run: Run, *, floor: float | None) -> dict[str, Any]:
    """Return what the page needs of one run."""
    folder, config = RunFolder(study.path_of(run)), run.config
    results, records = folder.results(), folder.records()
    train = [record for record in records if record["kind"] == "train"]
    of_config = ("loss", "head", "depth", "targets", "epochs", "batch_size", "seed")
    row: dict[str, Any] = {
        "group": run.group,
        "parts": list(run.parts),
        **{name: getattr(config, name) for name in of_config},
        "dice_scale": config.loss_params.get("dice_scale"),
        **{name: results[name] for name in ("steps", "train_images", "train_seconds")},
        "floor": floor,
        "val_miou": max((r["val_miou"] for r in records if "val_miou" in r), default=None),
        "last_loss": train[-1]["loss"],
    }
    for reading in ("half", "windows"):
        if scores := results["test"].get(reading):
            each, mean = scores["per_class"], scores["mean"]
            row[reading] = {"iou": each["iou"], "dice": each["dice"]}
            row[reading] |= {"miou": mean["iou"], "mdice": mean["dice"]}
    if CURVE_PARTS & set(run.parts):
        row["curve"] = curve(train)
    return {**row, "measured": measures_of(folder.path)}


def loss_floor(config: Config, masks: np.ndarray) -> float | None:
    """Return a bound on the mean batch loss of a run with DLStudio's output layer, or None.

    MSE is a mean over pixels, so its floor is the set's own, with one constant per channel. Dice is
    a ratio within each batch: bounding every batch by itself, with constants of its own, bounds the
    mean. Batches are consecutive images here; another order moves the mean a little.
    """
    scale = float(config.loss_params.get("dice_scale", 20.0))
    weights = {"mse": (1.0, 0.0), "dice": (0.0, 1.0), "combo": (1.0, scale)}
    if config.head != "dlstudio" or config.loss not in weights:
        return None
    if config.targets == "unit":
        masks = (masks > 0).astype(np.uint8)
    mse, dice = weights[config.loss]
    size = config.batch_size if dice else len(masks)
    parts = (masks[at : at + size] for at in range(0, len(masks) - size + 1, size))
    floors = [output_layer_floors(part).reach.best(mse=mse, dice=dice)[0] for part in parts]
    return float(np.mean(floors))


def facts(masks: np.ndarray) -> dict[str, Any]:
    """Return the floors of a set of masks, and what Dice's gradient weighs against MSE's.

    At outputs of zero the gradients are -2 t / |t|^2 and -2 t / values: the same direction, with
    a ratio of the mean squared mask value. It depends on the unit that the masks are written in.
    """
    found = output_layer_floors(masks)
    unit = output_layer_floors((masks > 0).astype(np.uint8))
    units = {"unit_mse": unit.mse, "unit_mse_all_zero": unit.mse_all_zero}
    return {"images": len(masks), **dataclasses.asdict(found), "iou": found.iou.tolist(), **units}


def curve(train: list[dict[str, Any]], *, points: int = CURVE_POINTS) -> dict[str, list[float]]:
    """Return the mean losses of a run's training records; of many, means of neighbours."""
    every = -(-len(train) // points)
    found: dict[str, list[float]] = {"step": [], "loss": []}
    for at in range(0, len(train), every):
        group = train[at : at + every]
        losses, weights = ([record[key] for record in group] for key in ("loss", "mean_over"))
        found["step"].append(group[-1]["step"])
        found["loss"].append(float(np.average(losses, weights=weights)))
    return found


def balance(data: Dataset) -> dict[str, Any]:
    """Measure how even the classes are, in pixels and objects, and how often they overlap."""
    classes = (data.masks > 0).sum(-1)
    return {
        "images": len(data),
        "pixels": (data.masks > 0).mean((0, 1, 2)).tolist(),
        "foreground": float((classes > 0).mean()),
        "objects": np.bincount(data.box_class, minlength=data.num_classes).tolist(),
        "overlapping_images": float((classes > 1).any((1, 2)).mean()),
    }


def write_summary(summary: dict[str, Any], file: Path) -> None:
    """Write the numbers, one run a line."""
    head = {key: value for key, value in summary.items() if key != "runs"}
    lines = [f"{json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    runs = [f"  {json.dumps(name)}: {json.dumps(run)}" for name, run in summary["runs"].items()]
    text = "{\n" + "\n".join(lines) + '\n"runs": {\n' + ",\n".join(runs) + "\n}\n}\n"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, text)
