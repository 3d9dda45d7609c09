"""Arrays of images and masks in an .npz file, as a data set; nothing in it is unpickled."""

from __future__ import annotations

import dataclasses
import hashlib
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segjax.data.dataset import Dataset
from segjax.data.own import samples
from segjax.data.own.class_names import check_names, unknown_class
from segjax.data.own.pictures import values_of
from segjax.data.own.problems import FileProblemError, Problem, printable, some_names
from segjax.data.own.resize import Size, choose_size
from segjax.errors import ConfigError, DataError

IGNORE_VALUE = 255
MAX_BYTES = 1 << 36
KEYS = ("images", "masks", "class_names", "ignore", "split")
_DTYPES = {"images": "u1", "masks": "u1 i2 i4 i8 u2 b1", "ignore": "b1 u1"}


@dataclasses.dataclass(frozen=True)
class ArrayItem:
    """One image of an array."""

    index: int

    @property
    def name(self) -> str:
        """How a report calls the image."""
        return f"image {self.index:06d}"


@dataclasses.dataclass
class ArraySource:
    """Arrays in memory; see ``samples.Source``.

    ``masks``: [N, H, W] of class numbers up to ``top_value``, or [N, H, W, C] of 0 and
    ``top_value``. ``channels``: the file's channel of each class.
    """

    where: str
    layout: str
    class_names: tuple[str, ...]
    splits: Mapping[str, Sequence[ArrayItem]]
    problems: list[Problem]
    notes: list[str]
    images: np.ndarray
    masks: np.ndarray
    channels: tuple[int, ...]
    ignore: np.ndarray | None = None
    ignore_value: int | None = None
    top_value: int = 1
    objects: Sequence[samples.Objects] | None = None
    whole_splits: bool = False

    def size_of(self, item: ArrayItem) -> Size:
        """Returns the height and width that all images share."""
        return self.images.shape[1], self.images.shape[2]

    def digest(self, item: ArrayItem) -> str:
        """Returns the SHA-256 of the image's pixels."""
        return hashlib.sha256(self.images[item.index].tobytes()).hexdigest()

    def read(self, item: ArrayItem) -> samples.Sample:
        """Returns one image with its masks."""
        image, stored = self.images[item.index], self.masks[item.index]
        if image.ndim == 2:
            image = image[..., None]
        if image.shape[-1] == 1:
            image = np.repeat(image, 3, axis=-1)
        hidden = None if self.ignore is None else self.ignore[item.index] != 0
        if stored.ndim == 2:
            self._check_values(stored, range(self.top_value + 1))
            if self.ignore_value is not None:
                marked = stored == self.ignore_value
                hidden = marked if hidden is None else hidden | marked
            masks = np.stack([stored == channel + 1 for channel in self.channels], axis=-1)
        else:
            masks = stored[..., list(self.channels)]
            self._check_values(masks, (0, 1) if self.top_value == 1 else (0, 255))
            masks = masks != 0
        boxes = None if self.objects is None else self.objects[item.index]
        return samples.Sample(image, masks.astype(np.uint8), hidden, boxes)

    def _check_values(self, stored: np.ndarray, allowed: Sequence[int]) -> None:
        values = values_of(stored).astype(np.int64)
        wrong = [int(v) for v in values if v not in allowed and v != self.ignore_value]
        if wrong:
            raise FileProblemError(
                "mask values", f"{some_names(wrong)}; expected {allowed[0]} to {allowed[-1]}"
            )


def scan_npz(
    path: str | Path,
    *,
    classes: Sequence[str] | None = None,
    ignore_value: int | None = IGNORE_VALUE,
) -> ArraySource:
    """Reads the arrays of an .npz file; the arguments are ``load_npz``'s.

    Raises:
      DataError: naming the file and the array that is not as it should be.
    """
    where = printable(str(path))
    arrays = _read_arrays(Path(path), where)
    images, masks = arrays["images"], arrays["masks"]
    count = len(images)
    _check_shapes(arrays, where)
    if ignore_value is not None and masks.ndim == 4:
        ignore_value = None
    names = tuple(str(name) for name in arrays["class_names"]) if "class_names" in arrays else ()
    notes: list[str] = []
    top = 1
    if masks.ndim == 4:
        expected = masks.shape[3]
        top = 255 if masks.size and masks.max() == 255 else 1
    elif names:
        expected = len(names)
    else:
        present = masks[masks != ignore_value] if ignore_value is not None else masks
        expected = int(present.max(initial=0))
        if expected > 32 or expected < 1:
            raise DataError(
                f"{where}: masks go up to {expected}; 1 to C are the classes, 0 is background;"
                f" name more than 32 classes in an array class_names"
            )
    if masks.ndim == 3:
        top = expected
    if not names:
        chosen = classes if classes and len(classes) == expected else None
        names = tuple(chosen or (f"class_{value}" for value in range(1, expected + 1)))
        notes.append("no class_names in the file: classes are named by their number")
    if len(names) != expected:
        raise DataError(f"{where}: {len(names)} class_names for {expected} channels of masks")
    check_names(names, where=f"{where}: class_names")
    for name in classes or ():
        if name not in names:
            raise DataError(unknown_class(name, names, where=where))
    chosen_names = tuple(classes) if classes else names
    check_names(chosen_names, where=where)
    return ArraySource(
        where=where,
        layout="NumPy arrays",
        class_names=chosen_names,
        splits=_splits(arrays.get("split"), count, where),
        problems=[],
        notes=notes,
        images=images,
        masks=masks,
        channels=tuple(names.index(name) for name in chosen_names),
        ignore=arrays.get("ignore"),
        ignore_value=ignore_value,
        top_value=top,
    )


def load_npz(
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
    """Loads one split ('train', 'val', 'test' or 'all') of an .npz file.

    The file holds ``images``, uint8 [N, H, W, 3] (or [N, H, W] grey), and ``masks``, either
    [N, H, W] with 0 for background and 1 to C for the classes, or [N, H, W, C] of 0 and 1 (or 0
    and 255). It may hold ``class_names`` [C], ``ignore`` bool [N, H, W], and ``split`` [N] of
    'train', 'val' and 'test'; without it splits are drawn, see ``samples.divide``.

    Raises:
      DataError: naming the file and the array that is not as it should be.
    """
    source = scan_npz(path, classes=classes, ignore_value=ignore_value)
    if split == "all":
        items = [item for some in source.splits.values() for item in some]
    elif split in samples.SPLITS:
        items = samples.divide(source, val_share=val_share, test_share=test_share)[split]
    else:
        raise ConfigError(f"split={split!r}: choose one of all, {', '.join(samples.SPLITS)}")
    size = choose_size(image_size, [source.images.shape[1:3]])
    return samples.build_dataset(
        source, items, size=size, fit=fit, name=f"{Path(path).name} {split}"
    )


def array_source(
    parts: Mapping[str, Dataset], *, where: str, layout: str, notes: Sequence[str] = ()
) -> ArraySource:
    """Returns loaded data sets (split -> Dataset) as one source, for checking."""
    first = next(iter(parts.values()))
    splits, start = {}, 0
    for name, part in parts.items():
        splits[name] = [ArrayItem(start + index) for index in range(len(part))]
        start += len(part)
    ignores = [part.ignore for part in parts.values()]
    ignore = None
    if any(some is not None for some in ignores):
        ignore = np.concatenate(
            [
                np.zeros(part.images.shape[:3], bool) if part.ignore is None else part.ignore
                for part in parts.values()
            ]
        )
    return ArraySource(
        where=where,
        layout=layout,
        class_names=first.class_names,
        splits=splits,
        problems=[],
        notes=list(notes),
        images=np.concatenate([part.images for part in parts.values()]),
        masks=np.concatenate([part.masks != 0 for part in parts.values()]).astype(np.uint8),
        channels=tuple(range(first.num_classes)),
        ignore=ignore,
        whole_splits=True,
        objects=[_edges(part, index) for part in parts.values() for index in range(len(part))],
    )


def _edges(part: Dataset, index: int) -> samples.Objects:
    return [
        (channel, (x1, y1, x2 + 1, y2 + 1)) for channel, (x1, y1, x2, y2) in part.boxes_of(index)
    ]


def _read_arrays(path: Path, where: str) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
            found = {key: f"{key}.npy" for key in KEYS if f"{key}.npy" in sizes}
            for key in ("images", "masks"):
                if key not in found:
                    others = some_names(name.removesuffix(".npy") for name in sizes) or "nothing"
                    raise DataError(f"{where}: has no array {key!r}; it holds {others}")
            if sum(sizes[name] for name in found.values()) > MAX_BYTES:
                raise DataError(f"{where}: unpacks to more than {MAX_BYTES >> 30} GiB")
            return {key: _read_array(archive, name, where) for key, name in found.items()}
    except FileNotFoundError:
        raise DataError(f"{where}: no such file") from None
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DataError(f"{where}: not a whole .npz file ({error})") from None


def _read_array(archive: zipfile.ZipFile, name: str, where: str) -> np.ndarray:
    """Reads one member whose header tells the truth about its size, and which holds no objects."""
    key = name.removesuffix(".npy")
    size = archive.getinfo(name).file_size
    try:
        with archive.open(name) as file:
            version = np.lib.format.read_magic(file)
            reader = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, _, dtype = reader(file)
            header = file.tell()
        if dtype.hasobject:
            raise DataError(
                f"{where}: {key!r} holds Python objects, which are never unpickled; save it as"
                f" an array of numbers or of fixed-length text"
            )
        expected = dtype.itemsize
        for side in shape:
            expected *= side
        if header + expected != size:
            raise ValueError(f"its header states {expected} bytes, {size - header} are there")
        with archive.open(name) as file:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise DataError(f"{where}: array {key!r} is damaged ({error})") from None


def _check_shapes(arrays: Mapping[str, np.ndarray], where: str) -> None:
    images, masks = arrays["images"], arrays["masks"]
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        raise DataError(f"{where}: images has shape {list(images.shape)}, expected [N, H, W, 3]")
    if not images.size:
        raise DataError(f"{where}: images is empty")
    for key, dtypes in _DTYPES.items():
        if key in arrays and arrays[key].dtype.str[1:] not in dtypes.split():
            hint = " (0..255, not 0..1)" if key == "images" else ""
            raise DataError(f"{where}: {key} is {arrays[key].dtype}, expected uint8{hint}")
    count, height, width = images.shape[:3]
    if masks.ndim not in (3, 4) or masks.shape[:3] != (count, height, width):
        expected = f"[{count}, {height}, {width}] or [{count}, {height}, {width}, C]"
        raise DataError(f"{where}: masks has shape {list(masks.shape)}, expected {expected}")
    if masks.ndim == 4 and not masks.shape[3]:
        raise DataError(f"{where}: masks has no channel")
    if "ignore" in arrays and arrays["ignore"].shape != (count, height, width):
        raise DataError(
            f"{where}: ignore has shape {list(arrays['ignore'].shape)}, expected"
            f" [{count}, {height}, {width}]"
        )
    names = arrays.get("class_names")
    if names is not None and (names.ndim != 1 or names.dtype.kind != "U"):
        raise DataError(f"{where}: class_names must be a list of text, one name a class")


def _splits(split: Any, count: int, where: str) -> dict[str, list[ArrayItem]]:
    if split is None:
        return {"all": [ArrayItem(index) for index in range(count)]}
    if split.shape != (count,) or not set(split.tolist()) <= set(samples.SPLITS):
        raise DataError(f"{where}: split must name train, val or test for each of {count} images")
    return {
        name: [ArrayItem(int(index)) for index in np.flatnonzero(split == name)]
        for name in samples.SPLITS
        if (split == name).any()
    }
