"""Data: the PurdueShapes file format, where to get it, and the order of an epoch."""
