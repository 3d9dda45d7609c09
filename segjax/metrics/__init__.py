"""Segmentation metrics: counts that merge exactly, and scores computed from them."""
