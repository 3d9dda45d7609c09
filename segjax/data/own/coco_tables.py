"""Reading a COCO annotation file into tables, every field checked before it is used."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segjax.data.own.problems import printable, some_names
from segjax.data.own.resize import Size
from segjax.errors import DataError

MAX_SIDE = 1 << 15


@dataclasses.dataclass(frozen=True)
class Picture:
    """One entry of "images"."""

    file_name: str
    size: Size


@dataclasses.dataclass(frozen=True)
class Annotation:
    """One entry of "annotations"; ``segmentation`` is checked when it is drawn."""

    id: Any
    image: int
    category: str
    crowd: bool
    segmentation: Any
    box: tuple[float, float, float, float] | None


@dataclasses.dataclass(frozen=True)
class Tables:
    """The pictures by id, the names of the categories and the annotations."""

    images: Mapping[int, Picture]
    categories: tuple[str, ...]
    annotations: tuple[Annotation, ...]


def read_tables(path: Path) -> Tables:
    """Reads an annotation file of COCO's "instances" kind.

    Raises:
      DataError: naming the file and the entry that is not as it should be.
    """
    where = printable(str(path))
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{where}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON, or cut short ({error})") from None
    if not isinstance(content, dict):
        raise DataError(f"{where}: not COCO annotations, it holds a {type(content).__name__}")
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key), list):
            raise DataError(f'{where}: not COCO annotations, it has no list "{key}"')
    read = _Reader(where)
    images: dict[int, Picture] = {}
    for entry in content["images"]:
        index, picture = read.picture(entry)
        if index in images:
            raise DataError(f"{where}: two images have the id {index}")
        images[index] = picture
    names = [picture.file_name for picture in images.values()]
    if len(set(names)) < len(names):
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        raise DataError(f"{where}: listed twice under different ids: {some_names(twice)}")
    categories: dict[int, str] = {}
    for entry in content["categories"]:
        index, name = read.category(entry)
        if index in categories:
            raise DataError(f"{where}: two categories have the id {index}")
        categories[index] = name
    annotations = tuple(
        read.annotation(entry, images, categories) for entry in content["annotations"]
    )
    return Tables(images, tuple(dict.fromkeys(categories.values())), annotations)


class _Reader:
    """Checks single entries; every failure names the file and the entry."""

    def __init__(self, where: str) -> None:
        self._where = where

    def _field(self, entry: Any, key: str, kind: type, what: str) -> Any:
        if not isinstance(entry, dict):
            raise DataError(f"{self._where}: an entry of {what} is no object")
        value = entry.get(key)
        if type(value) is not kind:
            about = entry.get("id", entry.get("file_name", "?"))
            raise DataError(
                f"{self._where}: {what} {str(about)[:60]!r}: {key!r} must be a"
                f" {kind.__name__}, not {str(value)[:40]!r}"
            )
        return value

    def picture(self, entry: Any) -> tuple[int, Picture]:
        """Returns the id and the picture."""
        index = self._field(entry, "id", int, "image")
        name = self._field(entry, "file_name", str, "image")
        height = self._field(entry, "height", int, "image")
        width = self._field(entry, "width", int, "image")
        if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
            raise DataError(f"{self._where}: image {name!r}: {height}x{width} is no size")
        return index, Picture(name, (height, width))

    def category(self, entry: Any) -> tuple[int, str]:
        """Returns the id and the name."""
        return (
            self._field(entry, "id", int, "category"),
            self._field(entry, "name", str, "category"),
        )

    def annotation(
        self, entry: Any, images: Mapping[int, Picture], categories: Mapping[int, str]
    ) -> Annotation:
        """Returns the annotation; its image and category must exist."""
        image = self._field(entry, "image_id", int, "annotation")
        category = self._field(entry, "category_id", int, "annotation")
        index = entry.get("id")
        for value, known, key in (
            (image, images, "image_id"),
            (category, categories, "category_id"),
        ):
            if value not in known:
                raise DataError(f"{self._where}: annotation {index!r}: no {key} {value}")
        return Annotation(
            id=index,
            image=image,
            category=categories[category],
            crowd=bool(entry.get("iscrowd", 0)),
            segmentation=entry.get("segmentation"),
            box=self._box(entry.get("bbox"), index),
        )

    def _box(self, box: Any, index: Any) -> tuple[float, float, float, float] | None:
        if box is None or box == []:
            return None
        numbers = isinstance(box, list) and all(type(v) in (int, float) for v in box)
        if not numbers or len(box) != 4 or not all(math.isfinite(v) for v in box):
            raise DataError(f"{self._where}: annotation {index!r}: bbox must be [x, y, w, h]")
        left, top, width, height = (float(value) for value in box)
        return left, top, left + width, top + height
