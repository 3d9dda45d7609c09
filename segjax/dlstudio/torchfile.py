"""PyTorch's file format for a state_dict, read and written without PyTorch.

The file is an uncompressed zip: ``data.pkl`` describes the tensors, ``data/0``, ``data/1``, ...
hold their bytes. The description is a pickle, and a pickle is a program. It is not run here: a
small interpreter knows the twenty-odd instructions and the few names that a state_dict needs and
refuses every other one, so no file can name a function to call.
"""

import contextlib
import os
import pickletools
import struct
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from segjax.errors import CheckpointError

StateDict = dict[str, np.ndarray]

MAX_DESCRIPTION_BYTES = 16 << 20  # a depth-64 network needs about 0.3 MB
MAX_TENSOR_BYTES = 1 << 30  # one at depth 64 needs 0.6 MB, all of them 110 MB
ALIGNMENT = 64  # of each tensor's bytes in the file, as PyTorch writes them

STORAGES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
}
_ORDERED_DICT = "collections OrderedDict"
_REBUILD = "torch._utils _rebuild_tensor_v2"
_PARAMETER = "torch._utils _rebuild_parameter"
_GLOBALS = {_ORDERED_DICT, _REBUILD, _PARAMETER, *(f"torch {name}" for name in STORAGES)}


class _Name(NamedTuple):
    """A global that the description names; it is compared, never imported."""

    text: str


class _Storage(NamedTuple):
    key: str
    dtype: str
    size: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _RefusalError(Exception):
    """The description is not a state_dict's; the message says why."""


def read_torch_file(path: str | os.PathLike[str]) -> StateDict:
    """Return the tensors of a state_dict that ``torch.save`` wrote, by name, as NumPy arrays.

    No code of the file is run. Raises CheckpointError, naming the file, if it is missing, damaged,
    in the format of PyTorch before 1.6, or holds anything but a flat mapping of names to tensors.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_archive(archive)
    except _RefusalError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except zipfile.BadZipFile as error:
        raise CheckpointError(
            f"{path}: not a file of torch.save ({error}); files of PyTorch before 1.6 must be "
            "loaded and saved once with a newer one"
        ) from None
    except (OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None


def _read_archive(archive: zipfile.ZipFile) -> StateDict:
    members = {info.filename: info for info in archive.infolist()}
    descriptions = [name for name in members if name.endswith("/data.pkl")]
    if len(descriptions) != 1:
        raise _RefusalError("a zip file, but not one of torch.save: it has no single data.pkl")
    root = descriptions[0].removesuffix("data.pkl")

    def read(name: str, limit: int) -> bytes:
        info = members.get(root + name)
        if info is None:
            raise _RefusalError(f"damaged: {name} is missing")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > limit:
            raise _RefusalError(f"{name} is compressed or larger than {limit} bytes")
        return archive.read(info)

    order = "<"
    if root + "byteorder" in members and read("byteorder", 16) == b"big":
        order = ">"
    tensors = _interpret(read("data.pkl", MAX_DESCRIPTION_BYTES))
    stored: dict[tuple[str, str], np.ndarray] = {}
    budget = MAX_TENSOR_BYTES
    result = {}
    for name, tensor in tensors.items():
        source = (tensor.storage.key, tensor.storage.dtype)
        if source not in stored:
            data = read(f"data/{source[0]}", budget)
            budget -= len(data)
            if len(data) % np.dtype(source[1]).itemsize:
                raise _RefusalError(f"damaged: the bytes of {name} are no whole number of values")
            stored[source] = np.frombuffer(data, order + source[1])
        result[name] = _strided(name, tensor, stored[source])
    return result


def _strided(name: str, tensor: _Tensor, values: np.ndarray) -> np.ndarray:
    shape, strides = tensor.shape, tensor.strides
    count = 1
    for side in shape:
        count *= side
        if count > values.size:
            raise _RefusalError(f"damaged: {name} has shape {shape} but {values.size} values")
    last = tensor.offset + sum((side - 1) * step for side, step in zip(shape, strides, strict=True))
    if count and last >= values.size:
        raise _RefusalError(f"damaged: {name} reaches beyond its {values.size} values")
    view = np.lib.stride_tricks.as_strided(
        values[tensor.offset :],
        shape,
        tuple(step * values.itemsize for step in strides),
        writeable=False,
    )
    return view.astype(values.dtype.newbyteorder("="), order="C", copy=True)


def _interpret(description: bytes) -> dict[str, _Tensor]:
    """Read the state_dict's pickle into records of tensors; refuse every other pickle."""
    try:
        result = _run(description)
    except (IndexError, KeyError, StopIteration, TypeError, ValueError):
        # Which of them an ill-formed program meets is chance; nothing was called on its behalf.
        raise _RefusalError("damaged: its data.pkl is not well formed") from None
    if not isinstance(result, dict) or not result:
        raise _RefusalError("holds no state_dict; save it with torch.save(net.state_dict(), path)")
    for name, value in result.items():
        if not isinstance(value, _Tensor):
            raise _RefusalError(
                f"{name[:60]!r} is no tensor; save the network alone, with "
                "torch.save(net.state_dict(), path)"
            )
    return result


_PUSH = {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUT = {"BINPUT", "LONG_BINPUT"}
_GET = {"BINGET", "LONG_BINGET"}
_MARK = object()


def _run(description: bytes) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        start = next(i for i in reversed(range(len(stack))) if stack[i] is _MARK)
        items = stack[start + 1 :]
        del stack[start:]
        return items

    argument: Any
    for opcode, argument, _ in pickletools.genops(description):
        kind = opcode.name
        if kind in _PUSH:
            stack.append(argument)
        elif kind in _CONSTANTS:
            stack.append(_CONSTANTS[kind])
        elif kind in _PUT:
            memo[argument] = stack[-1]
        elif kind in _GET:
            stack.append(memo[argument])
        elif kind == "MARK":
            stack.append(_MARK)
        elif kind == "TUPLE":
            stack.append(tuple(since_mark()))
        elif kind in _TUPLES:
            count = _TUPLES[kind]
            items = [stack.pop() for _ in range(count)]
            stack.append(tuple(reversed(items)))
        elif kind == "EMPTY_DICT":
            stack.append({})
        elif kind in ("SETITEM", "SETITEMS"):
            items = since_mark() if kind == "SETITEMS" else [stack.pop(), stack.pop()][::-1]
            for key, value in zip(items[::2], items[1::2], strict=True):
                _set_item(stack[-1], key, value)
        elif kind == "GLOBAL":
            if argument not in _GLOBALS:
                raise _RefusalError(
                    f"its description names {argument[:80]!r}, which no state_dict of NumPy's "
                    "number types needs; refused"
                )
            stack.append(_Name(argument))
        elif kind == "BINPERSID":
            stack.append(_as_storage(stack.pop()))
        elif kind == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            stack.append(_reduce(function, arguments))
        elif kind == "BUILD":  # OrderedDict's _metadata; it says nothing about the weights
            stack.pop()
        elif kind == "STOP":
            return stack.pop()
        elif kind != "PROTO":
            raise _RefusalError(f"its description uses the instruction {kind}; refused")
    raise ValueError("no STOP")


def _set_item(target: Any, key: Any, value: Any) -> None:
    # Only text as a key: the hash of a nested tuple can take longer than a life.
    if not isinstance(target, dict) or not isinstance(key, str):
        raise _RefusalError("holds something else than a mapping from names to tensors")
    target[key] = value


def _as_storage(record: Any) -> _Storage:
    tag, name, key, _, size = record
    if tag != "storage" or not isinstance(name, _Name) or not isinstance(key, str):
        raise ValueError
    module, _, storage = name.text.partition(" ")
    if module != "torch" or not isinstance(size, int):
        raise ValueError
    return _Storage(key, STORAGES[storage], size)


def _reduce(function: Any, arguments: Any) -> Any:
    if not isinstance(function, _Name) or not isinstance(arguments, tuple):
        raise ValueError
    if function.text == _ORDERED_DICT and not arguments:
        return {}
    if function.text == _PARAMETER and isinstance(arguments[0], _Tensor):
        return arguments[0]
    if function.text != _REBUILD:
        raise ValueError
    storage, offset, shape, strides = arguments[:4]
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, _Storage) or len(shape) != len(strides):
        raise ValueError
    if not all(type(number) is int and 0 <= number < 1 << 40 for number in numbers):
        raise ValueError
    return _Tensor(storage, offset, shape, strides)


def write_torch_file(path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray]) -> None:
    """Write ``tensors`` as a file that ``torch.load(path, weights_only=True)`` reads.

    The file appears complete or not at all. Raises CheckpointError if a dtype has no PyTorch
    storage or the file cannot be written.
    """
    path = Path(path)
    names = {dtype: name for name, dtype in STORAGES.items()}
    for name, value in tensors.items():
        if value.dtype.str[1:] not in names:
            raise CheckpointError(f"{name}: dtype {value.dtype} cannot be written for PyTorch")
    partial = path.with_name(path.name + ".part")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            put = _Writer(archive, "saved_model/").put
            put("data.pkl", _describe(tensors, names))
            put("byteorder", sys.byteorder.encode())
            for index, value in enumerate(tensors.values()):
                put(f"data/{index}", value.astype(value.dtype.newbyteorder("=")).tobytes())
            put("version", b"3\n")
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise CheckpointError(f"{path}: cannot be written: {error.strerror or error}") from None


class _Writer:
    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        self.archive, self.root = archive, root

    def put(self, name: str, data: bytes) -> None:
        """Add a member whose bytes start at a multiple of ALIGNMENT; the date is constant."""
        info = zipfile.ZipInfo(self.root + name)
        assert self.archive.fp is not None
        start = self.archive.fp.tell() + 30 + len(info.filename) + 4  # zip's header, extra's header
        padding = -start % ALIGNMENT
        info.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
        self.archive.writestr(info, data)


def _describe(tensors: Mapping[str, np.ndarray], names: Mapping[str, str]) -> bytes:
    """Assemble the pickle, protocol 2, of an OrderedDict of tensors."""
    empty_dict = b"ccollections\nOrderedDict\n)R"
    items = []
    for index, (name, value) in enumerate(tensors.items()):
        strides = tuple(
            int(np.prod(value.shape[axis + 1 :], dtype=np.int64)) for axis in range(value.ndim)
        )
        storage = f"ctorch\n{names[value.dtype.str[1:]]}\n".encode()
        key = (_text("storage"), storage, _text(str(index)), _text("cpu"), _number(value.size))
        items.append(
            _text(name)
            + b"ctorch._utils\n_rebuild_tensor_v2\n("
            + _tuple(key)
            + b"Q"
            + _number(0)
            + _tuple(_number(side) for side in value.shape)
            + _tuple(_number(step) for step in strides)
            + b"\x89"
            + empty_dict
            + b"tR"
        )
    return b"\x80\x02" + empty_dict + b"(" + b"".join(items) + b"u."


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def _tuple(parts: Any) -> bytes:
    return b"(" + b"".join(parts) + b"t"
