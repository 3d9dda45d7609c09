"""A COCO annotation file: its pictures and their masks, every field checked before it is used."""

import dataclasses
import importlib
import json
import math
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segjax.data.own.problems import FileProblemError, printable, some_names
from segjax.data.own.resize import Edges, Size
from segjax.errors import DataError
from segjax.files import regular

MAX_SIDE = 1 << 15
MAX_PIXELS = Image.MAX_IMAGE_PIXELS or 1 << 26  # as of pictures
MAX_NUMBER = 1e9  # of coordinates and sizes


@dataclasses.dataclass(frozen=True)
class Annotation:
    """One entry of "annotations"; ``segmentation`` is checked when it is drawn."""

    id: Any
    category: str
    crowd: bool
    segmentation: Any
    box: Edges | None

    def mask(self, size: Size) -> np.ndarray:
        """Return uint8 [height, width], 1 inside the polygons or run lengths.

        Raises FileProblemError if they do not fit a picture of this size.
        """
        try:
            if isinstance(self.segmentation, list):
                return _draw_polygons(self.segmentation, size)
            if isinstance(self.segmentation, dict):
                return _draw_runs(self.segmentation, size)
            raise ValueError("it has neither polygons nor run lengths")
        except ValueError as error:
            raise FileProblemError("bad annotation", f"annotation {self.id}: {error}") from None


@dataclasses.dataclass(frozen=True)
class Picture:
    """One entry of "images" with its annotations; ``image`` is its file, once that is found."""

    name: str
    size: Size
    annotations: list[Annotation]
    image: Path = Path()


def read_file(path: Path) -> tuple[list[Picture], list[str]]:
    """Read an annotation file of COCO's "instances" kind.

    Returns:
      The pictures and the names of the categories, both in the order of the file.

    Raises:
      DataError: naming the file and the entry that is not as it should be.
    """
    where = printable(str(path))
    try:
        content = json.loads(regular(path).read_bytes())
    except OSError as error:
        raise DataError(f"{where}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON, or cut short ({error})") from None
    if not isinstance(content, dict):
        raise DataError(f"{where}: not COCO annotations, it holds a {type(content).__name__}")
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key), list):
            raise DataError(f'{where}: not COCO annotations, it has no list "{key}"')
    pictures: dict[int, Picture] = {}
    categories: dict[int, str] = {}

    def fields(entry: Any, what: str, **kinds: type) -> list[Any]:
        if not isinstance(entry, dict):
            raise DataError(f"{where}: an entry of {what} is no object")
        for key, kind in kinds.items():
            if type(entry.get(key)) is not kind:
                about = str(entry.get("id", entry.get("file_name", "?")))[:60]
                is_not = f"must be a {kind.__name__}, not {str(entry.get(key))[:40]!r}"
                raise DataError(f"{where}: {what} {about!r}: {key!r} {is_not}")
        return [entry[key] for key in kinds]

    for entry in content["images"]:
        index, name, *size = fields(entry, "image", id=int, file_name=str, height=int, width=int)
        if not all(0 < side <= MAX_SIDE for side in size) or math.prod(size) > MAX_PIXELS:
            raise DataError(f"{where}: image {name!r}: {size[0]}x{size[1]} is no size")
        if index in pictures:
            raise DataError(f"{where}: two images have the id {index}")
        pictures[index] = Picture(name, (size[0], size[1]), [])
    names = Counter(picture.name for picture in pictures.values())
    if twice := sorted(name for name, count in names.items() if count > 1):
        raise DataError(f"{where}: listed twice under different ids: {some_names(twice)}")
    for entry in content["categories"]:
        index, name = fields(entry, "category", id=int, name=str)
        if index in categories:
            raise DataError(f"{where}: two categories have the id {index}")
        categories[index] = name
    for entry in content["annotations"]:
        image, category = fields(entry, "annotation", image_id=int, category_id=int)
        index, crowd = entry.get("id"), entry.get("iscrowd", 0)
        about = f"{where}: annotation {index!r}"
        if crowd not in (0, 1):
            raise DataError(f"{about}: 'iscrowd' must be 0 or 1, not {str(crowd)[:40]!r}")
        if image not in pictures:
            raise DataError(f"{about}: no image_id {image}")
        if category not in categories:
            raise DataError(f"{about}: no category_id {category}")
        drawn, box = entry.get("segmentation"), _edges(entry.get("bbox"), about)
        found = Annotation(index, categories[category], bool(crowd), drawn, box)
        pictures[image].annotations.append(found)
    return list(pictures.values()), list(dict.fromkeys(categories.values()))


def _edges(box: Any, about: str) -> Edges | None:
    if box is None or box == []:
        return None
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        raise DataError(f"{about}: bbox must be [x, y, w, h]")
    left, top, width, height = map(float, box)
    return left, top, left + width, top + height


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -MAX_NUMBER <= value <= MAX_NUMBER


def require_pycocotools() -> Any:
    """Return the module pycocotools.mask. Raises DataError if pycocotools is not installed."""
    try:
        return importlib.import_module("pycocotools.mask")
    except ImportError:
        raise DataError("COCO annotations need pycocotools: pip install 'segjax[coco]'") from None


def _draw_polygons(polygons: list[Any], size: Size) -> np.ndarray:
    limit = 2 * max(size)  # pycocotools draws into memory that grows with the coordinates
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise ValueError("a polygon needs three or more x, y pairs")
        for value in polygon:
            if not _is_number(value):
                raise ValueError(f"a polygon holds {str(value)[:20]!r}")
            if not -limit <= value <= limit:
                raise ValueError(f"a polygon lies far outside the image ({value:g})")
    if not polygons:
        raise ValueError("it has no polygon")
    coco = require_pycocotools()
    runs = coco.merge(coco.frPyObjects(polygons, *size))
    with warnings.catch_warnings():
        # pycocotools 2.0.11 has not followed NumPy 2's __array__(copy=...); the values are right.
        warnings.filterwarnings("ignore", message="__array__ implementation")
        return np.array(coco.decode(runs), np.uint8)


def _draw_runs(runs: dict[str, Any], size: Size) -> np.ndarray:
    """Draw run lengths, of zeros and ones in turn, down the columns from the left."""
    (height, width), stated, counts = size, runs.get("size"), runs.get("counts")
    if stated != [height, width]:
        told = f"run lengths of size {str(stated)[:30]}"
        raise ValueError(f"{told} for an image of {height}x{width}")
    if isinstance(counts, str):
        counts = _unpack_counts(counts)
    if not isinstance(counts, list) or any(type(n) is not int or n < 0 for n in counts):
        raise ValueError("its run lengths are not whole numbers")
    if sum(counts) != height * width:
        raise ValueError(f"its run lengths add up to {sum(counts)}, not {height} times {width}")
    values = (np.arange(len(counts)) % 2).astype(np.uint8)
    return np.repeat(values, counts).reshape(width, height).T


def _unpack_counts(text: str) -> list[int]:
    """Return the run lengths of COCO's compressed string."""
    # Numbers are little-endian in groups of five bits, with a bit for "more follows", the
    # characters counted from "0"; from the third on, differences to the one before the last.
    counts: list[int] = []
    value = shift = 0
    for code in (ord(character) - 48 for character in text):
        if not 0 <= code < 64 or shift > 30:
            raise ValueError("its compressed run lengths are damaged")
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            value -= 1 << shift if code & 16 else 0
            counts.append(value + counts[-2] if len(counts) > 2 else value)
            value = shift = 0
    if shift:
        raise ValueError("its compressed run lengths are damaged")
    return counts
