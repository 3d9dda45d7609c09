"""The end of a run: scores on the test images, results.json and the two figures."""

import contextlib
import dataclasses
import importlib.metadata
import os
import platform
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from segjax import plots
from segjax.data import Dataset
from segjax.errors import TrainingError
from segjax.networks.build import parameters_dlstudio_counts
from segjax.networks.munet import count_parameters
from segjax.training.devices import own
from segjax.training.evaluate import SCORE_NAMES, make_predict, scores_of
from segjax.training.objective import windows_apply
from segjax.training.step import TrainState
from segjax.training.trainer import Trainer

FIGURE_IMAGES = 6
PACKAGES = ("segjax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run left: its folder, whether it came to its end, and the content of results.json.

    Of several runs, ``error`` is why this one failed; the others went on.
    """

    folder: Path
    finished: bool
    results: dict[str, Any]
    error: TrainingError | None = None


def unfinished(trainer: Trainer) -> Result:
    """Return what is left of a run that a signal or an error of its own ended early."""
    return Result(trainer.folder.path, finished=False, results={}, error=trainer.error)


def finish(trainer: Trainer, state: TrainState, *, runs_at_once: int = 1) -> Result:
    """Test a trained run, or its best checkpoint by validation; write results and figures.

    Of several processes all test and the first writes.
    """
    config, splits, program = trainer.config, trainer.splits, trainer.program
    if splits.val is not None:
        # Chosen on validation images, so the test images stay unseen until here.
        state, _, best_step = trainer.restored(state, which="best")
        trainer.say(f"testing the best checkpoint by validation mIoU, step {best_step}")
    counted = parameters_dlstudio_counts(config, program.objective.num_outputs)
    results: dict[str, Any] = {
        "config": config.to_dict(),
        "tested_step": int(state.step),
        "steps": trainer.progress.step,
        "train_seconds": round(trainer.progress.seconds, 3),
        # Runs in one program share these seconds.
        "runs_at_once": runs_at_once,
        "devices_used": program.devices.count,
        "train_images": len(splits.train),
        "parameters": count_parameters(state.params),
        "parameters_dlstudio_counts": counted,
        "classes": list(splits.test.class_names),
        "environment": environment(),
    }
    if config.test:
        results["test"] = test_scores(trainer, state)
        for line in test_table(results, windows=program.objective.reads == "values"):
            trainer.say(line)
    if trainer.folder.writes:
        draw_figures(trainer, own(state.variables()))
        trainer.folder.write_results(results)  # last: it says that the run has ended
        trainer.say(f"done: {trainer.folder.path / 'results.json'}, loss.png, predictions.png")
    return Result(trainer.folder.path, finished=True, results=results)


def test_scores(trainer: Trainer, state: TrainState) -> dict[str, Any]:
    """Measure the test images: mean loss, and the scores of each way to read masks."""
    started = time.perf_counter()
    program = trainer.program
    evaluation = program.evaluate(state.variables(), program.place(trainer.splits.test))
    return {
        "images": len(trainer.splits.test),
        "loss": evaluation.loss,
        "batch_norm": trainer.config.eval_stats,
        "seconds": round(time.perf_counter() - started, 3),
        **{name: scores_of(counts) for name, counts in evaluation.counts.items()},
    }


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
    shown = {"half": "half-value threshold"}
    if windows and "windows" in test:
        shown["windows"] = "DLStudio's windows"
    for name, meaning in shown.items():
        scores = test[name]
        columns = {s: [*scores["per_class"][s], scores["mean"][s]] for s in SCORE_NAMES}
        lines.append(f"{meaning}; pixel accuracy {scores['pixel_accuracy']:.4f}")
        lines += score_table([*classes, "mean"], columns)
    return lines


def score_table(rows: Sequence[str], columns: Mapping[str, Sequence[float]]) -> list[str]:
    """Return the lines of a table: a heading for each column, a name and its scores a row."""
    width = max(9, *map(len, rows)) + 1
    lines = [f"  {'':{width}}" + "".join(f"{name:>11}" for name in columns)]
    for name, *scores in zip(rows, *columns.values(), strict=True):
        lines.append(f"  {name:{width}}" + "".join(f"{score:11.4f}" for score in scores))
    return lines


def draw_figures(trainer: Trainer, variables: Any) -> None:
    """Draw loss.png from the log and predictions.png from the first test images."""
    config, folder, program = trainer.config, trainer.folder, trainer.program
    title = f"{config.loss}, {config.network_name()}, seed {config.seed}"
    plots.save(plots.loss_figure(folder.records(), title=title), folder.path / "loss.png")
    few = trainer.splits.test[:FIGURE_IMAGES]
    predict = make_predict(program.model, program.objective, stats=config.eval_stats)
    # Batch statistics depend on the batch, so the pictures come from batches of the test's size.
    size = config.batch_size if config.eval_stats == "batch" else len(few)
    images = trainer.splits.test.images
    values = [predict(variables, images[at : at + size]) for at in range(0, len(few), size)]
    # DLStudio's reading is of its head, its targets and its classes.
    faithful = config.head == "dlstudio" and program.objective.reads == "values"
    windows = faithful and windows_apply(program.objective.class_values)
    how = {"names": few.image_names, "decode": "windows" if windows else "half"}
    figure = outputs_figure(few, np.concatenate(values)[: len(few)], **how)
    plots.save(figure, folder.path / "predictions.png")


def outputs_figure(few: Dataset, values: np.ndarray, **how: Any) -> Any:
    """Draw outputs [N, H, W, C] on a data set's images, as `plots.predictions_figure`."""
    how |= {"class_names": few.class_names, "class_values": few.class_values}
    how |= {"boxes": [few.boxes_of(index) for index in range(len(few))], "ignore": few.ignore}
    return plots.predictions_figure(few.images, few.masks, values, **how)


def environment() -> dict[str, Any]:
    """Return what a number depends on besides the settings: device, versions, commit."""
    versions = {"python": platform.python_version(), **dict.fromkeys(PACKAGES, "not installed")}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "platform": jax.devices()[0].platform,
        "device": device_name(),
        "devices": jax.device_count(),
        "processes": jax.process_count(),
        "cpu_cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "versions": versions,
        "commit": commit(),
    }


def device_name() -> str:
    """Return the accelerator's name, or the processor's where JAX runs on the CPU."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return device.device_kind
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        if found := re.search("^model name.*?:(.*)", text, re.MULTILINE):
            return found[1].strip()
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """Return the commit of the checkout that this code runs from, or None outside of one."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        found = subprocess.check_output(
            command, cwd=Path(__file__).parent, stderr=subprocess.DEVNULL, text=True, timeout=10
        )
        return found.strip() or None
    return None
