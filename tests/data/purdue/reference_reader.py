"""An independent reader of the data files: Python's unpickler with an allow-list of its own."""

import gzip
import io
import pickle

import numpy as np
from numpy._core import multiarray, numeric


class ReferenceUnpickler(pickle.Unpickler):
    """Python's own unpickler with real NumPy classes and an allow-list: the independent reader."""

    def find_class(self, module, name):
        table = {
            ("multiarray", "_reconstruct"): multiarray._reconstruct,
            ("multiarray", "scalar"): multiarray.scalar,
            ("numeric", "_frombuffer"): numeric._frombuffer,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): lambda text, encoding: text.encode("latin1"),
        }
        return table[module.rpartition(".")[2], name]


def reference_read(path):
    """Returns ``[dataset, label_map]`` as Python's unpickler sees it."""
    data = gzip.decompress(path.read_bytes())
    return ReferenceUnpickler(io.BytesIO(data), encoding="latin1").load()
