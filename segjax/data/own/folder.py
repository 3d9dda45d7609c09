"""A folder of pictures beside indexed or per-class masks, as a data set."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from segjax.data.dataset import Dataset
from segjax.data.own import pictures, samples
from segjax.data.own.class_names import ClassKey, Colour, check_names, read_class_file
from segjax.data.own.layout import IGNORE_FOLDER, Entry, Found, find_entries
from segjax.data.own.problems import FileProblemError, Problem, printable, refuse, some_names
from segjax.data.own.resize import Size, choose_size
from segjax.errors import ConfigError, DataError

IGNORE_VALUE = 255
MAX_UNNAMED_CLASSES = 32


@dataclasses.dataclass
class FolderSource:
    """A scanned folder; see ``samples.Source``."""

    where: str
    layout: str
    class_names: tuple[str, ...]
    splits: Mapping[str, Sequence[Entry]]
    problems: list[Problem]
    notes: list[str]
    key: ClassKey
    other_values: tuple[int | Colour, ...]
    ignore_value: int | None
    whole_splits: bool = False

    def size_of(self, item: Entry) -> Size:
        """Returns the picture's height and width, upright."""
        return pictures.picture_size(item.image)

    def digest(self, item: Entry) -> str:
        """Returns the SHA-256 of the picture's file."""
        return samples.file_digest(item.image)

    def read(self, item: Entry) -> samples.Sample:
        """Reads a picture and its masks."""
        image = pictures.read_image(item.image)
        size = (image.shape[0], image.shape[1])
        if item.mask is not None:
            labels = _read_mask(item.mask, size)
            return self._split_labels(image, labels, item.mask)
        masks = np.zeros((*size, len(self.class_names)), np.uint8)
        ignore: np.ndarray | None = None
        for name, path in item.class_masks.items():
            if name == IGNORE_FOLDER:
                ignore = _binary(_read_mask(path, size), path)
            elif name in self.class_names:
                masks[..., self.class_names.index(name)] = _binary(_read_mask(path, size), path)
        return samples.Sample(image, masks, ignore)

    def _split_labels(self, image: np.ndarray, labels: np.ndarray, mask: Path) -> samples.Sample:
        in_colour = isinstance(self.key.values[0], tuple)
        if labels.ndim == 3 and not in_colour:
            raise FileProblemError("colour mask", _shown(mask))
        known = [*self.key.values, *self.other_values]
        known.append((0, 0, 0) if in_colour else 0)
        if in_colour:
            labels = _packed(labels)
        codes = [_pack(value) for value in self.key.values]
        ignored = None
        if self.ignore_value is not None:
            code = self.ignore_value * (0x010101 if in_colour else 1)
            if code not in codes:
                known.append((self.ignore_value,) * 3 if in_colour else self.ignore_value)
                ignored = labels == code
        found = pictures.values_of(labels)
        wrong = found[~np.isin(found, [_pack(value) for value in known])]
        if len(wrong):
            if in_colour:
                shown = some_names(f"[{v >> 16}, {v >> 8 & 255}, {v & 255}]" for v in wrong)
            else:
                shown = some_names(int(value) for value in wrong)
            raise FileProblemError(
                "mask values", f"{_shown(mask)} holds {shown}; expected {_expected(known)}"
            )
        masks = np.stack([labels == code for code in codes], axis=-1).astype(np.uint8)
        return samples.Sample(image, masks, ignored)


def scan_folder(
    path: str | Path,
    *,
    classes: Sequence[str] | None = None,
    ignore_value: int | None = IGNORE_VALUE,
) -> FolderSource:
    """Finds the pictures, masks and classes of a folder; docs/own-data.md states the layouts.

    ``classes``: of a folder that names its classes, those to use, the rest becoming background;
    otherwise the names of mask values 1, 2 and so on. ``ignore_value``: the mask value of pixels
    that do not count, or None.

    Raises:
      DataError: if the layout or the classes cannot be understood.
    """
    root = Path(path)
    if ignore_value is not None and not 1 <= ignore_value <= 255:
        raise ConfigError(f"--ignore_value={ignore_value}: must be in 1..255")
    found = find_entries(root)
    where = printable(str(root))
    notes: list[str] = []
    named = read_class_file(root)
    if found.class_folders:
        named = _key_of_folders(found, named, where=where)
    if named is not None:
        key = named.select(classes, where=where) if classes else named
        if key is not named:
            left_out = [name for name in named.names if name not in key.names]
            if left_out:
                notes.append(f"taken as background: {some_names(left_out)}")
        other = tuple(value for value in named.values if value not in key.values)
    else:
        key, binary = _key_of_values(found, ignore_value, classes, where=where, notes=notes)
        other = ()
        if binary:
            ignore_value = None
    if found.class_folders:
        ignore_value = None
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


def load_folder(
    path: str | Path,
    *,
    image_size: int | Size | None = None,
    fit: str = "resize",
    classes: Sequence[str] | None = None,
    ignore_value: int | None = IGNORE_VALUE,
    split: str = "all",
    val_share: float = samples.VAL_SHARE,
    test_share: float = samples.TEST_SHARE,
) -> Dataset:
    """Loads one split ('train', 'val', 'test' or 'all') of a folder of pictures and masks.

    Splits are the folders train/, val/ and test/ where these exist, otherwise drawn by the
    pictures' content; see ``samples.divide``. ``image_size`` is a side or (height, width),
    multiples of 8; without it see ``resize.choose_size``. ``fit``: see ``resize.make_fit``.

    Returns:
      a Dataset whose masks hold 0 or 1, with a box for each connected region.

    Raises:
      DataError: one line that names the folder, the files and what to do.
    """
    source = scan_folder(path, classes=classes, ignore_value=ignore_value)
    refuse(source.where, source.problems)
    everything = [item for items in source.splits.values() for item in items]
    if split == "all":
        items = everything
    elif split in samples.SPLITS:
        items = samples.divide(source, val_share=val_share, test_share=test_share)[split]
    else:
        raise ConfigError(f"split={split!r}: choose one of all, {', '.join(samples.SPLITS)}")
    problems: list[Problem] = []
    sizes = samples.sizes_of(source, everything, problems)
    refuse(source.where, problems)
    size = choose_size(image_size, sizes)
    return samples.build_dataset(
        source, items, size=size, fit=fit, name=f"{Path(path).name} {split}"
    )


def _key_of_folders(found: Found, named: ClassKey | None, *, where: str) -> ClassKey:
    folders = found.class_folders
    if named is None:
        check_names(folders, where=where)
        return ClassKey(tuple(folders), (1,) * len(folders))
    key = named.select(folders, where=f"{where}: folder of masks")  # refuses unknown folders
    names = tuple(name for name in named.names if name in key.names)
    return ClassKey(names, (1,) * len(names))


def _key_of_values(
    found: Found,
    ignore_value: int | None,
    classes: Sequence[str] | None,
    *,
    where: str,
    notes: list[str],
) -> tuple[ClassKey, bool]:
    """Derives the classes from the values in all masks; also whether 255 is the one class."""
    files: Counter[int] = Counter()
    for entries in found.splits.values():
        for entry in entries:
            assert entry.mask is not None
            try:
                labels = pictures.read_labels(entry.mask)
            except FileProblemError:
                continue  # reading the entry will name it
            if labels.ndim == 2:
                files.update(pictures.values_of(labels).tolist())
            else:
                found.problems.append(Problem("colour mask", entry.name, _shown(entry.mask)))
    values = sorted(set(files) - {0, ignore_value})
    if set(files) <= {0, 255} and 255 in files and (classes is None or len(classes) == 1):
        notes.append("masks hold 0 and 255 only: 255 is taken as the one class, nothing is ignored")
        names = tuple(classes) if classes else ("foreground",)
        check_names(names, where=where)
        return ClassKey(names, (255,)), True
    if classes:
        check_names(classes, where=where)
        return ClassKey(tuple(classes), tuple(range(1, len(classes) + 1))), False
    if (values and values != list(range(1, len(values) + 1))) or len(values) > MAX_UNNAMED_CLASSES:
        smooth = "; smoothed edges?" if len(values) > MAX_UNNAMED_CLASSES else ""
        raise DataError(
            f"{where}: masks hold the values {some_names(values)}, not 1, 2, ... C{smooth}; say"
            f' which value is which class in classes.json, for instance {{"cat": {values[0]}}}'
        )
    if not values and files:
        raise DataError(f"{where}: no mask has any foreground; 0 is background, 1 to C the classes")
    names = tuple(f"class_{value}" for value in values) or ("class_1",)
    notes.append("no classes.txt or classes.json: classes are named by their mask values")
    return ClassKey(names, tuple(values) or (1,)), False


def _read_mask(path: Path, size: Size) -> np.ndarray:
    try:
        labels = pictures.read_labels(path)
    except FileProblemError as error:
        detail = f"{_shown(path)}: {error.detail}".removesuffix(": ")
        raise FileProblemError(error.kind, detail) from None
    height, width = labels.shape[:2]
    if (height, width) != size:
        turned = ", turned by 90 degrees?" if (width, height) == size and height != width else ""
        raise FileProblemError(
            "size mismatch", f"mask {height}x{width}, image {size[0]}x{size[1]}{turned}"
        )
    return labels


def _binary(labels: np.ndarray, path: Path) -> np.ndarray:
    """Returns bool [H, W] of a mask that holds 0 and one other value, which must be 1 or 255."""
    if labels.ndim != 2:
        raise FileProblemError("colour mask", _shown(path))
    values = pictures.values_of(labels)
    on = values[values != 0]
    if len(on) > 1 or (len(on) == 1 and on[0] not in (1, 255)):
        shown = some_names(int(value) for value in values)
        raise FileProblemError(
            "mask values", f"{_shown(path)} holds {shown}; expected 0 and 1, or 255"
        )
    return np.asarray(labels != 0)


def _shown(mask: Path) -> str:
    return f"{mask.parent.name}/{mask.name}"


def _pack(value: int | Colour) -> int:
    return value if isinstance(value, int) else value[0] << 16 | value[1] << 8 | value[2]


def _packed(labels: np.ndarray) -> np.ndarray:
    if labels.ndim == 2:
        labels = np.repeat(labels[..., None], 3, axis=2)
    wide = labels.astype(np.int32)
    return np.asarray(wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2])


def _expected(known: Sequence[int | Colour]) -> str:
    numbers = sorted(value for value in known if isinstance(value, int))
    if not numbers:
        return "the colours of classes.json"
    low = [value for index, value in enumerate(numbers) if value == index]
    high = numbers[len(low) :]
    return f"0 to {low[-1]}" + (f" and {some_names(high)}" if high else "")
