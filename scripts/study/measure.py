"""What results.json does not hold, measured on a finished run's test images (part 2: its own)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scripts.study.plan import Run
from segjax import metrics
from segjax.classes import DLSTUDIO_WINDOWS
from segjax.data import Dataset
from segjax.data.purdue.synthetic import recolour
from segjax.data.splits import load_splits
from segjax.files import write_text
from segjax.predict.trained import Trained, load_trained
from segjax.runs.folder import RunFolder
from segjax.training import objective
from segjax.training.evaluate import make_predict
from segjax.training.program import eval_batch_size

MEASURES_FILE = "study.json"
MEASURES_VERSION = 2
BOUNDARY_TOLERANCE = 1.0  # pixels
DISK_REDS = (5, 11)  # of the real disks, both included
LEAK_SEED = 7
SCENES = ("as_they_are", "recoloured", "planted")


def keep_measures(folder: Path, run: Run) -> None:
    """Measure a finished run and write what was found into its folder."""
    found = {"version": MEASURES_VERSION, **measure(folder, run)}
    write_text(folder / MEASURES_FILE, json.dumps(rounded(found)) + "\n")


def measures_of(folder: Path) -> dict[str, Any] | None:
    """Return what was measured of a run, or None if nothing was, or by an older version."""
    try:
        found = json.loads((folder / MEASURES_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if found.get("version") == MEASURES_VERSION else None


def measure(folder: Path, run: Run) -> dict[str, Any]:
    """Measure one run: outputs, outlines, objects, and the colour leak where the study asks."""
    config = RunFolder(folder).config()
    splits = load_splits(config, say=lambda line: None)
    data = splits.train if "2" in run.parts else splits.test  # part 2 learns its images by heart
    trained = load_trained(folder)
    values = predict_values(trained, data.images)
    found = {"outputs": outputs(values, data, head=config.head)}
    found["shapes"] = shapes(half_value(values, data), data)
    if {"6", "report"} & set(run.parts):
        found["leak"] = leak(trained, data)
    if run.checked_epochs:
        found["after_epochs"] = {}
    for epochs in run.checked_epochs:
        step = RunFolder(folder).results()["steps"] * epochs // config.epochs
        then = predict_values(load_trained(folder, which=step), data.images)
        mean = float(_iou(half_value(then, data), data, average="macro"))
        found["after_epochs"][str(epochs)] = {"mean_iou": mean}
    return found


def predict_values(trained: Trained, images: np.ndarray) -> np.ndarray:
    """Return outputs on the scale of the mask values, float32 [N, H, W, C], as the run tests."""
    predict = make_predict(trained.model, trained.objective, stats=trained.config.eval_stats)
    size, variables = eval_batch_size(trained.config), jax.device_put(dict(trained.variables))
    batches = (images[start : start + size] for start in range(0, len(images), size))
    return np.concatenate([predict(variables, batch) for batch in batches])


def shown_values(trained: Trained, images: np.ndarray, rows: Sequence[int]) -> np.ndarray:
    """Return the outputs for some images, each in the batch in which the test has it."""
    size = trained.config.batch_size
    batches = (images[row // size * size :][:size] for row in rows)
    found = zip(batches, rows, strict=True)
    return np.stack([predict_values(trained, batch)[row % size] for batch, row in found])


def half_value(values: np.ndarray, data: Dataset) -> np.ndarray:
    """Return where outputs pass half of a class's mask value, bool [N, H, W, C]."""
    return np.asarray(objective.half_value(jnp.asarray(values), data.class_values))


def _iou(on: np.ndarray, data: Dataset, *, average: Any) -> Any:
    return metrics.iou(metrics.count(on, data.masks > 0).to_host(), average=average)


def outputs(values: np.ndarray, data: Dataset, *, head: str) -> dict[str, Any]:
    """Measure raw outputs where an output layer computes them, and how constant the others are."""
    computed = np.full(data.masks.shape[1:3], head == "dense")
    computed[::2, ::2] = True
    here, aim = values[:, computed], data.masks[:, computed].astype(np.float64)
    amplitude = (here * aim).sum() / (aim**2).sum()  # by least squares
    rest, windows = values[:, ~computed], []
    if objective.windows_apply(data.class_values):
        for c, (low, high) in enumerate(DLSTUDIO_WINDOWS.values()):
            inside = here[..., c][aim[..., c] > 0]
            shares = (inside <= low, (inside > low) & (inside < high), inside >= high)
            windows.append([float(share.mean()) if share.size else None for share in shares])
    return {
        "amplitude_all": float(amplitude),
        "constant_range": np.ptp(rest, axis=(0, 1)).tolist() if rest.size else [],
        "windows": windows,
    }


def shapes(on: np.ndarray, data: Dataset) -> dict[str, Any]:
    """Measure outlines and single objects of what is found, bool [N, H, W, C]."""
    near = metrics.boundary_count(on, data.masks, tolerance=BOUNDARY_TOLERANCE)
    found: dict[str, Any] = {"boundary_f1_mean": float(metrics.boundary_f1(near, average="macro"))}
    boxes: dict[str, Any] = {"box_image": data.box_image, "box_class": data.box_class}
    objects = metrics.match_objects(on, data.masks, data.boxes, **boxes, images=data.images)
    for by in ("size", "hidden"):
        counted = metrics.count_objects(objects, by=by)
        found[f"recall_by_{by}"] = metrics.object_recall(counted, average="micro").tolist()
    return found


def leak(trained: Trained, data: Dataset, scenes: Sequence[str] = SCENES) -> dict[str, Any]:
    """Measure what a network takes from colour: new colours, and a disk's red on other shapes."""
    found, disk = {}, data.class_names.index("disk")
    others = only_others(data.masks, disk)
    for name in scenes:
        images = data.images
        if name == "recoloured":
            images = recolour(images, data.masks, seed=LEAK_SEED)
        elif name == "planted":
            images = plant_red(images, data.masks, disk=disk, seed=LEAK_SEED)
        on = half_value(predict_values(trained, images), data)
        called = float(on[..., disk][others].mean())  # of the pixels of other shapes
        found[name] = {"iou": _iou(on, data, average="none").tolist(), "false_disk": called}
    return found


def only_others(masks: np.ndarray, disk: int) -> np.ndarray:
    """Return bool [N, H, W]: the pixels of other shapes that are of no disk."""
    return np.delete(masks, disk, axis=-1).any(axis=-1) & (masks[..., disk] == 0)


def plant_red(images: np.ndarray, masks: np.ndarray, *, disk: int, seed: int) -> np.ndarray:
    """Return the scenes with a disk's red value (5 to 11) given to every object that is no disk."""
    planted = images.copy()
    rng = np.random.default_rng(seed)
    image, row, column = np.nonzero(only_others(masks, disk))
    colour = images[image, row, column].astype(np.int64) @ np.array([1 << 16, 1 << 8, 1], np.int64)
    _, objects = np.unique((image << 24) | colour, return_inverse=True)
    red = rng.integers(*DISK_REDS, objects.max(initial=0) + 1, endpoint=True)
    planted[image, row, column, 0] = red[objects]
    return planted


def rounded(value: Any) -> Any:
    """Shorten the numbers of what JSON can hold to six digits; what is no number becomes null."""
    shorter: Any = {"parse_float": lambda digits: float(f"{float(digits):.6g}")}
    return json.loads(json.dumps(value), **shorter, parse_constant=lambda name: None)
