"""Arrays of images and masks in an .npz file, as a data set; nothing in it is unpickled."""

import functools
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib import format as npy

from segjax.config import Config
from segjax.data.own.class_names import check_names
from segjax.data.own.pictures import values_of
from segjax.data.own.problems import FileProblemError, printable, some_names
from segjax.data.own.samples import SPLITS, Sample, Source, pixel_digest
from segjax.errors import DataError, one_line
from segjax.files import regular

MAX_BYTES = 1 << 36
MAX_NAMES = 1 << 16
KEYS = ("images", "masks", "class_names", "ignore", "split")
# What NumPy raises on headers and contents that are not as they should be.
_DAMAGES = (ValueError, KeyError, TypeError, RuntimeError, SyntaxError, tokenize.TokenError)
_WRONG_SPLIT = "split must name train, val or test for each of {} images"
_DTYPES = {"images": "u1", "masks": "u1 i2 i4 i8 u2 b1", "ignore": "b1 u1"}


class ArrayItem(NamedTuple):
    """One image of an array, and how a report calls it."""

    name: str
    row: int


def scan_npz(path: str, config: Config) -> Source:
    """Read the arrays of an .npz file; docs/own-data.md states what it may hold.

    Args:
      path: the file.
      config: its ``classes`` are those to use, or the names of a file that names none;
        ``ignore_value`` is the class number of pixels that do not count; -1: there is none.

    Raises:
      DataError: naming the file and the array that is not as it should be.
    """
    where = printable(path)
    arrays = _read_arrays(Path(path), where)
    images, masks, classes = arrays["images"], arrays["masks"], config.class_choice()
    numbered = masks.ndim == 3
    ignore_value = config.ignore_value if numbered and config.ignore_value >= 0 else None
    names = tuple(str(name) for name in arrays.get("class_names", ()))
    notes: list[str] = []
    expected = len(names) if numbered else masks.shape[3]
    if not expected:
        present = masks[masks != ignore_value] if ignore_value is not None else masks
        expected = int(present.max(initial=0))
        if not 1 <= expected <= 32:
            raise DataError(
                f"{where}: masks go up to {expected}; 1 to C are the classes, 0 is background;"
                f" name more than 32 classes in an array class_names"
            )
    if not names:
        numbers = tuple(f"class_{value}" for value in range(1, expected + 1))
        names = classes if len(classes) == expected else numbers
        notes.append(f"no class_names in the file: classes are taken as {some_names(names)}")
    if len(names) != expected:
        raise DataError(f"{where}: {len(names)} class_names for {expected} channels of masks")
    check_names(names, where=f"{where}: class_names")
    chosen = classes or names
    check_names(chosen, where=where, known=names)
    top = 255 if masks.max(initial=0) == 255 else 1
    return Source(
        where=where,
        layout="NumPy arrays",
        class_names=chosen,
        splits=_splits(arrays.get("split"), len(images), where),
        notes=notes,
        size_of=lambda item: images.shape[1:3],
        digest=lambda item: pixel_digest(images[item.row]),
        read=functools.partial(
            _read,
            arrays=arrays,
            channels=[names.index(name) for name in chosen],
            allowed=range(expected + 1) if numbered else (0, top),
            ignore_value=ignore_value,
        ),
    )


def _read(
    item: ArrayItem,
    *,
    arrays: Mapping[str, np.ndarray],
    channels: list[int],
    allowed: Sequence[int],
    ignore_value: int | None,
) -> Sample:
    """Return one image with its masks, which hold the ``allowed`` and the ignored value."""
    image, stored = arrays["images"][item.row], arrays["masks"][item.row]
    image = image.reshape(*image.shape[:2], -1)
    image = np.repeat(image, 3 // image.shape[-1], axis=-1)  # grey becomes three channels
    hidden = arrays["ignore"][item.row] != 0 if "ignore" in arrays else None
    if stored.ndim == 3:
        stored = stored[..., channels]
    values = values_of(stored).astype(np.int64)
    if wrong := [int(v) for v in values if v not in allowed and v != ignore_value]:
        detail = f"{some_names(wrong)}; expected {allowed[0]} to {allowed[-1]}"
        raise FileProblemError("mask values", detail)
    if stored.ndim == 3:
        return Sample(image, (stored != 0).astype(np.uint8), hidden)
    if ignore_value is not None:
        marked = stored == ignore_value
        hidden = marked if hidden is None else hidden | marked
    masks = np.stack([stored == channel + 1 for channel in channels], axis=-1)
    return Sample(image, masks.astype(np.uint8), hidden)


def _read_arrays(path: Path, where: str) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(regular(path)) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
            found = {key: f"{key}.npy" for key in KEYS if f"{key}.npy" in sizes}
            for key in ("images", "masks"):
                if key not in found:
                    others = some_names(name.removesuffix(".npy") for name in sizes) or "nothing"
                    raise DataError(f"{where}: has no array {key!r}; it holds {others}")
            if sum(sizes[name] for name in found.values()) > MAX_BYTES:
                raise DataError(f"{where}: unpacks to more than {MAX_BYTES >> 30} GiB")
            headers = {key: _read_header(archive, name, where) for key, name in found.items()}
            for wrong in _wrong(headers):
                raise DataError(f"{where}: {wrong}")
            return {key: _read_array(archive, name, where) for key, name in found.items()}
    except FileNotFoundError:
        raise DataError(f"{where}: no such file") from None
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DataError(f"{where}: not a whole .npz file ({error})") from None


def _read_header(archive: zipfile.ZipFile, name: str, where: str) -> np.ndarray:
    """Return an array of a member's shape and dtype, without its content or memory.

    Raises DataError unless the header tells the truth about its size, and it holds no objects.
    """
    key = name.removesuffix(".npy")
    size = archive.getinfo(name).file_size
    try:
        with archive.open(name) as file:
            version = npy.read_magic(file)
            reader = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
            shape, _, dtype = reader(file)
            header = file.tell()
        if dtype.hasobject:
            raise DataError(
                f"{where}: {key!r} holds Python objects, which are never unpickled; save it as"
                f" an array of numbers or of fixed-length text"
            )
        expected = math.prod(shape, start=dtype.itemsize)
        if header + expected != size:
            raise ValueError(f"its header states {expected} bytes, {size - header} are there")
        return np.broadcast_to(np.empty((), dtype), shape)
    except _DAMAGES as error:
        raise DataError(f"{where}: array {key!r} is damaged ({one_line(error)})") from None


def _read_array(archive: zipfile.ZipFile, name: str, where: str) -> np.ndarray:
    """Read one member whose header is good."""
    try:
        with archive.open(name) as file:
            return np.asarray(npy.read_array(file, allow_pickle=False))
    except _DAMAGES as error:
        key = name.removesuffix(".npy")
        raise DataError(f"{where}: array {key!r} is damaged ({one_line(error)})") from None


def _wrong(arrays: Mapping[str, np.ndarray]) -> Iterator[str]:
    """Yield what is wrong with the shapes and dtypes of the arrays."""
    images, masks, names = arrays["images"], arrays["masks"], arrays.get("class_names")
    if images.ndim not in (3, 4) or images.shape[3:] not in ((), (1,), (3,)):
        yield f"images has shape {list(images.shape)}, expected [N, H, W, 3]"
    if not images.size:
        yield "images is empty"
    for key, dtypes in _DTYPES.items():
        if key in arrays and arrays[key].dtype.str[1:] not in dtypes.split():
            hint = " (0..255, not 0..1)" if key == "images" else ""
            yield f"{key} is {arrays[key].dtype}, expected uint8{hint}"
    sides = images.shape[:3]
    flat = f"[{', '.join(map(str, sides))}]"
    if masks.ndim not in (3, 4) or masks.shape[:3] != sides:
        expected = f"{flat} or {flat[:-1]}, C]"
        yield f"masks has shape {list(masks.shape)}, expected {expected}"
    if masks.ndim == 4 and not masks.shape[3]:
        yield "masks has no channel"
    if "ignore" in arrays and arrays["ignore"].shape != sides:
        yield f"ignore has shape {list(arrays['ignore'].shape)}, expected {flat}"
    if names is not None and (names.ndim != 1 or names.dtype.kind != "U"):
        yield "class_names must be a list of text, one name a class"
    elif names is not None and len(names) > MAX_NAMES:
        yield f"class_names has {len(names):,} names, more than {MAX_NAMES:,}"
    split = arrays.get("split")
    if split is not None and split.shape != sides[:1]:
        yield _WRONG_SPLIT.format(sides[0])


def _splits(split: np.ndarray | None, count: int, where: str) -> dict[str, list[ArrayItem]]:
    items = [ArrayItem(f"image {index:06d}", index) for index in range(count)]
    if split is None:
        return {"all": items}
    if not set(split.tolist()) <= {*SPLITS}:
        raise DataError(f"{where}: {_WRONG_SPLIT.format(count)}")
    return {
        name: [items[index] for index in np.flatnonzero(split == name)]
        for name in SPLITS
        if name in split
    }
