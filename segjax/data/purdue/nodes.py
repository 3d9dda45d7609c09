"""What the restricted pickle reader builds: inert stand-ins, never the objects themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from segjax.data.purdue.gunzip import BadStreamError

MAX_DEPTH = 12  # a real file nests six deep
MAX_LIST_ITEMS = 1 << 24  # 4096 x 4096 pixels
_MAX_TUPLE_ITEMS = 16  # with MAX_TUPLE_DEPTH, what makes walking a tuple cheap
_MAX_TUPLE_DEPTH = 3

# dtype codes that an array or a NumPy number may have, and their sizes in bytes.
DTYPE_SIZES = {
    "b1": 1, "u1": 1, "i1": 1, "u2": 2, "i2": 2, "u4": 4, "i4": 4, "u8": 8, "i8": 8,
    "f2": 2, "f4": 4, "f8": 8,
}  # fmt: skip

# The one door from a pickle to names: (module, name) -> what this reader does for it. Nothing
# is imported or looked up anywhere else.
ALLOWED_GLOBALS = {
    ("numpy.core.multiarray", "_reconstruct"): "reconstruct",
    ("numpy._core.multiarray", "_reconstruct"): "reconstruct",
    ("numpy.core.multiarray", "scalar"): "scalar",
    ("numpy._core.multiarray", "scalar"): "scalar",
    ("numpy.core.numeric", "_frombuffer"): "frombuffer",
    ("numpy._core.numeric", "_frombuffer"): "frombuffer",
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
    ("__builtin__", "bytearray"): "bytearray",
    ("builtins", "bytearray"): "bytearray",
}


class Node:
    """Base of the stand-ins. ``depth`` counts the levels of containers below, itself included.

    A node that was put into another is closed: no pickle of this format changes it again, and
    refusing to keeps every structure a finite tree of known depth.
    """

    __slots__ = ("closed", "depth")

    def __init__(self) -> None:
        self.closed = False
        self.depth = 1

    def adopt(self, child: Any) -> None:
        """Closes a node that goes into this one and takes over its depth."""
        if isinstance(child, Node):
            if child is self:
                raise BadStreamError("a container holds itself")
            child.closed = True
            self.depth = max(self.depth, child.depth + 1)
            if self.depth > MAX_DEPTH:
                raise BadStreamError(f"containers nest deeper than {MAX_DEPTH}")
        elif type(child) is tuple and _holds_container(child):
            raise BadStreamError("a tuple with containers is part of another container")

    def check_open(self) -> None:
        """Refuses to change a node that is already part of another."""
        if self.closed:
            raise BadStreamError("a container is changed after it was used")


class Global(Node):
    """A name from the allow-list; ``role`` says what the reader does for it."""

    __slots__ = ("role",)

    def __init__(self, role: str) -> None:
        super().__init__()
        self.role = role


class Blob(Node):
    """A long string or bytes object, given away to the first array that is made of it."""

    __slots__ = ("data",)

    def __init__(self, data: bytes | str) -> None:
        super().__init__()
        self.data: bytes | str | None = data

    def take(self) -> bytes | str:
        """Returns the content and lets go of it."""
        if self.data is None:
            raise BadStreamError("the raw bytes of an array are used twice")
        data, self.data = self.data, None
        return data


class Dtype(Node):
    """A NumPy dtype: its code, such as 'u1', and byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        super().__init__()
        self.code = code
        self.order = "="

    def numpy(self) -> np.dtype[Any]:
        """Returns the NumPy dtype; the code is one of ``DTYPE_SIZES``."""
        order = "" if self.order in "|=" else self.order
        return np.dtype(order + self.code)


class Array(Node):
    """A NumPy array: dtype, shape and raw bytes; after release, a row of the finished masks."""

    __slots__ = ("data", "dtype", "fortran", "row", "shape")

    def __init__(self) -> None:
        super().__init__()
        self.dtype: Dtype | None = None
        self.shape: tuple[int, ...] = ()
        self.fortran = False
        self.data: bytes | None = None
        self.row = -1

    def fill(self, dtype: Any, shape: Any, data: Any, *, fortran: bool) -> None:
        """Sets the content, if it is consistent.

        Raises:
          BadStreamError: if shape, dtype and number of bytes do not fit together.
        """
        self.check_open()
        if self.data is not None:
            raise BadStreamError("an array is filled twice")
        if not isinstance(dtype, Dtype):
            raise BadStreamError("an array has no valid dtype")
        if type(shape) is not tuple or any(type(n) is not int or n < 0 for n in shape):
            raise BadStreamError("an array has no valid shape")
        data = data.take() if isinstance(data, Blob) else data
        if isinstance(data, str):
            data = latin1_bytes(data)
        if not isinstance(data, bytes):
            raise BadStreamError("an array has no raw bytes (object arrays are not read)")
        size = DTYPE_SIZES[dtype.code]
        for n in shape:
            size *= n
        if size != len(data):
            raise BadStreamError(
                f"an array of shape {list(shape)} and dtype {dtype.code} has {len(data)} bytes"
                f" instead of {size}"
            )
        dtype.closed = True
        self.dtype, self.shape, self.data, self.fortran = dtype, shape, data, fortran


class List(Node):
    """A list. While all items are ints of 0..255 they take one byte each, in ``small``.

    After release, a channel of a row of the finished images; a released list with no channel is
    the whole image.
    """

    __slots__ = ("channel", "items", "row", "small")

    def __init__(self) -> None:
        super().__init__()
        self.small: bytearray | None = bytearray()
        self.items: list[Any] = []
        self.row = -1
        self.channel = -1

    def __len__(self) -> int:
        return len(self.items) if self.small is None else len(self.small)

    def append(self, value: Any) -> None:
        """Adds one item."""
        self.check_open()
        if len(self) >= MAX_LIST_ITEMS:
            raise BadStreamError(f"a list has more than {MAX_LIST_ITEMS:,} items")
        if self.small is not None:
            if type(value) is int and 0 <= value <= 255:
                self.small.append(value)
                return
            self.items = list(self.small)
            self.small = None
        self.adopt(value)
        self.items.append(value)

    def extend_small(self, values: bytes) -> None:
        """Adds ints of 0..255 to a list that holds nothing else."""
        self.check_open()
        assert self.small is not None
        if len(self.small) + len(values) > MAX_LIST_ITEMS:
            raise BadStreamError(f"a list has more than {MAX_LIST_ITEMS:,} items")
        self.small += values

    def plain(self) -> list[Any]:
        """Returns the items as a Python list."""
        return self.items if self.small is None else list(self.small)


class Dict(Node):
    """A dict with ints and strings as keys, each only once."""

    __slots__ = ("data",)

    def __init__(self) -> None:
        super().__init__()
        self.data: dict[int | str, Any] = {}

    def set(self, key: Any, value: Any) -> None:
        """Adds one entry."""
        self.check_open()
        if isinstance(key, bytes):
            key = key.decode("latin1")
        if type(key) is not int and type(key) is not str:
            raise BadStreamError("a dict key is neither an int nor a short string")
        if key in self.data:
            raise BadStreamError(f"a dict has the key {key!r:.40} twice")
        if isinstance(value, List) and value.row < 0 and value.small is None:
            first = value.items[0]
            if isinstance(first, List) and len(first) > 64:
                raise BadStreamError(
                    "an entry of the data set is not [R, G, B, mask, boxes];"
                    " is it a file of PurdueShapes5MultiObject?"
                )
        self.adopt(value)
        self.data[key] = value


def make_tuple(items: Iterable[Any]) -> tuple[Any, ...]:
    """Returns a tuple, if it is no longer and no deeper than this format needs."""
    made = tuple(items)
    if len(made) > _MAX_TUPLE_ITEMS:
        raise BadStreamError(f"a tuple has more than {_MAX_TUPLE_ITEMS} items")
    if _tuple_depth(made) > _MAX_TUPLE_DEPTH:
        raise BadStreamError(f"tuples nest deeper than {_MAX_TUPLE_DEPTH}")
    return made


def _holds_container(value: tuple[Any, ...]) -> bool:
    return any(isinstance(item, List | Dict) for item in value)


def _tuple_depth(value: tuple[Any, ...]) -> int:
    # Every inner tuple has passed this check, so the walk is at most 16 ** 3 items.
    depth = 0
    for item in value:
        if type(item) is tuple:
            depth = max(depth, _tuple_depth(item))
            if _holds_container(item):
                raise BadStreamError("a tuple with containers is part of another container")
        elif isinstance(item, List | Dict):
            item.closed = True
    return depth + 1


def latin1_bytes(text: str) -> bytes:
    """Returns the bytes of a Python-2 string that was read as latin-1."""
    try:
        return text.encode("latin1")
    except UnicodeEncodeError:
        raise BadStreamError("a byte string holds characters above 255") from None
