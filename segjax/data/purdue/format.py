"""The PurdueShapes5MultiObject file format: a gzipped pickle of ``[dataset, label_map]``.

``dataset`` maps 0..N-1 to ``[R, G, B, mask, boxes]``: R, G, B are row-major lists of H * W ints,
the mask is a uint8 array (C, H, W), boxes maps each class (by channel, or by mask value) to a
list of ``[x1, y1, x2, y2]``. ``label_map`` maps class names to mask values; the channels are in
the order of the values.
"""

import array
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from segjax.data.dataset import Dataset
from segjax.data.purdue import nodes
from segjax.data.purdue.records import RecordMachine
from segjax.data.purdue.stream import BadStreamError, Gunzip, Limits, Stream, read_ahead, refuse_if
from segjax.errors import DataError
from segjax.files import regular

_MAX_SIDE = 4096
_MAX_CLASSES = 255
_MAX_BOXES = 10_000
_FIRST_ROWS = 64
_BOX_BYTES = 20
# A file may share a list between images, so arrays may be larger than the file; a real one's
# arrays are a quarter of it.
_MAX_EXPANSION = 16


class _Images:
    """The arrays under construction, one row per record in the order they come."""

    def __init__(self, stream: Stream, packed: Gunzip) -> None:
        self.stream, self.packed = stream, packed
        # Two arrays: each grows in place.
        self.images, self.masks = (np.empty((0,) * 4, np.uint8) for _ in range(2))
        self.count = 0
        self.box_row, self.box_key, self.boxes = (array.array("i") for _ in range(3))

    def add(self, parts: list[Any]) -> int:
        """Copy one record into the arrays, let go of its pixels, return its row."""
        *channels, mask, boxes = parts
        row = self.count
        where = f"image record {row}"
        odd = [*map(type, (*channels, boxes))] != [nodes.List] * 3 + [nodes.Dict]
        refuse_if(odd, f"{where} is not [R, G, B, mask, boxes]")
        planes = self._mask(mask, where)
        if row == 0:
            classes, height, width = planes.shape
            sane = 0 < height <= _MAX_SIDE and 0 < width <= _MAX_SIDE
            refuse_if(not sane, f"{where} has {height}x{width} pixels")
            refuse_if(not 0 < classes <= _MAX_CLASSES, f"{where} has {classes} classes")
            self.images = np.empty((0, height, width, 3), np.uint8)
            self.masks = np.empty((0, height, width, classes), np.uint8)
        others = tuple(self.masks.shape[axis] for axis in (3, 1, 2))
        if planes.shape != others:
            told = f"{list(planes.shape)}, others have {list(others)}"
            raise BadStreamError(f"{where} has a mask of shape {told}")
        colours = [self._channel(c, where) for c in channels]
        room = _MAX_EXPANSION * (self.stream.offset + 65536) - len(self.box_row) * _BOX_BYTES
        most = room // (planes.nbytes + 3 * planes[0].nbytes)
        refuse_if(row >= most, "its images are far larger than the file says they can be")
        if row == len(self.images):
            # As many as there will be if all are like those until here, or a few more.
            likely = int(1.02 * row * self.packed.size / max(1, self.packed.packed_bytes))
            self._resize(min(most, max(_FIRST_ROWS, row + row // 8, likely)))
        for index, (node, values) in enumerate(zip(channels, colours, strict=True)):
            self.images[row, :, :, index] = values
            node.small, node.items, node.row, node.channel = None, [], row, index
        for index, plane in enumerate(planes):  # in half the time of the transposed array
            self.masks[row, :, :, index] = plane
        mask.row, mask.values = row, None
        self.count += 1
        before = len(self.box_row)
        for key, found in boxes.data.items():
            if type(key) is not int or not 0 <= key <= 255 or type(found) is not nodes.List:
                raise BadStreamError(f"{where} has boxes that are not lists by class")
            for item in found.plain():
                corners = _items(item, 4)
                if not all(type(v) is int and 0 <= v < _MAX_SIDE for v in corners or [None]):
                    raise BadStreamError(f"{where} has a box that is not [x1, y1, x2, y2]")
                self.boxes.extend(corners)
                self.box_row.append(row)
                self.box_key.append(int(key))
            if len(self.box_row) - before > _MAX_BOXES:
                raise BadStreamError(f"{where} has more than {_MAX_BOXES:,} boxes")
        return row

    def _mask(self, mask: nodes.Array, where: str) -> np.ndarray:
        if mask.row >= 0:
            return self.masks[mask.row].transpose(2, 0, 1)
        values = mask.values
        if values is None:
            raise BadStreamError(f"{where} has a mask without content")
        code, shape = values.dtype.str[1:], list(values.shape)
        refuse_if(code != "u1", f"{where} has a mask of dtype {code}, expected u1")
        odd = f"{where} has a mask of shape {shape}, expected classes, height, width"
        refuse_if(len(shape) != 3, odd)
        return values

    def _channel(self, node: nodes.List, where: str) -> np.ndarray:
        if node.row >= 0 and node.channel >= 0:
            return self.images[node.row, :, :, node.channel]
        if node.small is None:
            raise BadStreamError(f"{where} has colours that are not ints of 0..255")
        (height, width), count = self.images.shape[1:3], len(node.small)
        odd = f"{where} has {count} values in a colour, expected {height}x{width}"
        refuse_if(count != height * width, odd)
        return np.frombuffer(bytes(node.small), np.uint8).reshape(height, width)

    def _resize(self, rows: int) -> None:
        # In place: where the system can move pages, as Linux can, nothing is copied, and nothing
        # else refers to these arrays while they grow.
        for part in (self.images, self.masks):
            part.resize((rows, *part.shape[1:]), refcheck=False)

    def finish(self, result: Any, *, name: str, source: str) -> Dataset:
        """Return the data set that the pickle's own object says the rows form."""
        pair = _items(result, 2)
        refuse_if([*map(type, pair)] != [nodes.Dict] * 2, "it is not [dataset, label_map]")
        label_map = _label_map(pair[1], self.masks.shape[3], self.count)
        rows = _rows(pair[0], self.count)
        self._resize(self.count)
        images, masks = self.images, self.masks
        place = np.empty(self.count, np.int32)
        place[rows] = np.arange(self.count, dtype=np.int32)
        box_image = place[np.array(self.box_row, np.int32)]
        boxes = np.array(self.boxes, np.int32).reshape(-1, 4)
        box_class = _channels(np.array(self.box_key, np.int32), label_map)
        if np.any(rows[1:] < rows[:-1]):
            images, masks = images[rows], masks[rows]
            order = np.argsort(box_image, kind="stable")
            box_image, boxes, box_class = box_image[order], boxes[order], box_class[order]
        for part in (images, masks, boxes, box_image, box_class):
            part.flags.writeable = False
        return Dataset(images, masks, boxes, box_image, box_class, label_map, None, name, source)


def _items(value: Any, count: int) -> list[Any] | tuple[Any, ...]:
    """Return the ``count`` items of a list or tuple; nothing if it is not one."""
    items = value.plain() if type(value) is nodes.List else value
    return items if type(items) in (list, tuple) and len(items) == count else ()


def _label_map(labels: nodes.Dict, classes: int, count: int) -> dict[str, int]:
    values = list(labels.data.values())
    named = all(type(n) is str and n.isprintable() and 0 < len(n) <= 64 for n in labels.data)
    refuse_if(not named, "its label_map has a key that is not a printable name")
    plain = all(type(v) is int and 1 <= v <= 255 for v in values)
    refuse_if(not plain, "its label_map does not map names to values of 1..255")
    refuse_if(len(set(values)) != len(values), "two classes of its label_map have the same value")
    refuse_if(count == 0, "it holds no images")
    odd = f"its label_map has {len(values)} classes, its masks {classes}"
    refuse_if(len(values) != classes, odd)
    return dict(sorted(((str(k), v) for k, v in labels.data.items()), key=lambda item: item[1]))


def _rows(records: nodes.Dict, count: int) -> np.ndarray:
    rows = np.empty(count, np.int64)
    found = len(records.data)
    shared = len({id(value) for value in records.data.values()}) != found
    refuse_if(shared, "the data set holds one image record under two keys")
    for key, value in records.data.items():
        if type(value) is not nodes.List or value.row < 0 or value.channel >= 0:
            raise BadStreamError(f"entry {key!r:.40} of the data set is not an image record")
        if type(key) is not int or not 0 <= key < count:
            raise BadStreamError(
                f"the data set has the key {key!r:.40}, expected 0..{count - 1} for {count} images"
            )
        rows[key] = value.row
    refuse_if(found != count, f"the data set has {found} of {count} image records")
    return rows


def _channels(keys: np.ndarray, label_map: dict[str, int]) -> np.ndarray:
    """Map box keys to channels: files have 0..C-1, DLStudio's documentation says 50..250."""
    values = np.array(list(label_map.values()), np.int32)
    if np.all(keys < len(values)):
        return keys.astype(np.uint8)
    unknown = keys[~np.isin(keys, values)]
    # Those that can be no channel either come first.
    for wrong in (*unknown[unknown >= len(values)], *unknown):
        raise BadStreamError(f"a box has the class {wrong}, which label_map does not have")
    return np.searchsorted(values, keys).astype(np.uint8)


def read_shapes_file(
    path: Path,
    *,
    limits: Limits | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Dataset, str]:
    """Read a PurdueShapes5MultiObject ``.gz`` without trusting it.

    Args:
      path: the file.
      limits: what it may cost; the default admits six times the real training file.
      on_progress: hears (packed bytes read, packed bytes in all).

    Returns:
      The data set, its arrays read-only, and the SHA-256 of the file in hexadecimal.

    Raises:
      DataError: if the file is missing, truncated, damaged, hostile, or of another format; one
        line with its name and the reason. Nothing in the file is ever run.
    """
    limits = limits or Limits()
    try:
        with regular(path).open("rb") as file:
            packed = Gunzip(file, max_unpacked_bytes=limits.unpacked_bytes)
            with contextlib.closing(read_ahead(packed, on_progress=on_progress)) as pieces:
                stream = Stream(pieces, limits=limits)
                images = _Images(stream, packed)
                try:
                    result = RecordMachine(stream, on_record=images.add).run()
                except BadStreamError as error:
                    raise BadStreamError(f"{error} (at unpacked byte {stream.offset:,})") from None
        dataset = images.finish(result, name=path.name.removesuffix(".gz"), source=str(path))
        return dataset, packed.digest.hexdigest()
    except (BadStreamError, DataError) as error:
        reason: object = error
    except MemoryError:
        reason = "there is not enough memory to read it"
    except OSError as error:
        reason = error.strerror or error
    raise DataError(f"{path}: {reason}")
