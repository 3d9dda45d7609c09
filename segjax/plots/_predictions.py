"""Images, truths and predictions side by side: for one run, and for several."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from segjax.colours import class_colour
from segjax.errors import ConfigError
from segjax.plots._pictures import (
    IGNORED,
    NOT_A_NUMBER,
    OVERLAP,
    Decode,
    channel_picture,
    counted,
    iou,
    outline,
    strongest_picture,
    truth_picture,
    window,
)
from segjax.plots._sheet import Sheet
from segjax.plots._style import STYLE

Boxes = Sequence[Sequence[tuple[int, tuple[int, int, int, int]]]]


def _put_inputs(
    sheet: Sheet, images: np.ndarray, places: Sequence[tuple[int, int]], boxes: Boxes | None
) -> None:
    """Show each image at its row and column, its boxes framed."""
    for i, (image, place) in enumerate(zip(images, places, strict=True)):
        rgb = np.clip(np.nan_to_num(image.astype(np.float64)), 0, 255) / 255
        axes = sheet.put(*place, rgb, f"input {i}")
        for channel, (x1, y1, x2, y2) in boxes[i] if boxes is not None else ():
            frame = Rectangle(
                (x1 - 0.5, y1 - 0.5), x2 - x1 + 1, y2 - y1 + 1, fill=False,
                edgecolor=class_colour(channel), linewidth=1.8,
            )  # fmt: skip
            axes.add_patch(frame)


def _check(
    images: np.ndarray,
    masks: np.ndarray,
    outputs: Mapping[str, np.ndarray],
    class_names: Sequence[str],
    class_values: Sequence[float],
    boxes: Boxes | None,
) -> None:
    """Raise ConfigError unless all fits together; ``outputs`` are named as an error names them."""
    if images.ndim != 4 or images.shape[-1] != 3 or len(images) == 0:
        raise ConfigError(f"images have shape {images.shape}; [N, H, W, 3] with N > 0 is needed")
    if masks.ndim != 4 or masks.shape[:3] != images.shape[:3]:
        raise ConfigError(f"masks {masks.shape} do not fit images {images.shape}")
    for name, values in outputs.items():
        if values.shape != masks.shape:
            raise ConfigError(f"{name} {values.shape} do not fit masks {masks.shape}")
    if boxes is not None and len(boxes) < len(images):
        raise ConfigError(f"boxes are given for {len(boxes)} of {len(images)} images")
    if not len(class_names) == len(class_values) == masks.shape[-1]:
        raise ConfigError(
            f"masks have {masks.shape[-1]} channels, but there are {len(class_names)} class names "
            f"and {len(class_values)} class values"
        )


def _caption(scores: Sequence[float]) -> str:
    """Return in words the mean over the classes that are there, in truth or in the prediction."""
    present = [score for score in scores if not math.isnan(score)]
    return f"mean IoU {sum(present) / len(present):.2f}" if present else "nothing there"


def _notes(decode: Decode, extras: Sequence[str] = ()) -> str:
    if decode == "half":
        rule = "Full colour: above half the class's value. Dim: a lower value, not counted."
    else:
        rule = (
            "Full colour: inside DLStudio's value window. Dim: below it. Pale: above it. Only full "
            "colour counts."
        )
    return " ".join([rule, *extras])


def _legend(names: Sequence[str], truth: np.ndarray, values: Sequence[np.ndarray], ignore: Any):
    entries = [(name, class_colour(channel)) for channel, name in enumerate(names)]
    if (truth.sum(-1) > 1).any():
        entries.append(("truth overlaps", OVERLAP))
    if any(np.isnan(array).any() for array in values):
        entries.append(("not a number", NOT_A_NUMBER))
    if ignore is not None and ignore.any():
        entries.append(("ignored", IGNORED))
    return entries


def _most_present(counts: np.ndarray, most: int) -> list[int]:
    """Return the `most` channels with the largest counts, in channel order."""
    return sorted(np.argsort(-counts, kind="stable")[:most].tolist())


@mpl.rc_context(STYLE)
def predictions_figure(
    images: np.ndarray,
    masks: np.ndarray,
    values: np.ndarray,
    *,
    class_names: Sequence[str],
    class_values: Sequence[float],
    boxes: Boxes | None = None,
    ignore: np.ndarray | None = None,
    decode: Decode = "half",
    max_images: int = 6,
    max_classes: int = 12,
    title: str = "Test images: input, truth and prediction",
) -> Figure:
    """Draw each image in a column: input, truth, prediction, and then the prediction per class.

    The prediction row colours each pixel by its strongest class: of those that decode there, or
    else of all, the one with the largest share of its class value. Below each picture stands its
    IoU; the mean is over the classes that the truth or the prediction has.

    Args:
      images: uint8 [N, H, W, 3].
      masks: [N, H, W, C], 0 or anything above it where the class is.
      values: float [N, H, W, C], network outputs on the scale of the mask values.
      class_names: the C names.
      class_values: the C mask values.
      boxes: per image its boxes as (channel, (x1, y1, x2, y2)), corners inclusive.
      ignore: bool [N, H, W], pixels that count for nothing.
      decode: 'half' (on above half the class value) or 'windows' (DLStudio's value windows).
      max_images: columns at most; the first ones are shown.
      max_classes: class rows at most; the largest classes are shown, and the note counts the rest.
      title: what stands above the figure.

    Returns:
      A figure of whole-pixel pictures. The axes are labelled `input 0`, `truth 0`,
      `prediction 0`, and `class 2 image 0` for channel 2.

    Raises:
      ConfigError: shapes do not fit, or `decode` does not know a class value.
    """
    images, masks, values = np.asarray(images), np.asarray(masks), np.asarray(values)
    _check(images, masks, {"values": values}, class_names, class_values, boxes)
    low, high = window(class_values, decode)
    images, truth = images[:max_images], masks[:max_images] > 0
    values = values[:max_images].astype(np.float64)
    on = counted(values, low, high)
    channels = _most_present((on | truth).sum((0, 1, 2)), max_classes)
    hidden = truth.shape[-1] - len(channels)
    extras = ["White line: outline of the truth."]
    if boxes is not None:
        extras.append("Frames: the truth's boxes.")
    if hidden:
        extras.append(f"{hidden} smaller classes have no row here.")
    count = len(images)
    sheet = Sheet(
        ["input", "truth", "prediction", *(class_names[c] for c in channels)],
        [f"image {i + 1}" for i in range(count)],
        images.shape[1:3],
        title=title,
        note=_notes(decode, extras),
        legend=_legend(class_names, truth, [values], ignore),
    )
    _put_inputs(sheet, images, [(0, i) for i in range(count)], boxes)
    for i in range(count):
        valid = None if ignore is None else ~ignore[i]
        scores = [iou(on[i, ..., c], truth[i, ..., c], valid) for c in range(truth.shape[-1])]
        strongest = strongest_picture(values[i], low, high, class_values)
        sheet.put(1, i, _blank(truth_picture(truth[i]), valid), f"truth {i}")
        sheet.put(2, i, _blank(strongest, valid), f"prediction {i}", _caption(scores))
        for row, c in enumerate(channels, start=3):
            picture = channel_picture(values[i, ..., c], low[c], high[c], c)
            text = "in neither" if math.isnan(scores[c]) else f"IoU {scores[c]:.2f}"
            axes = sheet.put(row, i, _blank(picture, valid), f"class {c} image {i}", text)
            segments = list(outline(truth[i, ..., c]))
            line = LineCollection(segments, colors="white", linewidths=0.9)
            axes.add_collection(line, autolim=False)
    return sheet.figure


def _blank(picture: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    return picture if valid is None else np.where(valid[..., None], picture, IGNORED)


@mpl.rc_context(STYLE)
def comparison_figure(
    images: np.ndarray,
    masks: np.ndarray,
    models: Mapping[str, np.ndarray],
    *,
    class_names: Sequence[str],
    class_values: Sequence[float],
    boxes: Boxes | None = None,
    max_images: int = 6,
    title: str = "The same test images under each model",
) -> Figure:
    """Draw the report's Figure 2: each image in a row, each model in a column.

    Args:
      images: uint8 [N, H, W, 3].
      masks: [N, H, W, C], 0 or anything above it where the class is.
      models: name of a model to its outputs, float [N, H, W, C] on the scale of the mask values.
      class_names: the C names.
      class_values: the C mask values.
      boxes: per image its boxes as (channel, (x1, y1, x2, y2)), corners inclusive.
      max_images: rows at most; the first ones are shown.
      title: what stands above the figure.

    Returns:
      A figure of whole-pixel pictures. The axes are labelled `input 0`, `truth 0` and
      `NAME image 0` for the model NAME.

    Raises:
      ConfigError: no model was given, or shapes do not fit.
    """
    if not models:
        raise ConfigError("comparison_figure needs at least one model")
    images, masks = np.asarray(images), np.asarray(masks)
    outputs = {f"values of {name}": np.asarray(values) for name, values in models.items()}
    _check(images, masks, outputs, class_names, class_values, boxes)
    images, truth = images[:max_images], masks[:max_images] > 0
    shown = {name: np.asarray(v[:max_images], np.float64) for name, v in models.items()}
    low, high = window(class_values, "half")
    extras = [] if boxes is None else ["Frames: the truth's boxes."]
    sheet = Sheet(
        [f"image {i + 1}" for i in range(len(images))],
        ["input", "truth", *shown],
        images.shape[1:3],
        title=title,
        note=_notes("half", extras),
        legend=_legend(class_names, truth, list(shown.values()), None),
    )
    _put_inputs(sheet, images, [(i, 0) for i in range(len(images))], boxes)
    for i in range(len(images)):
        sheet.put(i, 1, truth_picture(truth[i]), f"truth {i}")
        for column, (name, values) in enumerate(shown.items(), start=2):
            on = counted(values[i], low, high)
            scores = [iou(on[..., c], truth[i, ..., c], None) for c in range(truth.shape[-1])]
            picture = strongest_picture(values[i], low, high, class_values)
            sheet.put(i, column, picture, f"{name} image {i}", _caption(scores))
    return sheet.figure
