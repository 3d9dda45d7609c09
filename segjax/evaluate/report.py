"""What an evaluation leaves: results.json, tables as CSV, two figures, and lines to read."""

import csv
import functools
import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segjax import metrics, plots
from segjax.data import Dataset
from segjax.errors import ConfigError
from segjax.evaluate.measure import Measured
from segjax.files import write_text
from segjax.runs.folder import RESULTS_FILE, RunFolder, plain
from segjax.training.evaluate import scores_of
from segjax.training.results import outputs_figure, score_table, test_table

FILES = (RESULTS_FILE, "classes.csv", "images.csv", "confusion.csv", "confusion.png", "worst.png")
# Scores in the second table of a terminal, by their headings there; and those of each image.
SHOWN = {"boundary_f1": "boundary F1", "hd95": "HD95", "assd": "ASSD",
         "panoptic_quality": "panoptic", "object_recall": "found"}  # fmt: skip
OF_IMAGES = ("iou", "dice", "precision", "recall", "boundary_f1", "hd95", "assd")


def check_out(out: Path, about: Mapping[str, str]) -> None:
    """Make ``out``; ConfigError unless it is free, or holds an evaluation ``about`` the same."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: is a file; name another --out")
    if out.exists() and any(out.iterdir()):
        try:
            earlier = RunFolder(out).results()["evaluated"]
        except (ConfigError, KeyError):
            raise ConfigError(f"{out}: holds other files; name another --out") from None
        if earlier != about:
            raise ConfigError(f"{out}: is of {earlier}; name another --out")
    out.mkdir(parents=True, exist_ok=True)  # now, not after the pass


def results_of(measured: Measured, dataset: Dataset) -> dict[str, Any]:
    """Return the scores as plain values: those of a run's test, and all others."""
    names, labels = dataset.image_names, [*dataset.class_names, "background"]
    height, width = dataset.image_size
    # The limits are made for images of 64 x 64.
    limits = [limit * height * width / 64**2 for limit in metrics.SIZE_LIMITS]
    sizes = metrics.count_objects(measured.objects, by="size", limits=limits)
    return {
        "test": {
            "images": len(dataset),
            "loss": measured.loss,
            **{name: scores_of(counts) for name, counts in measured.counts.items()},
        },
        "scores": {
            name: {"per_class": score(average="none"), "mean": score(average="macro")}
            for name, score in _scores(measured).items()
        },
        "objects_by_size": {
            "up_to_pixels": limits,
            "number": sizes.number.sum(axis=1),
            "found": metrics.object_recall(sizes, average="micro"),
            "found_per_class": metrics.object_recall(sizes),
        },
        "confusion": {"labels": labels, "pixels": measured.confusion},
        "worst": [{"image": names[index], "iou": score} for score, index, _ in measured.worst],
    }


def lines_of(results: Mapping[str, Any], *, windows: bool) -> list[str]:
    """Return what an evaluation says in a terminal; ``windows`` as for `test_table`."""
    scores, sizes = results["scores"], results["objects_by_size"]
    lines = [*test_table({**results}, windows=windows), "outlines, in pixels, and objects"]
    columns = {SHOWN[name]: [*scores[name]["per_class"], scores[name]["mean"]] for name in SHOWN}
    lines += score_table([*results["classes"], "mean"], columns)
    least = 1
    for limit, number, found in zip(
        *(sizes[key] for key in ("up_to_pixels", "number", "found")), strict=True
    ):
        size = f"of {least:g} to {limit:g} pixels" if np.isfinite(limit) else "larger"
        least = math.floor(limit) + 1 if np.isfinite(limit) else limit
        lines += [f"objects {size}: {number}, {100 * found:.1f} % found"] if number else []
    labels, pixels = (results["confusion"][key] for key in ("labels", "pixels"))
    mixed = [
        f"{labels[row]} read as {labels[column]} {100 * share:.1f} %"
        for row, column, share in plots.worst_confusions(pixels)[:3]
    ]
    worst = [f"{row['image']} ({row['iou']:.3f})" for row in results["worst"][:3]]
    lines += [f"mixed up most: {'; '.join(mixed) or 'nothing'}"]
    return [*lines, f"worst images, by mean IoU: {', '.join(worst)}"]


def write(out: Path, results: Mapping[str, Any], measured: Measured, dataset: Dataset) -> None:
    """Write all ``FILES`` into a folder, each whole or not at all; results.json is the first."""
    RunFolder(out).write_results(results)
    classes, scores = dataset.class_names, _scores(measured)
    labels, found = results["confusion"]["labels"], results["scores"].items()
    each = [(name, [*score["per_class"], score["mean"]]) for name, score in found]
    _write_table(out / "classes.csv", [("class", [*classes, "mean"]), *each])
    means = [(name, scores[name](average="macro", over="image")) for name in OF_IMAGES]
    ious = zip((f"iou {name}" for name in classes), scores["iou"](over="image").T, strict=True)
    _write_table(out / "images.csv", [("image", dataset.image_names), *means, *ious])
    columns = zip(labels, measured.confusion.T, strict=True)
    _write_table(out / "confusion.csv", [("true class", labels), *columns])
    title = f"{dataset.name}: what was read as what"
    figure = plots.confusion_figure(measured.confusion, labels=labels, title=title)
    plots.save(figure, out / "confusion.png")
    few = dataset.subset([index for _, index, _ in measured.worst])
    values = np.stack([values for *_, values in measured.worst])
    title = f"{dataset.name}: the worst of {len(dataset)} images"
    how = {"names": [row["image"] for row in results["worst"]], "title": title}
    figure = outputs_figure(few, values, max_images=len(few), max_classes=0, **how)
    plots.save(figure, out / "worst.png")


def _scores(measured: Measured) -> dict[str, Callable[..., Any]]:
    """Return every score by name, still to be told its average."""
    found: dict[str, Callable[..., Any]] = {
        name: functools.partial(score, measured.counts["half"])
        for name, score in metrics.SCORES.items()
    }
    found["boundary_f1"] = functools.partial(metrics.boundary_f1, measured.boundary)
    for name in ("hausdorff", "hd95", "assd"):
        # A class that was missed altogether is as far off as an image allows.
        score = getattr(metrics, name)
        found[name] = functools.partial(score, measured.distances, missing="diagonal")
    for name in ("panoptic_quality", "segmentation_quality", "recognition_quality"):
        found[name] = functools.partial(getattr(metrics, name), measured.panoptic)
    objects = metrics.count_objects(measured.objects)
    found["object_recall"] = lambda **how: metrics.object_recall(objects, **how)[0]
    return found


def _write_table(path: Path, columns: Sequence[tuple[str, Any]]) -> None:
    """Write named columns as CSV; the score of what is not there is empty."""
    text = io.StringIO()
    rows = zip(*(plain(values) for _, values in columns), strict=True)
    csv.writer(text, lineterminator="\n").writerows([[name for name, _ in columns], *rows])
    write_text(path, text.getvalue())
