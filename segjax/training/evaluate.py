"""The test pass: counts over a whole data set under each way of reading masks off the outputs."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import numpy as np
from jax import Array

from segjax import metrics
from segjax.metrics import Counts, count
from segjax.training import backend
from segjax.training.augment import Batch
from segjax.training.devices import ONE_DEVICE, Devices
from segjax.training.objective import Objective, dlstudio_windows, half_value, windows_apply
from segjax.training.step import take_batch

SCORE_NAMES = ("iou", "dice", "precision", "recall")


class Evaluation(NamedTuple):
    """What a pass over a data set gave."""

    loss: float  # mean of the batches' losses, weighted by their number of images
    counts: dict[str, Counts]  # per class, for 'half' and, where they apply, 'windows'


def apply_network(model: nn.Module, variables: Any, images: Array, *, stats: str) -> Array:
    """Return raw outputs with 'batch' statistics (as DLStudio tests) or the 'running' ones."""
    if stats == "running":
        return cast(Array, model.apply(variables, images, train=False))
    outputs, _ = model.apply(variables, images, train=True, mutable=["batch_stats"])
    return cast(Array, outputs)


@functools.lru_cache(maxsize=16)
def jitted_network(model: nn.Module, stats: str) -> Callable[[Any, Array | np.ndarray], Array]:
    """Return the jitted (variables, images) -> raw outputs, the same for all runs of a network.

    Compiling it is most of a test's; what reads the outputs is small and depends on the loss.
    """
    return backend.jit(functools.partial(apply_network, model, stats=stats))


def decoders(class_values: tuple[int, ...]) -> dict[str, Callable[[Array], Array]]:
    """Return the ways to turn values [..., C] into bool masks that suit these classes."""
    found = {"half": lambda values: half_value(values, class_values)}
    if windows_apply(class_values):
        found["windows"] = dlstudio_windows
    return found


def make_judge(
    objective: Objective,
) -> Callable[[Array, Batch], tuple[Array, dict[str, Any], Array]]:
    """Return the pure (raw outputs, batch) -> (loss [], counts [B, C] by decoder, values).

    The counts keep images apart; the values are [B, H, W, C], as `Objective.values` gives them.
    """
    readers = decoders(objective.class_values).items()

    def judge(outputs: Array, batch: Batch) -> tuple[Array, dict[str, Any], Array]:
        values, masks, valid = objective.values(outputs), batch["masks"], batch.get("valid")
        counts = {
            name: count(read(values), masks > 0, valid=valid, per_image=True)
            for name, read in readers
        }
        return objective.loss(outputs, masks, valid=valid), counts, values

    return judge


def make_sums(objective: Objective) -> Callable[[Array, Batch], tuple[Array, dict[str, Any]]]:
    """Return the pure function (raw outputs, batch) -> (loss [], counts [C] by decoder)."""
    judge = make_judge(objective)

    def sums(outputs: Array, batch: Batch) -> tuple[Array, dict[str, Any]]:
        loss, counts, _ = judge(outputs, batch)
        return loss, {name: each.total() for name, each in counts.items()}

    return sums


def make_eval_step(
    model: nn.Module, objective: Objective, *, stats: str = "batch"
) -> Callable[[Any, Batch], tuple[Array, dict[str, Any]]]:
    """Return the pure function (variables, batch) -> (loss [], counts [C] by decoder)."""
    sums = make_sums(objective)
    return lambda variables, batch: sums(
        apply_network(model, variables, batch["images"], stats=stats), batch
    )


def make_evaluate(
    model: nn.Module,
    objective: Objective,
    *,
    stats: str = "batch",
    batch_size: int = 50,
    devices: Devices = ONE_DEVICE,
) -> Callable[[Any, Batch], Evaluation]:
    """Return (variables, arrays) -> Evaluation over all rows of ``arrays``, in order.

    The last batch may be smaller; with batch statistics it is then normalised by fewer images.
    ``devices`` share each batch that they divide; variables and arrays have to lie on them.
    """
    sums, network = make_sums(objective), jitted_network(model, stats)

    @backend.jit
    def on_rows(arrays: Batch, indices: Array) -> Batch:
        return devices.spread(take_batch(arrays, devices.spread(indices)))

    @backend.jit
    def judge(outputs: Array, batch: Batch) -> tuple[Array, dict[str, Any]]:
        return devices.whole(sums(outputs, batch))

    def evaluate(variables: Any, arrays: Batch) -> Evaluation:
        rows = np.arange(len(arrays["images"]), dtype=np.int32)
        parts = [rows[at : at + batch_size] for at in range(0, len(rows), batch_size)]
        batches = (on_rows(arrays, part) for part in parts)
        judged = [judge(network(variables, batch["images"]), batch) for batch in batches]
        found = jax.device_get(judged)
        total = sum(len(part) * float(loss) for part, (loss, _) in zip(parts, found, strict=True))
        counts = {name: Counts.merge(counted[name] for _, counted in found) for name in found[0][1]}
        return Evaluation(loss=total / len(rows), counts=counts)

    return evaluate


def scores_of(counts: Counts) -> dict[str, Any]:
    """Return per-class lists, their means and the pixel accuracy of a data set's counts.

    A class that is in neither the truth nor the prediction scores NaN and is left out of the mean.
    """

    def each(average: str) -> dict[str, Any]:
        scores = {name: getattr(metrics, name)(counts, average=average) for name in SCORE_NAMES}
        return {name: np.asarray(score, float).tolist() for name, score in scores.items()}

    return {
        "per_class": each("none"),
        "mean": each("macro"),
        "pixel_accuracy": float(metrics.accuracy(counts, average="micro")),
    }


def make_predict(
    model: nn.Module, objective: Objective, *, stats: str = "batch"
) -> Callable[[Any, Array | np.ndarray], Array]:
    """Return the jitted (variables, images [B, H, W, 3]) -> values [B, H, W, C]."""
    network, values = jitted_network(model, stats), backend.jit(objective.values)
    return lambda variables, images: values(network(variables, images))
