"""The functions that a pickled data set may call, each on its own arguments and nothing else.

Each returns None if the arguments are not those that NumPy's own pickles have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from segjax.data.purdue import nodes as nodes

LONG_STRING = 1024  # from here on, a string is pixels


def text_of(value: Any) -> str:
    """Returns a short string or Python-2 string as text, and nothing of anything else."""
    if isinstance(value, bytes):
        return value.decode("latin1")
    return value if type(value) is str else ""


def _call_reconstruct(args: tuple[Any, ...]) -> nodes.Array | None:
    if len(args) != 3 or type(args[0]) is not nodes.Global or args[0].role != "ndarray":
        return None
    return nodes.Array()


def _call_dtype(args: tuple[Any, ...]) -> nodes.Dtype | None:
    code = text_of(args[0]) if len(args) == 3 else ""
    return nodes.Dtype(code) if code in nodes.DTYPE_SIZES else None


def _call_encode(args: tuple[Any, ...]) -> bytes | nodes.Blob | None:
    if len(args) != 2 or text_of(args[1]).replace("-", "") != "latin1":
        return None
    text = args[0].take() if type(args[0]) is nodes.Blob else args[0]
    if type(text) is not str:
        return None
    data = nodes.latin1_bytes(text)
    return data if len(data) < LONG_STRING else nodes.Blob(data)


def _call_scalar(args: tuple[Any, ...]) -> int | None:
    if len(args) != 2 or type(args[0]) is not nodes.Dtype:
        return None
    dtype = args[0].numpy()
    data = nodes.latin1_bytes(args[1]) if type(args[1]) is str else args[1]
    if dtype.kind not in "iu" or type(data) is not bytes or len(data) != dtype.itemsize:
        return None
    return int(np.frombuffer(data, dtype)[0])


def _call_frombuffer(args: tuple[Any, ...]) -> nodes.Array | None:
    if len(args) != 4 or text_of(args[3]) not in ("C", "F"):
        return None
    array = nodes.Array()
    array.fill(args[1], args[2], args[0], fortran=text_of(args[3]) == "F")
    return array


CALLS: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "reconstruct": _call_reconstruct,
    "dtype": _call_dtype,
    "encode": _call_encode,
    "bytearray": _call_encode,
    "scalar": _call_scalar,
    "frombuffer": _call_frombuffer,
}
