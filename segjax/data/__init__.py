"""Data: the PurdueShapes file format, where to get it, and the order of an epoch.

NumPy only; nothing here imports jax.
"""

from segjax.classes import PURDUE_SHAPES_LABELS
from segjax.data.dataset import Dataset, epoch_order
from segjax.data.loading import load
from segjax.data.purdue.stream import Limits
from segjax.data.purdue.synthetic import recolour, synthetic, write_gz

__all__ = [
    "PURDUE_SHAPES_LABELS", "Dataset", "Limits", "epoch_order", "load", "recolour", "synthetic",
    "write_gz",
]  # fmt: skip
