"""PyTorch's file format for a state_dict, read and written without PyTorch.

The file is an uncompressed zip: ``data.pkl`` describes the tensors, ``data/0``, ``data/1``, ...
hold their bytes. The description is a pickle, and a pickle is a program. It is not run here: the
interpreter of the data files gets the twenty-odd instructions and the few names that a state_dict
needs and refuses every other one, so no file can name a function to call.
"""

import math
import os
import pickletools
import struct
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from segjax.data.purdue.stream import BadStreamError, Limits, Stream
from segjax.data.purdue.unpickle import INSTRUCTIONS, Machine, Name
from segjax.errors import CheckpointError
from segjax.files import regular, replacing

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
# Constants; tuples and dicts; memo, names, calls and the protocol.
_SHARED = b"N\x88\x89JKM\x8aX\x8c" + b"()t\x85\x86\x87}su" + b"qrhjcR\x80"


class _Storage(NamedTuple):
    key: str
    dtype: str


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch_file(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Return the tensors of a state_dict that ``torch.save`` wrote, by name, as NumPy arrays.

    No code of the file is run. Raises CheckpointError, naming the file, if it is missing, damaged,
    in the format of PyTorch before 1.6, or holds anything but a flat mapping of names to tensors.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(regular(path)) as archive:
            return _read_archive(archive)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except BadStreamError:
        # Which defect an ill-formed program shows is chance; nothing was called on its behalf.
        raise CheckpointError(f"{path}: damaged: its data.pkl is not well formed") from None
    except zipfile.BadZipFile as error:
        raise CheckpointError(
            f"{path}: not a file of torch.save ({error}); files of PyTorch before 1.6 must be "
            "loaded and saved once with a newer one"
        ) from None
    except (OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        why = getattr(error, "strerror", None) or error  # without the file's name once more
        raise CheckpointError(f"{path}: cannot be read: {why}") from None


def _read_archive(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    members = {info.filename: info for info in archive.infolist()}
    descriptions = [name for name in members if name.endswith("/data.pkl")]
    if len(descriptions) != 1:
        raise CheckpointError("a zip file, but not one of torch.save: it has no single data.pkl")
    root = descriptions[0].removesuffix("data.pkl")

    def read(name: str, limit: int) -> bytes:
        info = members.get(root + name)
        if info is None:
            raise CheckpointError(f"damaged: {name} is missing")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > limit:
            raise CheckpointError(f"{name} is compressed or larger than {limit} bytes")
        return archive.read(info)

    order = ">" if root + "byteorder" in members and read("byteorder", 16) == b"big" else "<"
    stored: dict[_Storage, np.ndarray] = {}
    budget, result = MAX_TENSOR_BYTES, {}
    for name, tensor in _interpret(read("data.pkl", MAX_DESCRIPTION_BYTES)).items():
        storage = tensor.storage
        if storage not in stored:
            data = read(f"data/{storage.key}", budget)
            budget -= len(data)
            if len(data) % np.dtype(storage.dtype).itemsize:
                raise CheckpointError(f"damaged: the bytes of {name} are no whole number of values")
            stored[storage] = np.frombuffer(data, order + storage.dtype)
        result[name] = _strided(name, tensor, stored[storage])
    return result


def _strided(name: str, tensor: _Tensor, values: np.ndarray) -> np.ndarray:
    shape, strides = tensor.shape, tensor.strides
    count = 1
    for side in shape:
        count *= side
        if count > values.size:
            raise CheckpointError(f"damaged: {name} has shape {shape} but {values.size} values")
    last = tensor.offset + sum((side - 1) * step for side, step in zip(shape, strides, strict=True))
    if count and last >= values.size:
        raise CheckpointError(f"damaged: {name} reaches beyond its {values.size} values")
    steps = tuple(step * values.itemsize for step in strides)
    start = values[tensor.offset :]
    view = np.lib.stride_tricks.as_strided(start, shape, steps, writeable=False)
    return view.astype(values.dtype.newbyteorder("="), order="C", copy=True)


def _interpret(description: bytes) -> dict[str, _Tensor]:
    """Read the state_dict's pickle into records of tensors; refuse every other pickle."""
    # No instruction takes less than a byte or pushes more than one value.
    limits = Limits(opcodes_base=len(description), stack=len(description))
    result = _StateDictMachine(Stream([description], limits=limits)).run()
    if not isinstance(result, dict) or not result:
        raise CheckpointError(
            "holds no state_dict; save it with torch.save(net.state_dict(), path)"
        )
    for name, value in result.items():
        if not isinstance(value, _Tensor):
            raise CheckpointError(
                f"{name[:60]!r} is no tensor; save the network alone, with "
                "torch.save(net.state_dict(), path)"
            )
    return result


def _storage(record: Any) -> _Storage:
    match record:
        case ("storage", Name(role=role), str() as key, _, int()) if role in STORAGES:
            return _Storage(key, STORAGES[role])
    raise BadStreamError("it persists what is not a storage")


def _rebuilt(args: tuple[Any, ...]) -> _Tensor | None:
    match args:
        case (_Storage() as storage, offset, tuple() as shape, tuple() as strides, *_) if len(
            shape
        ) == len(strides) and all(
            type(n) is int and 0 <= n < 1 << 40 for n in (offset, *shape, *strides)
        ):
            return _Tensor(storage, offset, shape, strides)
    return None


class _StateDictMachine(Machine):
    """Runs a state_dict's description; makes ``_Tensor`` of what would be PyTorch's."""

    names: ClassVar = {
        ("collections", "OrderedDict"): Name("OrderedDict", lambda args: None if args else {}),
        ("torch._utils", "_rebuild_tensor_v2"): Name("tensor", _rebuilt),
        ("torch._utils", "_rebuild_parameter"): Name(
            "parameter", lambda args: args[0] if args and isinstance(args[0], _Tensor) else None
        ),
        **{("torch", name): Name(name) for name in STORAGES},
    }
    instructions: ClassVar = {
        **{bytes([code]): INSTRUCTIONS[bytes([code])] for code in _SHARED},
        b"Q": lambda m: m.stack.append(_storage(m.pop())),
        b"b": Machine.pop,  # OrderedDict's _metadata; it says nothing about the weights
    }

    def set_items(self, items: list[Any]) -> None:
        """Set names and values, in turn, in the dict on top of the stack."""
        target = self.top()
        if len(items) % 2:
            raise BadStreamError("a name has no value")
        for key, value in zip(items[0::2], items[1::2], strict=True):
            # Only text as a key: the hash of a nested tuple can take longer than a life.
            if not isinstance(target, dict) or not isinstance(key, str):
                raise CheckpointError("holds something else than a mapping from names to tensors")
            target[key] = value

    def no_instruction(self, code: bytes) -> Exception:
        """Return the refusal of an instruction, or that there is no such one."""
        names = {known.code: known.name for known in pickletools.opcodes}
        if name := names.get(code.decode("latin1")):
            return CheckpointError(f"its description uses the instruction {name}; refused")
        return BadStreamError("no instruction")

    def no_name(self, *path: str) -> Exception:
        """Return the refusal of a name."""
        return CheckpointError(
            f"its description names {' '.join(path)[:80]!r}, which no state_dict of NumPy's "
            "number types needs; refused"
        )


def write_torch_file(path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray]) -> None:
    """Write ``tensors`` as a file that ``torch.load(path, weights_only=True)`` reads.

    The file appears complete or not at all. Raises CheckpointError if a dtype has no PyTorch
    storage or the file cannot be written.
    """
    storages = {dtype: name for name, dtype in STORAGES.items()}
    for name, value in tensors.items():
        if value.dtype.str[1:] not in storages:
            raise CheckpointError(f"{name}: dtype {value.dtype} cannot be written for PyTorch")
    try:
        with replacing(path) as partial, zipfile.ZipFile(partial, "w") as archive:
            _put(archive, "data.pkl", _describe(tensors, storages))
            _put(archive, "byteorder", sys.byteorder.encode())
            for index, value in enumerate(tensors.values()):
                native = value.astype(value.dtype.newbyteorder("="))
                _put(archive, f"data/{index}", native.tobytes())
            _put(archive, "version", b"3\n")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror or error}") from None


def _put(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Add a member whose bytes start at a multiple of ALIGNMENT; the date is constant."""
    info = zipfile.ZipInfo(f"saved_model/{name}")
    assert archive.fp is not None
    start = archive.fp.tell() + 30 + len(info.filename) + 4  # zip's header, extra's header
    padding = -start % ALIGNMENT
    info.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
    archive.writestr(info, data)


def _describe(tensors: Mapping[str, np.ndarray], storages: Mapping[str, str]) -> bytes:
    """Assemble the pickle, protocol 2, of an OrderedDict of tensors."""
    empty_dict = b"ccollections\nOrderedDict\n)R"
    items: list[Any] = []
    for index, (name, value) in enumerate(tensors.items()):
        strides = tuple(math.prod(value.shape[axis + 1 :]) for axis in range(value.ndim))
        storage = f"ctorch\n{storages[value.dtype.str[1:]]}\n".encode()
        key = ("storage", storage, str(index), "cpu", value.size)
        items += [name, b"ctorch._utils\n_rebuild_tensor_v2\n(", key, b"Q"]
        items += [0, value.shape, strides, b"\x89" + empty_dict + b"tR"]
    return b"\x80\x02" + empty_dict + b"(" + b"".join(map(_pushed, items)) + b"u."


def _pushed(value: Any) -> bytes:
    """Return the instructions that push a text, a number or a tuple; bytes are instructions."""
    if isinstance(value, str):
        return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
    if isinstance(value, tuple):
        return b"(" + b"".join(map(_pushed, value)) + b"t"
    return value if isinstance(value, bytes) else b"J" + struct.pack("<i", value)
