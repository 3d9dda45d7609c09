"""A small scene, and what a figure shows where."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

from segjax import plots

NAMES = ["rectangle", "triangle", "disk", "oval", "star"]
VALUES = [50, 100, 150, 200, 250]
CLASSES = {"class_names": NAMES, "class_values": VALUES}
TRIANGLE = {"class_names": ["triangle"], "class_values": [100]}


def scene(count=2, height=16, width=16, class_values=VALUES):
    """One square of each class an image, side by side and apart, on black."""
    channels = len(class_values)
    masks = np.zeros((count, height, width, channels), np.uint8)
    for channel, value in enumerate(class_values):
        left = channel * width // channels
        masks[:, 2:8, left : left + max(1, width // channels - 1), channel] = value
    images = np.repeat(masks.max(-1)[..., None], 3, -1)
    return images, masks


def pixels(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


def axes_of(figure, label):
    (found,) = [axes for axes in figure.axes if axes.get_label() == label]
    return found


def cell(figure, label, shape):
    """What a picture's axes show, one colour per image pixel, read at the pixels' middles."""
    shown = cut(figure, label, pixels(figure))
    y, x = ((np.arange(n) + 0.5) * m / n for n, m in zip(shape, shown.shape, strict=False))
    return shown[y.astype(int)[:, None], x.astype(int)[None]]


def cut(figure, label, sheet):
    """What a picture's axes show, every screen pixel of a drawn sheet."""
    box = axes_of(figure, label).get_window_extent()
    top, left = round(sheet.shape[0] - box.y1), round(box.x0)
    return sheet[top : round(top + box.height), left : round(left + box.width)]


def colour(channel):
    return np.round(255 * np.array(plots.class_colour(channel))).astype(int)


def texts(figure):
    figure.canvas.draw()
    found = [text.get_text() for text in figure.texts]
    for legend in [*figure.legends, *(a.get_legend() for a in figure.axes if a.get_legend())]:
        found += [text.get_text().strip() for text in legend.get_texts()]
    return found


def training_rows(count, steps_per_epoch=2500):
    return [
        {"step": 500 * i, "epoch": (500 * i - 1) // steps_per_epoch + 1, "loss": 440.0 - i}
        for i in range(1, count + 1)
    ]
