"""A table of pictures in whole screen pixels.

Every image pixel is a square of the same size, so that isolated pixels (one in four with DLStudio's
output layer) stay visible and regular, which an arbitrary scale would spoil.
"""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from segjax.plots._style import DPI, verbatim


def _wrapped(text: str, width: int, most: int) -> list[str]:
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
        names = [_wrapped(name, 13, 3) for name in row_names]
        characters = max((len(line) for lines in names for line in lines), default=0)
        self.left = 18 + 9.6 * characters if characters else 14
        deepest = max(self.cell[0], 22 * max(map(len, names), default=1))
        self.pitch = deepest + 34, self.cell[1] + 12
        page = max(560.0, self.left + columns * self.pitch[1] + 8)
        letters = max(8, int(self.pitch[1] / 9.2))
        columns_text = [_wrapped(name, letters, 2) for name in column_names]
        most = max(map(len, columns_text), default=0)
        heading = textwrap.wrap(title, int(page / 10.5))
        footing = textwrap.wrap(note, int(page / 7.6))
        legend = [("".join(_wrapped(name, 24, 1)), colour) for name, colour in legend]
        across = _legend_columns([len(name) for name, _ in legend], page - 28)
        self.top = 22 + 26 * len(heading) + (21 * most + 8 if most else 0)
        legend_height = 25 * math.ceil(len(legend) / across) + 10 if legend else 0
        bottom = legend_height + 20 * len(footing) + 18
        self.page = (round(self.top + rows * self.pitch[0] + bottom), round(page))
        self.figure = Figure((self.page[1] / DPI, self.page[0] / DPI), dpi=DPI)
        if heading:
            self._write(14, 12, heading, fontsize=13, weight="bold")
        for column, lines in enumerate(columns_text):
            x = self.left + column * self.pitch[1] + self.cell[1] / 2
            self._write(x, self.top - 10, lines, fontsize=12, ha="center", va="baseline")
        for row, lines in enumerate(names):
            y = self.top + row * self.pitch[0] + self.cell[0] / 2
            self._write(self.left - 10, y, lines, fontsize=12, ha="right", va="center")
        self._write(14, self.page[0] - 12, footing, fontsize=10, va="bottom", color="#333333")
        if legend:
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
