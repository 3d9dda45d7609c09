"""What each true class was taken for, as a table of shares."""

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from segjax.classes import class_colour
from segjax.errors import ConfigError
from segjax.plots._pictures import wrapped
from segjax.plots._style import DPI, STYLE

_RIGHT, _WRONG = np.array(to_rgb("#0072B2")), np.array(to_rgb("#D55E00"))
_WHITE_BELOW = 1e-3  # a share; from here to 1 the shade rises with its logarithm
_ROOM = 24  # screen pixels that a cell needs for its number


def worst_confusions(pixels: np.ndarray) -> list[tuple[int, int, float]]:
    """Return (true row, column, share of the row) of each two classes mixed up, the worst first.

    The last row and column are the background's: what was missed or made up is no mix-up.
    """
    shares = _shares(pixels)[:-1, :-1]
    np.fill_diagonal(shares, 0.0)
    pairs = [(*divmod(place, len(shares)), share) for place, share in enumerate(shares.flat)]
    return sorted(filter(lambda pair: pair[-1] > 0, pairs), key=lambda pair: -pair[-1])


@mpl.rc_context(STYLE)
def confusion_figure(pixels: np.ndarray, *, labels: Sequence[str], title: str) -> Figure:
    """Draw a confusion matrix: each row a true class, in % of its pixels.

    What is right is blue and what is wrong orange, the darker the larger its share, on a
    logarithmic scale, so that one pixel in a hundred shows. Which two classes are mixed up most
    stands below.

    Args:
      pixels: int [C + 1, C + 1], true class by what it was read as.
      labels: the C names, and that of the background.
      title: what stands above the figure.

    Raises:
      ConfigError: the labels do not fit.
    """
    if pixels.shape != (len(labels), len(labels)):
        raise ConfigError(f"pixels {pixels.shape} do not fit {len(labels)} labels")
    labels = ["".join(wrapped(name, 24, 1)) for name in labels]
    shares, cell = _shares(pixels), min(68.0, max(6.0, 1400 / len(labels)))
    size = min(11.0, max(4.0, cell / 2))  # of letters
    longest, side = size * max(map(len, labels)), cell * len(labels)
    left = 60 + 0.85 * longest
    width = max(620.0, left + side + 110)
    heading = textwrap.wrap(title, int(width / 12.5))
    top = 48 + 24 * len(heading) + 0.62 * longest
    height = top + side + 78
    figure = Figure((width / DPI, height / DPI), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1), label="confusion")
    axes.set_axis_off()

    def write(x: float, y: float, text: str, **style: Any) -> None:
        style = {"fontsize": size, "va": "center", **style}
        axes.text(x, y, text, parse_math=False, **style)

    depth = np.clip(1 - np.log(np.maximum(shares, 1e-9)) / np.log(_WHITE_BELOW), 0, None)[..., None]
    hue = np.where(np.eye(len(labels), dtype=bool)[..., None], _RIGHT, _WRONG)
    edges = cell * np.arange(len(labels) + 1)
    axes.pcolormesh(edges, edges, 1 - depth * (1 - hue), edgecolors="#dddddd", linewidth=0.3)
    axes.set(xlim=(-left, width - left), ylim=(height - top, -top))  # screen pixels
    for row, column in np.argwhere(shares > 0) if cell >= _ROOM else ():
        share = shares[row, column]
        text = f"{100 * share:.1f}" if share >= 5e-4 else "<0.1"
        ink = "white" if depth[row, column, 0] > 0.75 else "black"
        write((column + 0.5) * cell, (row + 0.5) * cell, text, ha="center", color=ink)
    for number, name in enumerate(labels):
        middle = (number + 0.5) * cell
        colour = class_colour(number) if number < len(labels) - 1 else (0.0, 0.0, 0.0)
        for place in ((-14, middle - 6), (middle - 5, -16)):
            axes.add_patch(Rectangle(place, 10, 12, facecolor=colour, edgecolor="#555555"))
        write(-22, middle, name, ha="right")
        write(middle, -22, name, va="bottom", rotation=45, rotation_mode="anchor")
        write(side + 12, middle, f"{pixels[number].sum():,}", color="#333333")
    write(side + 12, -12, "pixels", color="#333333", va="bottom")
    write(14 - left, 12 - top, "\n".join(heading), fontsize=13, weight="bold", va="top")
    write(20 - left, side / 2, "true class", rotation=90, fontsize=12, ha="center")
    for row, column, share in worst_confusions(pixels)[:1]:
        told = f"Mixed up most: {labels[row]} read as {labels[column]}, {100 * share:.1f} %."
        write(14 - left, side + 26, told, fontsize=12, weight="bold")
    note = "Each row in % of the true class's pixels; columns: what was read there."
    write(14 - left, side + 50, note, fontsize=10, color="#333333")
    return figure


def _shares(pixels: np.ndarray) -> np.ndarray:
    """Return each row over its sum; 0 in the row of a class without a pixel."""
    return pixels / np.maximum(pixels.sum(axis=1, keepdims=True), 1)
