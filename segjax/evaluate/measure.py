"""The pass over labelled images: all that is counted of them."""

import functools
import operator
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from segjax import metrics
from segjax.data import Dataset
from segjax.metrics import BoundaryCounts, Counts, Objects, PanopticCounts, SurfaceDistances
from segjax.predict.trained import Trained
from segjax.training import backend
from segjax.training.evaluate import jitted_network, make_judge
from segjax.training.objective import half_value


class Measured(NamedTuple):
    """What N images with C classes gave; all but ``counts`` by the half-value threshold."""

    loss: float  # mean of the batches' losses, weighted by their number of images
    counts: dict[str, Counts]  # int64 [N, C], by the way to read masks
    boundary: BoundaryCounts  # [N, C]
    distances: SurfaceDistances  # [N, C], in pixels
    objects: Objects  # a row for each box
    panoptic: PanopticCounts  # [C]
    confusion: np.ndarray  # int64 [C + 1, C + 1]; see `confused`
    worst: list[tuple[float, int, np.ndarray]]  # mean IoU, index and values [H, W, C], worst first


def measure(
    trained: Trained, dataset: Dataset, *, stats: str, batch_size: int, worst: int, progress: bool
) -> Measured:
    """Run the network over ``dataset``, with masks of its class values, as a run's test does.

    Args:
      trained: the run.
      dataset: the images.
      stats: batch norm by 'running' statistics or those of each 'batch'.
      batch_size: images at a time.
      worst: how many of the worst images to keep.
      progress: whether to show a bar.
    """
    values_of = trained.objective.class_values
    network = jitted_network(trained.model, stats)
    judge = backend.jit(make_judge(trained.objective))
    variables = jax.device_put(dict(trained.variables))
    parts, lowest = [], list[tuple[float, int, np.ndarray]]()
    with tqdm(total=len(dataset), disable=not progress, unit="image", dynamic_ncols=True) as bar:
        for at in range(0, len(dataset), batch_size):
            part = dataset[at : at + batch_size]
            valid = None if part.ignore is None else ~part.ignore
            batch = {"masks": part.masks} | ({} if valid is None else {"valid": valid})
            loss, counts, values = jax.device_get(judge(network(variables, part.images), batch))
            said, true = np.asarray(half_value(values, values_of)), part.masks > 0
            boxes: Any = {name: getattr(part, name) for name in ("boxes", "box_image", "box_class")}
            parts.append((
                len(part) * float(loss),
                counts,
                metrics.boundary_count(said, true, valid=valid),
                metrics.surface_distances(said, true, valid=valid),
                metrics.match_objects(said, true, **boxes, valid=valid, first_image=at),
                metrics.panoptic_count(said, true, **boxes, valid=valid),
                confused(values / np.array(values_of, np.float32), said, true, valid),
            ))  # fmt: skip
            scores = metrics.iou(counts["half"], average="macro", over="image")
            there = np.flatnonzero(~np.isnan(scores)).tolist()
            lowest += [(float(scores[i]), at + i, values[i].copy()) for i in there]
            lowest = sorted(lowest, key=lambda row: row[:2])[:worst]
            bar.update(len(part))
    losses, counts, boundary, distances, objects, panoptic, confusion = zip(*parts, strict=True)
    return Measured(
        sum(losses) / len(dataset),
        {name: Counts.concatenate([part[name] for part in counts]) for name in counts[0]},
        BoundaryCounts(*map(np.concatenate, zip(*(b.leaves() for b in boundary), strict=True))),
        SurfaceDistances.concatenate(distances),
        Objects.concatenate(objects),
        functools.reduce(operator.add, panoptic),
        sum(confusion),
        lowest,
    )


def confused(
    shares: np.ndarray, said: np.ndarray, true: np.ndarray, valid: np.ndarray | None = None
) -> np.ndarray:
    """Count what the pixels of each true class were read as; classes may overlap.

    A pixel counts in the row of every class that is true there, or in the background's. Its column
    is that class if it was said there, else the strongest that was said and is not true there, else
    the background. So a right prediction is all on the diagonal, whose share of a row is the
    class's recall; where classes exclude each other, it is the confusion matrix of their labels.

    Args:
      shares: float [N, H, W, C], how strongly each class was said.
      said: bool [N, H, W, C].
      true: bool [N, H, W, C].
      valid: bool [N, H, W]; other pixels are left out.

    Returns:
      int64 [C + 1, C + 1], true class by what it was read as, the background last.
    """
    classes = true.shape[-1]
    kept = np.ones(true.shape[:-1], bool) if valid is None else valid
    wrong = said & ~true
    strongest = np.where(wrong, shares, -np.inf).argmax(axis=-1)
    read = np.where(wrong.any(axis=-1), strongest, classes)
    count = functools.partial(np.bincount, minlength=classes + 1)
    rows = [count(np.where(said[..., c], c, read)[true[..., c] & kept]) for c in range(classes)]
    return np.stack([*rows, count(read[~true.any(axis=-1) & kept])])
