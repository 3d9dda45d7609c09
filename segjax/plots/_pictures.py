"""Masks and network outputs as coloured pictures, and a table of them in whole screen pixels.

A picture is float [H, W, 3] in 0..1. In the table every image pixel is a square of the same size,
so that isolated pixels (one in four with DLStudio's output layer) stay visible and regular, which
an arbitrary scale would spoil.
"""

import math
import textwrap
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from segjax.classes import DLSTUDIO_WINDOWS, class_colour
from segjax.errors import ConfigError
from segjax.plots._style import DPI, verbatim

Decode = Literal["half", "windows"]

OVERLAP = (1.0, 1.0, 1.0)
NOT_A_NUMBER = (0.62, 0.62, 0.62)
IGNORED = (0.3, 0.3, 0.3)
_DIM = 0.45  # brightest an undecoded pixel gets, well below a decoded one


def window(class_values: Sequence[float], decode: Decode) -> tuple[np.ndarray, np.ndarray]:
    """Return per channel the values between which, exclusive, a pixel counts as its class."""
    if decode == "half":
        low = np.asarray(class_values, np.float64) / 2
        return low, np.full_like(low, math.inf)
    if decode != "windows":
        raise ConfigError(f"decode is {decode!r}; it can be 'half' or 'windows'")
    if odd := [value for value in class_values if value not in DLSTUDIO_WINDOWS]:
        raise ConfigError(
            f"DLStudio has no value window for class value {odd[0]}; use decode='half'"
        )
    low, high = np.array([DLSTUDIO_WINDOWS[int(value)] for value in class_values], np.float64).T
    return low, high


def counted(values: np.ndarray, low: np.ndarray | float, high: np.ndarray | float) -> np.ndarray:
    """Return where values are in their window, bool; NaN never is, infinity if it has no top."""
    return (values > low) & ((values < high) | np.isinf(high))


def ious(on: np.ndarray, truth: np.ndarray, valid: np.ndarray | None = None) -> list[float]:
    """Return each class's intersection over union; NaN where it is in neither [H, W, C]."""
    if valid is not None:
        on, truth = on & valid[..., None], truth & valid[..., None]
    both, either = (on & truth).sum((0, 1)).tolist(), (on | truth).sum((0, 1)).tolist()
    return [n / union if union else math.nan for n, union in zip(both, either, strict=True)]


def truth_picture(truth: np.ndarray) -> np.ndarray:
    """Colour a bool [H, W, C] by class, float [H, W, 3]; white where classes overlap."""
    picture = np.zeros((*truth.shape[:2], 3))
    for channel in range(truth.shape[-1]):
        picture[truth[..., channel]] = class_colour(channel)
    picture[truth.sum(-1) > 1] = OVERLAP
    return picture


def channel_picture(values: np.ndarray, low: float, high: float, channel: int) -> np.ndarray:
    """Colour one channel [H, W]: full inside the window, dim below it, pale above it."""
    colour = np.array(class_colour(channel))
    below = np.clip(np.nan_to_num(values / low), 0, 1)  # a share of the lowest value that counts
    picture = _DIM * below[..., None] * colour
    picture[values > low] = 0.2 * colour + 0.8
    picture[counted(values, low, high)] = colour
    picture[np.isnan(values)] = NOT_A_NUMBER
    return picture


def strongest_picture(
    values: np.ndarray, low: np.ndarray, high: np.ndarray, class_values: Sequence[float]
) -> np.ndarray:
    """Colour each pixel by its strongest class: those that count first, then by share of value."""
    on = counted(values, low, high)
    share = values / np.asarray(class_values, np.float64)
    rank = np.where(np.isnan(share) | (on.any(-1, keepdims=True) & ~on), -np.inf, share)
    strongest = rank.argmax(-1)
    picture = np.zeros((*values.shape[:2], 3))
    for channel, bounds in enumerate(zip(low, high, strict=True)):
        mine = strongest == channel
        picture[mine] = channel_picture(values[..., channel], *bounds, channel)[mine]
    picture[np.isnan(values).all(-1)] = NOT_A_NUMBER
    return picture


def outline(mask: np.ndarray) -> np.ndarray:
    """Return edges between on and off pixels as segments [K, 2, 2] of x, y in image coordinates.

    Single pixels off inside a shape are passed over: the data's pinholes would hide the shape.
    """
    padded = np.pad(mask, 1)
    around = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    padded = np.pad(mask | around, 1).astype(np.int8)
    y, x = np.nonzero(np.diff(padded, axis=1)[1:-1])
    upright = np.stack([np.stack([x, y], -1), np.stack([x, y + 1], -1)], 1)
    y, x = np.nonzero(np.diff(padded, axis=0)[:, 1:-1])
    level = np.stack([np.stack([x, y], -1), np.stack([x + 1, y], -1)], 1)
    return np.concatenate([upright, level]) - 0.5


def wrapped(text: str, width: int, most: int) -> list[str]:
    """Break a name into at most `most` lines; an ellipsis says that more is missing."""
    lines = textwrap.wrap(text, width)
    if len(lines) > most:
        lines = [*lines[: most - 1], lines[most - 1][: width - 1].rstrip() + "…"]
    return lines


def _legend_columns(lengths: Sequence[int], width: float) -> int:
    """Return the most columns in which names of these lengths fit, filled from top to bottom."""
    for across in range(len(lengths), 1, -1):
        deep = math.ceil(len(lengths) / across)
        columns = [lengths[i : i + deep] for i in range(0, len(lengths), deep)]
        if sum(54 + 8.6 * max(column) for column in columns) <= width:
            return across
    return 1


class Sheet:
    """A table of pictures on whole screen pixels, with row names, captions and a legend."""

    def __init__(
        self,
        row_names: Sequence[str],
        column_names: Sequence[str],
        shape: tuple[int, int],
        *,
        title: str,
        note: str,
        legend: Sequence[tuple[str, tuple[float, float, float]]],
    ):
        height, width = shape
        rows, columns = len(row_names), len(column_names)
        target = 256 if columns <= 3 and rows <= 4 else 192
        longest = max(height, width)
        # Own images may be larger: one screen pixel each, and shrunk above 1.5 targets.
        scale = target // longest if longest <= target else min(1.0, 1.5 * target / longest)
        self.shrunk = scale < 1
        self.cell = max(8, round(height * scale)), max(8, round(width * scale))
        names = [wrapped(name, 13, 3) for name in row_names]
        self.left = 18 + 9.6 * max(len(line) for lines in names for line in lines)
        self.pitch = max(self.cell[0], 22 * max(map(len, names))) + 34, self.cell[1] + 12
        page = max(560.0, self.left + columns * self.pitch[1] + 8)
        letters = max(8, int(self.pitch[1] / 9.2))
        columns_text = [wrapped(name, letters, 2) for name in column_names]
        heading = textwrap.wrap(title, int(page / 10.5))
        footing = textwrap.wrap(note, int(page / 7.6))
        legend = [("".join(wrapped(name, 24, 1)), colour) for name, colour in legend]
        across = _legend_columns([len(name) for name, _ in legend], page - 28)
        self.top = 22 + 26 * len(heading) + 21 * max(map(len, columns_text)) + 8
        bottom = 25 * math.ceil(len(legend) / across) + 10 + 20 * len(footing) + 18
        self.page = (round(self.top + rows * self.pitch[0] + bottom), round(page))
        self.figure = Figure((self.page[1] / DPI, self.page[0] / DPI), dpi=DPI)
        self._write(14, 12, heading, fontsize=13, weight="bold")
        for column, lines in enumerate(columns_text):
            x = self.left + column * self.pitch[1] + self.cell[1] / 2
            self._write(x, self.top - 10, lines, fontsize=12, ha="center", va="baseline")
        for row, lines in enumerate(names):
            y = self.top + row * self.pitch[0] + self.cell[0] / 2
            self._write(self.left - 10, y, lines, fontsize=12, ha="right", va="center")
        self._write(14, self.page[0] - 12, footing, fontsize=10, va="bottom", color="#333333")
        drawn = self.figure.legend(
            handles=[Patch(facecolor=colour, edgecolor="#555555") for _, colour in legend],
            labels=[" " + name for name, _ in legend],
            loc="lower left", ncols=across, fontsize=11, frameon=False, borderpad=0,
            bbox_to_anchor=(14 / self.page[1], (20 * len(footing) + 18) / self.page[0]),
            handlelength=1.2, columnspacing=1.4, borderaxespad=0,
        )  # fmt: skip
        verbatim(drawn)

    def _write(self, x: float, y: float, lines: Sequence[str], **style: Any) -> None:
        style.setdefault("va", "top")
        text, place = "\n".join(lines), (x / self.page[1], 1 - y / self.page[0])
        self.figure.text(*place, text, parse_math=False, linespacing=1.25, **style)

    def put(
        self, row: int, column: int, picture: np.ndarray, label: str, caption: str = ""
    ) -> Axes:
        """Show one picture; `label` names its axes for tests and for other programs."""
        height, width = self.page
        x = round(self.left) + column * self.pitch[1]
        y = height - (round(self.top) + row * self.pitch[0] + self.cell[0])
        box = (x / width, y / height, self.cell[1] / width, self.cell[0] / height)
        axes = self.figure.add_axes(box, label=label)
        axes.set_axis_off()
        smooth = "antialiased" if self.shrunk else "nearest"
        axes.imshow(picture, interpolation=smooth, interpolation_stage="rgba", aspect="auto")
        if caption:
            style = {"fontsize": 10.5, "ha": "center", "color": "#333333"}
            self._write(x + self.cell[1] / 2, height - y + 3, [caption], **style)
        return axes
