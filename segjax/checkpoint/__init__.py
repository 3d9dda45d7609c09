"""Checkpoints that are whole or absent: saved atomically, checked byte by byte when read."""

from segjax.checkpoint.checkpoints import Checkpoints, Restored, Which, load_params

__all__ = ["Checkpoints", "Restored", "Which", "load_params"]
