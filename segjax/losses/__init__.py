"""Segmentation losses: pure functions of arrays, usable without the rest of segjax."""
