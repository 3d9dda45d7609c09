"""Drawing one COCO annotation; pycocotools gets only what was checked here."""

from __future__ import annotations

import importlib
import math
import warnings
from typing import Any

import numpy as np

from segjax.data.own.coco_tables import Annotation
from segjax.data.own.problems import FileProblemError
from segjax.data.own.resize import Size
from segjax.errors import DataError


def require_pycocotools() -> Any:
    """Returns the module pycocotools.mask.

    Raises:
      DataError: if pycocotools is not installed.
    """
    try:
        return importlib.import_module("pycocotools.mask")
    except ImportError:
        raise DataError("COCO annotations need pycocotools: pip install 'segjax[coco]'") from None


def area_mask(annotation: Annotation, size: Size) -> np.ndarray:
    """Returns uint8 [height, width], 1 inside the annotation's polygons or run lengths.

    Raises:
      FileProblemError: if the segmentation is not one that fits a picture of this size.
    """
    try:
        return _draw(annotation.segmentation, size)
    except _BadSegmentationError as error:
        raise FileProblemError("bad annotation", f"annotation {annotation.id}: {error}") from None


class _BadSegmentationError(ValueError):
    """Why a segmentation cannot be drawn."""


def _draw(segmentation: Any, size: Size) -> np.ndarray:
    coco = require_pycocotools()
    height, width = size
    if isinstance(segmentation, list):
        for polygon in segmentation:
            _check_polygon(polygon, size)
        if not segmentation:
            raise _BadSegmentationError("it has no polygon")
        runs = coco.frPyObjects(segmentation, height, width)
        return _decode(coco, coco.merge(runs))
    if isinstance(segmentation, dict):
        if segmentation.get("size") != [height, width]:
            raise _BadSegmentationError(
                f"run lengths of size {str(segmentation.get('size'))[:30]} for an image of"
                f" {height}x{width}"
            )
        counts = segmentation.get("counts")
        if isinstance(counts, str):
            counts = _unpack_counts(counts)
        if not isinstance(counts, list) or any(type(n) is not int or n < 0 for n in counts):
            raise _BadSegmentationError("its run lengths are not whole numbers")
        if sum(counts) != height * width:
            raise _BadSegmentationError(
                f"its run lengths add up to {sum(counts)}, not {height} times {width}"
            )
        runs = coco.frPyObjects({"size": [height, width], "counts": counts}, height, width)
        return _decode(coco, runs)
    raise _BadSegmentationError("it has neither polygons nor run lengths")


def _decode(coco: Any, runs: Any) -> np.ndarray:
    with warnings.catch_warnings():
        # pycocotools 2.0.11 has not followed NumPy 2's __array__(copy=...); the values are right.
        warnings.filterwarnings("ignore", message="__array__ implementation")
        return np.array(coco.decode(runs), np.uint8)


def _check_polygon(polygon: Any, size: Size) -> None:
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        raise _BadSegmentationError("a polygon needs three or more x, y pairs")
    limit = 2 * max(size)  # pycocotools draws into memory that grows with the coordinates
    for value in polygon:
        if type(value) not in (int, float) or not math.isfinite(value):
            raise _BadSegmentationError(f"a polygon holds {str(value)[:20]!r}")
        if not -limit <= value <= limit:
            raise _BadSegmentationError(f"a polygon lies far outside the image ({value:g})")


def _unpack_counts(text: str) -> list[int]:
    """Returns the run lengths of COCO's compressed string.

    Each number is little-endian in groups of five bits, with a bit for "more follows" and the
    characters counted from "0"; from the third on, numbers are differences to the one before the
    last. pycocotools reads past the end of a string that stops in the middle of a number.
    """
    counts: list[int] = []
    position = 0
    while position < len(text):
        value = shift = 0
        more = True
        while more:
            if position == len(text) or shift > 30:
                raise _BadSegmentationError("its compressed run lengths are damaged")
            code = ord(text[position]) - 48
            if not 0 <= code < 64:
                raise _BadSegmentationError("its compressed run lengths are damaged")
            value |= (code & 31) << shift
            more = bool(code & 32)
            shift += 5
            position += 1
            if not more and code & 16:
                value -= 1 << shift
        if len(counts) > 2:
            value += counts[-2]
        counts.append(value)
    return counts
