"""Masks and boxes for the tests of outlines and objects."""

import numpy as np
import pytest

from segjax.errors import ConfigError

SHAPE = (1, 12, 12, 2)


def refused(message, function, *given, **named):
    with pytest.raises(ConfigError, match=message):
        function(*given, **named)


def square(top, left, side, *, shape=(1, 12, 12, 1)):
    mask = np.zeros(shape, bool)
    mask[:, top : top + side, left : left + side] = True
    return mask


def all_valid(mask):
    return np.ones(mask.shape[:-1], bool)


def draw(*rectangles, shape=SHAPE):
    """Return masks with (class, (x1, y1, x2, y2)) filled, and the boxes' keyword arguments."""
    mask = np.zeros(shape, bool)
    for category, (x1, y1, x2, y2) in rectangles:
        mask[0, y1 : y2 + 1, x1 : x2 + 1, category] = True
    return mask, {
        "boxes": [box for _, box in rectangles],
        "box_image": [0] * len(rectangles),
        "box_class": [category for category, _ in rectangles],
    }


def random_scene(seed):
    """Return a noisy prediction, masks and the boxes' keyword arguments; boxes overlap freely."""
    rng = np.random.default_rng(seed)
    target, rows = np.zeros((6, 16, 16, 3), bool), []
    for n in range(6):
        for _ in range(4):
            x1, y1 = rng.integers(0, 12, 2)
            x2, y2 = np.minimum((x1, y1) + rng.integers(0, 8, 2), 15)  # noqa: RUF005
            c = rng.integers(3)
            target[n, y1 : y2 + 1, x1 : x2 + 1, c] = True
            rows.append((x1, y1, x2, y2, n, c))
    pred = target ^ (rng.random(target.shape) < 0.25)
    rows = np.array(rows)
    return pred, target, {"boxes": rows[:, :4], "box_image": rows[:, 4], "box_class": rows[:, 5]}


def batches(pred, target, boxes):
    """Cut a scene of six images: the first image of each batch, its masks and its boxes."""
    for start, stop in ((0, 1), (1, 4), (4, 6)):
        rows = (boxes["box_image"] >= start) & (boxes["box_image"] < stop)
        some = {name: values[rows] for name, values in boxes.items()}
        some["box_image"] = some["box_image"] - start
        yield start, pred[start:stop], target[start:stop], some
