"""The objects of PurdueShapes scenes, taken apart by their boxes, colours and tiles."""

from typing import Any, NamedTuple

import numpy as np

from segjax.data.dataset import Dataset
from segjax.data.purdue.shapes import CORNERS, TILE

_CORNERS = [(x * TILE // 2, y * TILE // 2) for x, y in CORNERS]
_RED_GREEN_BLUE = np.array([1 << 16, 1 << 8, 1])


class Object(NamedTuple):
    """An object: its class, what cuts its tile from the images, and bool [32, 32] of the tile."""

    label: int
    at: Any
    whole: np.ndarray  # its silhouette, but for pixels that show another object of its class
    seen: np.ndarray  # its visible pixels
    others: np.ndarray  # those that show another object

    def entire(self) -> bool:
        """Tell whether all of it is visible."""
        return bool(self.seen.any() and (self.seen == self.whole).all())


def objects_of(data: Dataset) -> list[Object]:
    """Take scenes apart into their objects.

    Each object has one flat colour, which tells its visible pixels; its box and its class's mask
    tell its silhouette. Of two colours that fit a box the one with more pixels is the object's.

    Args:
      data: PurdueShapes images of 64x64, from files or drawn.

    Returns:
      The objects, image after image, in each by the width of their boxes.
    """
    found = []
    for image, (picture, on) in enumerate(zip(data.images, data.masks > 0, strict=True)):
        colours = picture @ _RED_GREEN_BLUE
        left, shown = set(colours[colours > 0].tolist()), np.full(colours.shape, -1)
        parts: list[Any] = []
        boxes = sorted(data.boxes_of(image), key=lambda box: box[1][2] - box[1][0])
        for label, (x1, y1, x2, y2) in boxes:
            inside = np.s_[y1 : y2 + 1, x1 : x2 + 1]
            whole = np.zeros(colours.shape, bool)
            whole[inside] = on[(*inside, label)]
            fitting = [(np.sum(colours == c), c) for c in left if whole[colours == c].all()]
            own = max(fitting, default=(0, -1))[1]  # none of it may be visible
            left.discard(own)
            shown[colours == own] = len(parts)
            fit = [
                (x, y) for x, y in _CORNERS if x <= x1 and y <= y1 and max(x2 - x, y2 - y) < TILE
            ]
            parts.append((label, fit, whole))
        labels = np.array([*(label for label, *_ in parts), -1])[shown]
        sure = [fit[0] for _, fit, _ in parts if len(fit) == 1]
        for number, (label, fit, whole) in enumerate(parts):
            x, y = next((corner for corner in fit if corner not in sure), fit[0])
            tile = np.s_[y : y + TILE, x : x + TILE]
            seen = shown[tile] == number
            others = (shown[tile] >= 0) & ~seen
            silhouette = whole[tile] & ~(others & (labels[tile] == label))
            found.append(Object(label, (image, *tile), silhouette, seen, others))
    return found
