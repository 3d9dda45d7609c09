"""Data: the PurdueShapes file format, where to get it, and the order of an epoch.

NumPy only; nothing here imports jax. Names are loaded on first use, so that ``--help`` is quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segjax.classes import PURDUE_SHAPES_LABELS
    from segjax.data.dataset import Dataset, epoch_order
    from segjax.data.loading import load
    from segjax.data.purdue.stream import Limits
    from segjax.data.purdue.synthetic import composed, recolour, synthetic, write_gz

__all__ = [
    "PURDUE_SHAPES_LABELS", "Dataset", "Limits", "composed", "epoch_order", "load", "recolour",
    "synthetic", "write_gz",
]  # fmt: skip

_HOMES = {
    "PURDUE_SHAPES_LABELS": "segjax.classes",
    "Dataset": "segjax.data.dataset",
    "Limits": "segjax.data.purdue.stream",
    "composed": "segjax.data.purdue.synthetic",
    "epoch_order": "segjax.data.dataset",
    "load": "segjax.data.loading",
    "recolour": "segjax.data.purdue.synthetic",
    "synthetic": "segjax.data.purdue.synthetic",
    "write_gz": "segjax.data.purdue.synthetic",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'segjax.data' has no attribute {name!r}")
