"""The end of a run: scores on the test images, results.json and the two figures."""

import importlib.metadata
import os
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from segjax import metrics, plots
from segjax.config import Config
from segjax.data.splits import Splits
from segjax.metrics import Counts
from segjax.networks.build import parameters_dlstudio_counts
from segjax.networks.munet import count_parameters
from segjax.runs.folder import RunFolder
from segjax.training import decode, processes
from segjax.training.evaluate import Evaluation, make_predict
from segjax.training.objective import Objective
from segjax.training.step import Batch, TrainState

Say = Callable[[str], None]

FIGURE_IMAGES = 6
SCORE_NAMES = ("iou", "dice", "precision", "recall")
PACKAGES = ("segjax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def scores_of(counts: Counts) -> dict[str, Any]:
    """Return per-class lists, their means and the pixel accuracy of a data set's counts.

    A class that is in neither the truth nor the prediction scores NaN and is left out of the mean.
    """
    score = {name: getattr(metrics, name) for name in SCORE_NAMES}
    return {
        "per_class": {
            name: [float(value) for value in score[name](counts, average="none")]
            for name in SCORE_NAMES
        },
        "mean": {name: float(score[name](counts, average="macro")) for name in SCORE_NAMES},
        "pixel_accuracy": float(metrics.accuracy(counts, average="micro")),
    }


def finish(
    config: Config,
    folder: RunFolder,
    model: nn.Module,
    objective: Objective,
    state: TrainState,
    splits: Splits,
    *,
    evaluate: Callable[[Any, Batch], Evaluation],
    arrays: Callable[[Any], Batch],
    steps: int,
    train_seconds: float,
    runs_at_once: int = 1,
    devices_used: int = 1,
    say: Say,
) -> dict[str, Any]:
    """Test the state, write results.json and the figures, and return the results.

    Of several processes all test and the first writes.
    """
    variables = state.variables()
    results: dict[str, Any] = {
        "config": config.to_dict(),
        "tested_step": int(state.step),
        "steps": steps,
        "train_seconds": round(train_seconds, 3),
        # Runs in one program share these seconds.
        "runs_at_once": runs_at_once,
        "devices_used": devices_used,
        "train_images": len(splits.train),
        "parameters": count_parameters(state.params),
        "parameters_dlstudio_counts": parameters_dlstudio_counts(config, objective.num_outputs),
        "classes": list(splits.test.class_names),
        "environment": environment(),
    }
    if config.test:
        started = time.perf_counter()
        evaluation = evaluate(variables, arrays(splits.test))
        results["test"] = {
            "images": evaluation.images,
            "loss": evaluation.loss,
            "batch_norm": config.eval_stats,
            "seconds": round(time.perf_counter() - started, 3),
            **{name: scores_of(counts) for name, counts in evaluation.counts.items()},
        }
        for line in test_table(results, windows=objective.reads == "values"):
            say(line)
    if not processes.is_first():
        return results
    folder.write_results(results)
    draw_figures(config, folder, model, objective, processes.own(variables), splits)
    say(f"done: {folder.path / 'results.json'}, loss.png, predictions.png")
    return results


def test_table(results: dict[str, Any], *, windows: bool) -> list[str]:
    """Return the lines of a table of the test scores.

    DLStudio's ``windows`` mean something for outputs that regress to the mask values; those of
    other losses are in the results all the same.
    """
    test, classes = results["test"], results["classes"]
    lines = [
        f"test: {test['images']} images, loss {test['loss']:.4g}, "
        f"batch norm by {test['batch_norm']} statistics, {test['seconds']:.1f} s"
    ]
    width = max(9, *map(len, classes)) + 1
    for name, meaning in (("half", "half-value threshold"), ("windows", "DLStudio's windows")):
        if name not in test or (name == "windows" and not windows):
            continue
        scores = test[name]
        lines.append(f"{meaning}; pixel accuracy {scores['pixel_accuracy']:.4f}")
        lines.append(f"  {'':{width}}" + "".join(f"{score:>11}" for score in SCORE_NAMES))
        for index, label in enumerate(classes):
            row = (scores["per_class"][score][index] for score in SCORE_NAMES)
            lines.append(f"  {label:{width}}" + "".join(f"{value:11.4f}" for value in row))
        row = (scores["mean"][score] for score in SCORE_NAMES)
        lines.append(f"  {'mean':{width}}" + "".join(f"{value:11.4f}" for value in row))
    return lines


def draw_figures(
    config: Config,
    folder: RunFolder,
    model: nn.Module,
    objective: Objective,
    variables: Any,
    splits: Splits,
) -> None:
    """Draw loss.png from the log and predictions.png from the first test images."""
    title = f"{config.loss}, {config.network_name()}, seed {config.seed}"
    plots.save(plots.loss_figure(folder.records(), title=title), folder.path / "loss.png")
    few = splits.test[:FIGURE_IMAGES]
    predict = make_predict(model, objective, stats=config.eval_stats)
    # Batch statistics depend on the batch, so the pictures come from batches of the test's size.
    size = config.batch_size if config.eval_stats == "batch" else len(few)
    shown = splits.test[: -(-len(few) // size) * size]
    values = [
        np.asarray(predict(variables, shown.images[start : start + size]))
        for start in range(0, len(shown), size)
    ]
    figure = plots.predictions_figure(
        few.images,
        few.masks,
        np.concatenate(values)[: len(few)],
        class_names=few.class_names,
        class_values=few.class_values,
        boxes=[few.boxes_of(index) for index in range(len(few))],
        decode="windows" if reads_windows(config, objective) else "half",
    )
    plots.save(figure, folder.path / "predictions.png")


def reads_windows(config: Config, objective: Objective) -> bool:
    """Tell whether the picture shows DLStudio's reading: its head, its targets, its classes."""
    faithful = config.head == "dlstudio" and objective.reads == "values"
    return faithful and decode.windows_apply(objective.class_values)


def environment() -> dict[str, Any]:
    """Return what a number depends on besides the settings: device, versions, commit."""
    device = jax.devices()[0]
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "platform": device.platform,
        "device": device_name(),
        "devices": jax.device_count(),
        "processes": jax.process_count(),
        "cpu_cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
        "commit": commit(),
    }


def device_name() -> str:
    """Return the accelerator's name, or the processor's where JAX runs on the CPU."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return device.device_kind
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """Return the commit of the checkout that this code runs from, or None outside of one."""
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
