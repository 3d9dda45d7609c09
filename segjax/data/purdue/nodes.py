"""What the values of a pickled data set look like: inert stand-ins, never the objects themselves.

``NAMES`` is the one door from a pickle to calls; each works on its own arguments and nothing else.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from segjax.data.purdue.stream import BadStreamError, refuse_if
from segjax.data.purdue.unpickle import Name

LONG_STRING = 1024  # from here on, a string is pixels
MAX_DEPTH = 12  # a real file nests six deep
MAX_LIST_ITEMS = 1 << 24  # 4096 x 4096 pixels
_TOO_LONG = f"a list has more than {MAX_LIST_ITEMS:,} items"
_MAX_TUPLE_ITEMS = 16  # with _MAX_TUPLE_DEPTH, what makes walking a tuple cheap
_MAX_TUPLE_DEPTH = 3
# What an array or a NumPy number may be made of; any byte order.
_DTYPES = {"b1", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"}


@dataclass(eq=False, slots=True)
class Node:
    """Base of the stand-ins. ``depth`` counts the levels of containers below, itself included.

    A node that was put into another is closed: no pickle of this format changes it again, and
    refusing to keeps every structure a finite tree of known depth.
    """

    closed: bool = field(default=False, init=False)
    depth: int = field(default=1, init=False)

    def adopt(self, child: Any) -> None:
        """Close a node that goes into this one and take over its depth."""
        refuse_if(child is self, "a container holds itself")
        _close(child)
        if isinstance(child, Node) and child.depth >= self.depth:
            self.depth = child.depth + 1
            refuse_if(self.depth > MAX_DEPTH, f"containers nest deeper than {MAX_DEPTH}")

    def check_open(self) -> None:
        """Refuse to change a node that is already part of another."""
        refuse_if(self.closed, "a container is changed after it was used")


@dataclass(eq=False, slots=True)
class Blob(Node):
    """A long string or bytes object, given away to the first array that is made of it."""

    data: bytes | str | None

    def take(self) -> bytes | str:
        """Return the content and let go of it."""
        data, self.data = self.data, None
        if data is None:
            raise BadStreamError("the raw bytes of an array are used twice")
        return data


@dataclass(eq=False, slots=True)
class Dtype(Node):
    """A NumPy dtype, as yet in the byte order of this machine."""

    numpy: np.dtype[Any]


@dataclass(eq=False, slots=True)
class Array(Node):
    """A NumPy array over its raw bytes; after release, a row of the finished masks."""

    values: np.ndarray | None = None
    row: int = -1

    def fill(self, dtype: Any, shape: Any, data: Any, order: Literal["C", "F"]) -> "Array":
        """Set the content, return self; BadStreamError if shape, dtype and bytes do not fit."""
        self.check_open()
        refuse_if(self.values is not None, "an array is filled twice")
        refuse_if(not isinstance(dtype, Dtype), "an array has no valid dtype")
        fits = type(shape) is tuple and all(type(n) is int and n >= 0 for n in shape)
        refuse_if(not fits, "an array has no valid shape")
        data = _raw_bytes(data)
        size = math.prod(shape) * dtype.numpy.itemsize
        refuse_if(
            size != len(data),
            f"an array of shape {list(shape)} and dtype {dtype.numpy.str[1:]} has {len(data)} bytes"
            f" instead of {size}",
        )
        try:
            self.values = np.ndarray(shape, dtype.numpy, data, order=order)
        except ValueError:  # no items, but sides that NumPy cannot count
            raise BadStreamError("an array has no valid shape") from None
        return self


@dataclass(eq=False, slots=True)
class List(Node):
    """A list. While all items are ints of 0..255 they take one byte each, in ``small``.

    After release, a channel of a row of the finished images; a released list with no channel is
    the whole image.
    """

    small: bytearray | None = field(default_factory=bytearray)
    items: list[Any] = field(default_factory=list)
    row: int = -1
    channel: int = -1

    def append(self, value: Any) -> None:
        """Add one item."""
        if self.small is not None and type(value) is int and 0 <= value <= 255:
            self.extend_small(bytes([value]))
            return
        self.check_open()
        self.items, self.small = self.plain(), None
        refuse_if(len(self.items) >= MAX_LIST_ITEMS, _TOO_LONG)
        self.adopt(value)
        self.items.append(value)

    def extend_small(self, values: bytes) -> None:
        """Add ints of 0..255 to a list that holds nothing else."""
        self.check_open()
        assert self.small is not None
        refuse_if(len(self.small) + len(values) > MAX_LIST_ITEMS, _TOO_LONG)
        self.small += values

    def plain(self) -> list[Any]:
        """Return the items as a Python list."""
        return self.items if self.small is None else list(self.small)


@dataclass(eq=False, slots=True)
class Dict(Node):
    """A dict with ints and strings as keys, each only once."""

    data: dict[int | str, Any] = field(default_factory=dict)

    def set(self, key: Any, value: Any) -> None:
        """Add one entry."""
        self.check_open()
        if isinstance(key, bytes):
            key = key.decode("latin1")
        refuse_if(type(key) not in (int, str), "a dict key is neither an int nor a short string")
        if key in self.data:
            raise BadStreamError(f"a dict has the key {key!r:.40} twice")
        if isinstance(value, List) and value.row < 0 and value.small is None:
            first = value.items[0]
            refuse_if(
                isinstance(first, List) and len(first.plain()) > 64,
                "an entry of the data set is not [R, G, B, mask, boxes];"
                " is it a file of PurdueShapes5MultiObject?",
            )
        self.adopt(value)
        self.data[key] = value


def new_tuple(items: list[Any]) -> tuple[Any, ...]:
    """Return a tuple, if it is no longer and no deeper than this format needs."""
    if len(items) > _MAX_TUPLE_ITEMS:
        raise BadStreamError(f"a tuple has more than {_MAX_TUPLE_ITEMS} items")
    for item in items:
        _close(item)
    made = tuple(items)
    refuse_if(_levels(made) > _MAX_TUPLE_DEPTH, f"tuples nest deeper than {_MAX_TUPLE_DEPTH}")
    return made


def _levels(value: tuple[Any, ...]) -> int:
    # Every inner tuple has passed this check, so the walk is at most 16 ** 3 items.
    return 1 + max((_levels(item) for item in value if type(item) is tuple), default=0)


def _close(child: Any) -> None:
    if isinstance(child, Node):
        child.closed = True
    elif type(child) is tuple and any(type(item) in (List, Dict) for item in child):
        raise BadStreamError("a tuple with containers is part of another container")


def _raw_bytes(value: Any) -> bytes:
    """Return the bytes of a string that may be a long one or have become text."""
    if isinstance(value, Blob):
        value = value.take()
    if isinstance(value, str):
        try:
            return value.encode("latin1")
        except UnicodeEncodeError:
            raise BadStreamError("a byte string holds characters above 255") from None
    if not isinstance(value, bytes):
        raise BadStreamError("an array has no raw bytes (object arrays are not read)")
    return value


# Calls ------------------------------------------------------------------------------------------


def _dtype(args: tuple[Any, ...]) -> Dtype | None:
    match args:
        case (str() as code, _, _) if code in _DTYPES:
            return Dtype(np.dtype(code))
    return None


def _encode(args: tuple[Any, ...]) -> bytes | Blob | None:
    match args:
        case (str() | Blob(data=str() | None) as text, "latin1" | "latin-1"):
            data = _raw_bytes(text)
            return data if len(data) < LONG_STRING else Blob(data)
    return None


def _scalar(args: tuple[Any, ...]) -> int | None:
    match args:
        case (Dtype(numpy=dtype), str() | bytes() as data) if dtype.kind in "iu":
            data = _raw_bytes(data)
            return int(np.frombuffer(data, dtype)[0]) if len(data) == dtype.itemsize else None
    return None


def _frombuffer(args: tuple[Any, ...]) -> Array | None:
    match args:
        case (data, dtype, shape, "C" | "F" as order):
            return Array().fill(dtype, shape, data, order)
    return None


_NDARRAY = Name("ndarray")
NAMES: dict[tuple[str, ...], Name] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): Name("dtype", _dtype),
    ("_codecs", "encode"): Name("encode", _encode),
}
for _core in ("numpy.core", "numpy._core"):  # of NumPy 1 and 2
    NAMES[f"{_core}.multiarray", "_reconstruct"] = Name(
        "reconstruct", lambda args: Array() if len(args) == 3 and args[0] is _NDARRAY else None
    )
    NAMES[f"{_core}.multiarray", "scalar"] = Name("scalar", _scalar)
    NAMES[f"{_core}.numeric", "_frombuffer"] = Name("frombuffer", _frombuffer)
for _builtins in ("__builtin__", "builtins"):
    NAMES[_builtins, "bytearray"] = Name("bytearray", _encode)
