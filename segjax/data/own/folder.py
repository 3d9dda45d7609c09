"""A folder of pictures beside indexed or per-class masks, as a data set."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from segjax.config import Config
from segjax.data.own import pictures
from segjax.data.own.class_names import ClassKey, Colour, check_names, read_class_file
from segjax.data.own.layout import IGNORE_FOLDER, NUMBERS, Entry, Found, find_entries
from segjax.data.own.problems import FileProblemError, Problem, printable, some_names
from segjax.data.own.resize import Size
from segjax.data.own.samples import Sample, Source
from segjax.errors import ConfigError, DataError

MAX_UNNAMED_CLASSES = 32


@dataclasses.dataclass(kw_only=True)
class FolderSource(Source):
    """A scanned folder; ``other_values`` stand for classes that are taken as background."""

    key: ClassKey
    other_values: tuple[int | Colour, ...]
    ignore_value: int | None

    def size_of(self, item: Entry) -> Size:
        """Return the picture's height and width, upright."""
        return pictures.picture_size(item.image)

    def read(self, item: Entry) -> Sample:
        """Read a picture and its masks."""
        image = pictures.read_image(item.image)
        size = (image.shape[0], image.shape[1])
        if NUMBERS in item.masks:
            path = item.masks[NUMBERS]
            return Sample(image, *self._split_labels(_read_mask(path, size), path))
        masks = np.zeros((*size, len(self.class_names)), np.uint8)
        ignore: np.ndarray | None = None
        for name, path in item.masks.items():
            if name == IGNORE_FOLDER:
                ignore = _read_binary(path, size)
            elif name in self.class_names:
                masks[..., self.class_names.index(name)] = _read_binary(path, size)
        return Sample(image, masks, ignore)

    def _split_labels(self, labels: np.ndarray, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
        """Return masks, uint8 [h, w, C], and bool [h, w] of what is ignored, or None."""
        in_colour = isinstance(self.key.values[0], tuple)
        if labels.ndim == 3 and not in_colour:
            raise FileProblemError("colour mask", _shown(path))
        if in_colour:
            labels = _packed(labels)
        codes = [_pack(value) for value in self.key.values]
        known = {0, *codes, *map(_pack, self.other_values)}
        ignored = None
        if self.ignore_value is not None:
            code = self.ignore_value * (0x010101 if in_colour else 1)
            if code not in codes:
                known.add(code)
                ignored = labels == code
        found = pictures.values_of(labels)
        if wrong := [int(value) for value in found if value not in known]:
            shown, expected = some_names(wrong), _ranges(sorted(known))
            if in_colour:
                shown = some_names(f"[{v >> 16}, {v >> 8 & 255}, {v & 255}]" for v in wrong)
                expected = "the colours of classes.json"
            detail = f"{_shown(path)} holds {shown}; expected {expected}"
            raise FileProblemError("mask values", detail)
        return np.stack([labels == code for code in codes], axis=-1).astype(np.uint8), ignored


def scan_folder(path: str, config: Config) -> FolderSource:
    """Find the pictures, masks and classes of a folder; docs/own-data.md states the layouts.

    Args:
      path: the folder.
      config: its ``classes`` are, of a folder that names its classes, those to use, the rest
        becoming background; otherwise the names of mask values 1, 2 and so on. ``ignore_value``
        is the mask value of pixels that do not count; -1: there is none.

    Raises:
      ConfigError: if the ignored value is not one of a mask.
      DataError: if the layout or the classes cannot be understood.
    """
    root, classes = Path(path), config.class_choice()
    ignore_value = None if config.ignore_value < 0 else config.ignore_value
    if ignore_value is not None and not 1 <= ignore_value <= 255:
        raise ConfigError(f"--ignore_value={ignore_value}: must be in 1..255")
    found = find_entries(root)
    where, notes = printable(str(root)), list[str]()
    other: tuple[int | Colour, ...] = ()
    named = read_class_file(root)
    if found.class_folders:
        named, ignore_value = _key_of_folders(found, named, where=where), None
    if named is None:
        key, ignore_value = _key_of_values(found, ignore_value, classes, where=where, notes=notes)
        check_names(key.names, where=where)
    else:
        key = named.select(classes, where=where) if classes else named
        if left_out := [name for name in named.names if name not in key.names]:
            notes.append(f"taken as background: {some_names(left_out)}")
        other = tuple(value for value in named.values if value not in key.values)
    return FolderSource(
        where=where,
        layout=found.layout,
        class_names=key.names,
        splits=found.splits,
        problems=found.problems,
        notes=notes,
        key=key,
        other_values=other,
        ignore_value=ignore_value,
    )


def _key_of_folders(found: Found, named: ClassKey | None, *, where: str) -> ClassKey:
    names = tuple(found.class_folders)
    if named is None:
        check_names(names, where=where)
    else:
        check_names(names, where=f"{where}: folder of masks", known=named.names)
        names = tuple(name for name in named.names if name in names)
    return ClassKey(names, (1,) * len(names))


def _key_of_values(
    found: Found, ignore: int | None, classes: tuple[str, ...], *, where: str, notes: list[str]
) -> tuple[ClassKey, int | None]:
    """Return the classes by the values in all masks, and the ignored value that is left."""
    files: set[int] = set()
    for entry in (entry for entries in found.splits.values() for entry in entries):
        mask = entry.masks[NUMBERS]
        try:
            labels = pictures.read_labels(mask)
        except FileProblemError:
            continue  # reading the entry will name it
        if labels.ndim == 2:
            files.update(pictures.values_of(labels).tolist())
        else:
            found.problems.append(Problem("colour mask", entry.name, _shown(mask)))
    values = sorted(files - {0, ignore})
    if files <= {0, 255} and 255 in files and len(classes) <= 1:
        notes.append("masks hold 0 and 255 only: 255 is taken as the one class, nothing is ignored")
        return ClassKey(classes or ("foreground",), (255,)), None
    if classes:
        return ClassKey(classes, tuple(range(1, len(classes) + 1))), ignore
    if (values and values != list(range(1, len(values) + 1))) or len(values) > MAX_UNNAMED_CLASSES:
        smooth = "; smoothed edges?" if len(values) > MAX_UNNAMED_CLASSES else ""
        raise DataError(
            f"{where}: masks hold the values {some_names(values)}, not 1, 2, ... C{smooth}; say"
            f' which value is which class in classes.json, for instance {{"cat": {values[0]}}}'
        )
    if not values and files:
        raise DataError(f"{where}: no mask has any foreground; 0 is background, 1 to C the classes")
    values = values or [1]
    notes.append("no classes.txt or classes.json: classes are named by their mask values")
    return ClassKey(tuple(f"class_{value}" for value in values), tuple(values)), ignore


def _read_mask(path: Path, size: Size) -> np.ndarray:
    try:
        labels = pictures.read_labels(path)
    except FileProblemError as error:
        detail = f"{_shown(path)}: {error.detail}".removesuffix(": ")
        raise FileProblemError(error.kind, detail) from None
    height, width = labels.shape[:2]
    if (height, width) != size:
        turned = ", turned by 90 degrees?" if (width, height) == size and height != width else ""
        detail = f"mask {height}x{width}, image {size[0]}x{size[1]}{turned}"
        raise FileProblemError("size mismatch", detail)
    return labels


def _read_binary(path: Path, size: Size) -> np.ndarray:
    """Return bool [H, W] of a mask that holds 0 and one other value, which must be 1 or 255."""
    labels = _read_mask(path, size)
    if labels.ndim != 2:
        raise FileProblemError("colour mask", _shown(path))
    values = [int(value) for value in pictures.values_of(labels)]
    on = [value for value in values if value]
    if len(on) > 1 or not set(on) <= {1, 255}:
        detail = f"{_shown(path)} holds {some_names(values)}; expected 0 and 1, or 255"
        raise FileProblemError("mask values", detail)
    return np.asarray(labels != 0)


def _shown(mask: Path) -> str:
    return f"{mask.parent.name}/{mask.name}"


def _pack(value: int | Colour) -> int:
    return value if isinstance(value, int) else value[0] << 16 | value[1] << 8 | value[2]


def _packed(labels: np.ndarray) -> np.ndarray:
    red, green, blue = np.moveaxis(labels, -1, 0) if labels.ndim == 3 else (labels,) * 3
    return red.astype(np.int32) << 16 | green.astype(np.int32) << 8 | blue


def _ranges(numbers: list[int]) -> str:
    """Return sorted numbers, of which the first is 0, in words: "0 to 2 and 255"."""
    low = [value for index, value in enumerate(numbers) if value == index]
    high = numbers[len(low) :]
    return f"0 to {low[-1]}" + (f" and {some_names(high)}" if high else "")
