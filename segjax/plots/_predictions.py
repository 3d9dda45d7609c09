"""Images, truths and predictions side by side: for one run, and for several."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from segjax.classes import class_colour
from segjax.errors import ConfigError
from segjax.plots import _pictures
from segjax.plots._style import STYLE

Boxes = Sequence[Sequence[tuple[int, tuple[int, int, int, int]]]]
_FRAMES = " Frames: the truth's boxes."
_RULES = {
    "half": "Full colour: above half the class's value. Dim: a lower value, not counted.",
    "windows": "Full colour: inside DLStudio's value window. Dim: below it. Pale: above it. Only "
    "full colour counts.",
}


def _put_input(
    sheet: _pictures.Sheet, place: tuple[int, int], i: int, image: np.ndarray, boxes: Boxes | None
) -> None:
    """Show the i-th image at this row and column, its boxes framed."""
    rgb = np.clip(np.nan_to_num(image.astype(np.float64)), 0, 255) / 255
    axes = sheet.put(*place, rgb, f"input {i}")
    for channel, (x1, y1, x2, y2) in boxes[i] if boxes is not None else ():
        frame = Rectangle(
            (x1 - 0.5, y1 - 0.5), x2 - x1 + 1, y2 - y1 + 1, fill=False,
            edgecolor=class_colour(channel), linewidth=1.8,
        )  # fmt: skip
        axes.add_patch(frame)


def _checked(
    images: Any, masks: Any, outputs: Mapping[str, Any], most: int, boxes: Any, *classes: Any
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Return images, truth and outputs, the first ``most``; ConfigError unless all fits.

    The outputs come by the names that an error gives them, the classes as names and values.
    """
    images, masks = np.asarray(images), np.asarray(masks)
    if images.ndim != 4 or images.shape[-1] != 3 or len(images) == 0:
        raise ConfigError(f"images have shape {images.shape}; [N, H, W, 3] with N > 0 is needed")
    if masks.ndim != 4 or masks.shape[:3] != images.shape[:3]:
        raise ConfigError(f"masks {masks.shape} do not fit images {images.shape}")
    arrays = {name: np.asarray(values) for name, values in outputs.items()}
    for name, values in arrays.items():
        if values.shape != masks.shape:
            raise ConfigError(f"{name} {values.shape} do not fit masks {masks.shape}")
    if boxes is not None and len(boxes) < len(images):
        raise ConfigError(f"boxes are given for {len(boxes)} of {len(images)} images")
    names, numbers = map(len, classes)
    if not names == numbers == masks.shape[-1]:
        told = f"there are {names} class names and {numbers} class values"
        raise ConfigError(f"masks have {masks.shape[-1]} channels, but {told}")
    shown = [values[:most].astype(np.float64) for values in arrays.values()]
    return images[:most], masks[:most] > 0, shown


def _caption(scores: Sequence[float]) -> str:
    """Return in words the mean over the classes that are there, in truth or in the prediction."""
    present = [score for score in scores if not math.isnan(score)]
    return f"mean IoU {sum(present) / len(present):.2f}" if present else "nothing there"


def _legend(names: Sequence[str], truth: np.ndarray, values: Sequence[np.ndarray], ignore: Any):
    entries = [(name, class_colour(channel)) for channel, name in enumerate(names)]
    if (truth.sum(-1) > 1).any():
        entries.append(("truth overlaps", _pictures.OVERLAP))
    if any(np.isnan(array).any() for array in values):
        entries.append(("not a number", _pictures.NOT_A_NUMBER))
    if ignore is not None and ignore.any():
        entries.append(("ignored", _pictures.IGNORED))
    return entries


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
    decode: _pictures.Decode = "half",
    max_images: int = 6,
    max_classes: int = 12,
    names: Sequence[str] | None = None,
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
        0: none, and no note.
      names: what stands above each image; None: "image 1" and so on.
      title: what stands above the figure.

    Returns:
      A figure of whole-pixel pictures. The axes are labelled `input 0`, `truth 0`,
      `prediction 0`, and `class 2 image 0` for channel 2.

    Raises:
      ConfigError: shapes do not fit, or `decode` does not know a class value.
    """
    images, truth, (values,) = _checked(
        images, masks, {"values": values}, max_images, boxes, class_names, class_values
    )
    low, high = _pictures.window(class_values, decode)
    on = _pictures.counted(values, low, high)
    sizes = (on | truth).sum((0, 1, 2))
    channels = sorted(np.argsort(-sizes, kind="stable")[:max_classes].tolist())
    hidden = truth.shape[-1] - len(channels)
    note = _RULES[decode] + (" White line: outline of the truth." if channels else "")
    note += "" if boxes is None else _FRAMES
    note += f" {hidden} smaller classes have no row here." if hidden and channels else ""
    sheet = _pictures.Sheet(
        ["input", "truth", "prediction", *(class_names[c] for c in channels)],
        [f"image {i + 1}" for i in range(len(images))]
        if names is None
        else [*names[: len(images)]],
        images.shape[1:3],
        title=title,
        note=note,
        legend=_legend(class_names, truth, [values], ignore),
    )
    for i, image in enumerate(images):
        _put_input(sheet, (0, i), i, image, boxes)
        valid = None if ignore is None else ~ignore[i]
        scores = _pictures.ious(on[i], truth[i], valid)
        strongest = _pictures.strongest_picture(values[i], low, high, class_values)
        sheet.put(1, i, _blank(_pictures.truth_picture(truth[i]), valid), f"truth {i}")
        sheet.put(2, i, _blank(strongest, valid), f"prediction {i}", _caption(scores))
        for row, c in enumerate(channels, start=3):
            picture = _pictures.channel_picture(values[i, ..., c], low[c], high[c], c)
            text = "in neither" if math.isnan(scores[c]) else f"IoU {scores[c]:.2f}"
            axes = sheet.put(row, i, _blank(picture, valid), f"class {c} image {i}", text)
            edges = list(_pictures.outline(truth[i, ..., c]))
            line = LineCollection(edges, colors="white", linewidths=0.9)
            axes.add_collection(line, autolim=False)
    return sheet.figure


def _blank(picture: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    return picture if valid is None else np.where(valid[..., None], picture, _pictures.IGNORED)


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
      images, masks, class_names, class_values, boxes: as `predictions_figure` takes them.
      models: name of a model to its outputs, float [N, H, W, C] on the scale of the mask values.
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
    outputs = {f"values of {name}": values for name, values in models.items()}
    images, truth, shown = _checked(
        images, masks, outputs, max_images, boxes, class_names, class_values
    )
    low, high = _pictures.window(class_values, "half")
    sheet = _pictures.Sheet(
        [f"image {i + 1}" for i in range(len(images))],
        ["input", "truth", *models],
        images.shape[1:3],
        title=title,
        note=_RULES["half"] + ("" if boxes is None else _FRAMES),
        legend=_legend(class_names, truth, shown, None),
    )
    for i, image in enumerate(images):
        _put_input(sheet, (i, 0), i, image, boxes)
        sheet.put(i, 1, _pictures.truth_picture(truth[i]), f"truth {i}")
        for column, (name, values) in enumerate(zip(models, shown, strict=True), start=2):
            scores = _pictures.ious(_pictures.counted(values[i], low, high), truth[i])
            picture = _pictures.strongest_picture(values[i], low, high, class_values)
            sheet.put(i, column, picture, f"{name} image {i}", _caption(scores))
    return sheet.figure
