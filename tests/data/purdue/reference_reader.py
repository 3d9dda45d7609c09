"""An independent reader of the data files: Python's unpickler with an allow-list of its own."""

import gzip
import io
import pickle
from pathlib import Path

import numpy as np
from numpy._core import multiarray, numeric

# What an independent reader may look up: the real objects, by a table of its own.
_CODECS = {"latin1", "latin-1"}


def _encode(text, encoding):
    assert encoding in _CODECS
    return text.encode("latin1")


class ReferenceUnpickler(pickle.Unpickler):
    """Python's own unpickler with real NumPy classes and an allow-list: the independent reader."""

    def find_class(self, module, name):
        table = {
            ("multiarray", "_reconstruct"): multiarray._reconstruct,
            ("multiarray", "scalar"): multiarray.scalar,
            ("numeric", "_frombuffer"): numeric._frombuffer,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): _encode,
        }
        return table[module.rpartition(".")[2], name]


def reference_read(path):
    """Returns ``[dataset, label_map]`` as Python's unpickler sees it."""
    data = gzip.decompress(Path(path).read_bytes())
    return ReferenceUnpickler(io.BytesIO(data), encoding="latin1").load()
