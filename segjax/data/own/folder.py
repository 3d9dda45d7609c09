"""A folder of pictures beside indexed or per-class masks, as a data set."""

import functools
from pathlib import Path
from typing import Any

import numpy as np

from segjax.config import Config
from segjax.data.own import pictures
from segjax.data.own.class_names import ClassKey, check_names, read_class_file
from segjax.data.own.layout import IGNORE_FOLDER, NUMBERS, Entry, Found, find_entries
from segjax.data.own.problems import FileProblemError, Problem, printable, some_names
from segjax.data.own.samples import Sample, Source
from segjax.errors import ConfigError, DataError

MAX_UNNAMED_CLASSES = 32


def scan_folder(path: str, config: Config) -> Source:
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
    named, left_out = read_class_file(root), ClassKey()
    if folders := found.class_folders:
        about = where if named is None else f"{where}: folder of masks"
        check_names(folders, where=about, known=named)
        named = dict.fromkeys((name for name in named or folders if name in folders), 1)
        ignore_value = None
    if classes:
        check_names(classes, where=where, known=named)
    if named is None:
        key, ignore_value = _key_of_values(found, ignore_value, classes, where=where, notes=notes)
    else:
        key = {name: named[name] for name in classes or named}
        if left_out := {name: value for name, value in named.items() if name not in key}:
            notes.append(f"taken as background: {some_names(left_out)}")
    return Source(
        where=where,
        layout=found.layout,
        class_names=tuple(key),
        splits=found.splits,
        problems=found.problems,
        notes=notes,
        size_of=lambda item: pictures.picture_size(item.image),
        read=functools.partial(_read, key=key, left_out=left_out, ignore_value=ignore_value),
    )


def _read(item: Entry, *, key: ClassKey, left_out: ClassKey, ignore_value: int | None) -> Sample:
    """Read a picture and its masks; the classes ``left_out`` are background."""
    image = pictures.read_image(item.image)
    if NUMBERS in item.masks:
        path = item.masks[NUMBERS]
        return Sample(image, *_split(_read_mask(path, image), path, key, left_out, ignore_value))
    masks = np.zeros((*image.shape[:2], len(key)), np.uint8)
    ignore: np.ndarray | None = None
    for name, path in item.masks.items():
        if name == IGNORE_FOLDER:
            ignore = _read_binary(path, image)
        elif name in key:
            masks[..., [*key].index(name)] = _read_binary(path, image)
    return Sample(image, masks, ignore)


def _split(
    labels: np.ndarray, path: Path, key: ClassKey, left_out: ClassKey, ignore_value: int | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return masks, uint8 [h, w, C], and bool [h, w] of what is ignored, or None."""
    codes, others = list[Any](key.values()), list[Any](left_out.values())
    if in_colour := isinstance(codes[0], tuple):
        wide = labels.astype(np.int32)
        labels = _pack(np.moveaxis(wide, -1, 0) if wide.ndim == 3 else (wide,) * 3)
        codes, others = list(map(_pack, codes)), list(map(_pack, others))
    elif labels.ndim == 3:
        raise FileProblemError("colour mask", _shown(path))
    known, ignored = {0, *codes, *others}, None
    if ignore_value is not None:
        code = _pack((ignore_value,) * 3) if in_colour else ignore_value
        if code not in codes:
            known.add(code)
            ignored = labels == code
    found = pictures.values_of(labels)
    if wrong := [int(value) for value in found if value not in known]:
        shown, expected = some_names(wrong), _ranges(sorted(known))
        if in_colour:
            shown = some_names(f"[{v >> 16}, {v >> 8 & 255}, {v & 255}]" for v in wrong)
            expected = "the colours of classes.json"
        raise FileProblemError("mask values", f"{_shown(path)} holds {shown}; expected {expected}")
    return np.stack([labels == code for code in codes], axis=-1).astype(np.uint8), ignored


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
        return dict.fromkeys(classes or ("foreground",), 255), None
    counting = values == list(range(1, len(values) + 1))
    if classes and counting and len(values) > len(classes):
        raise DataError(
            f"{where}: masks hold the values 1 to {len(values)}, and --classes={','.join(classes)} "
            f"names {len(classes)} of them; name each, or, to use some, list all in classes.txt"
        )
    if classes:
        key: ClassKey = {name: value for value, name in enumerate(classes, 1)}
        told = some_names(f"{value} {name}" for name, value in key.items())
        notes.append(f"no classes.txt or classes.json: mask values are taken as {told}")
        return key, ignore
    if not counting or len(values) > MAX_UNNAMED_CLASSES:
        smooth = "; smoothed edges?" if len(values) > MAX_UNNAMED_CLASSES else ""
        raise DataError(
            f"{where}: masks hold the values {some_names(values)}, not 1, 2, ... C{smooth}; say"
            f' which value is which class in classes.json, for instance {{"cat": {values[0]}}}'
        )
    if not values and files:
        raise DataError(f"{where}: no mask has any foreground; 0 is background, 1 to C the classes")
    notes.append("no classes.txt or classes.json: classes are named by their mask values")
    return {f"class_{value}": value for value in values or [1]}, ignore


def _read_mask(path: Path, image: np.ndarray) -> np.ndarray:
    try:
        labels = pictures.read_labels(path)
    except FileProblemError as error:
        detail = f"{_shown(path)}: {error.detail}".removesuffix(": ")
        raise FileProblemError(error.kind, detail) from None
    (height, width), size = labels.shape[:2], image.shape[:2]
    if (height, width) != size:
        turned = ", turned by 90 degrees?" if (width, height) == size and height != width else ""
        detail = f"mask {height}x{width}, image {size[0]}x{size[1]}{turned}"
        raise FileProblemError("size mismatch", detail)
    return labels


def _read_binary(path: Path, image: np.ndarray) -> np.ndarray:
    """Return bool [H, W] of a mask that holds 0 and one other value, which must be 1 or 255."""
    labels = _read_mask(path, image)
    if labels.ndim != 2:
        raise FileProblemError("colour mask", _shown(path))
    values = [int(value) for value in pictures.values_of(labels)]
    if {*values} - {0} not in (set(), {1}, {255}):
        detail = f"{_shown(path)} holds {some_names(values)}; expected 0 and 1, or 255"
        raise FileProblemError("mask values", detail)
    return np.asarray(labels != 0)


def _shown(mask: Path) -> str:
    return f"{mask.parent.name}/{mask.name}"


def _pack(colour: Any) -> Any:
    """Return one number for red, green and blue, or an array for three."""
    red, green, blue = colour
    return red << 16 | green << 8 | blue


def _ranges(numbers: list[int]) -> str:
    """Return sorted numbers, of which the first is 0, in words: "0 to 2 and 255"."""
    low = [value for index, value in enumerate(numbers) if value == index]
    high = numbers[len(low) :]
    return f"0 to {low[-1]}" + (f" and {some_names(high)}" if high else "")
