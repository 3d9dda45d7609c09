"""What all figures share: fonts, colours, and names taken as they are."""

from typing import Any

import matplotlib as mpl
import numpy as np

DPI = 100

# Explicit, so that a reader's own matplotlibrc can neither break nor restyle a run's figures.
STYLE = {
    **{key: mpl.rcParamsDefault[key] for key in mpl.rcParamsDefault if key.startswith(
        ("axes", "figure", "font", "grid", "image", "legend", "lines", "path", "text", "xtick",
         "ytick")
    )},
    "font.size": 11,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "figure.facecolor": "white",
    "text.usetex": False,
}  # fmt: skip

# Okabe & Ito (2008), without black: on these pictures black is the background.
_OKABE_ITO = ("#D55E00", "#56B4E9", "#009E73", "#F0E442", "#CC79A7", "#0072B2", "#E69F00")


def class_colour(index: int) -> tuple[float, float, float]:
    """Gives the colour of channel `index` as red, green, blue in 0..1.

    The first seven are Okabe and Ito's; the next fourteen are tints and shades of them.
    """
    base = np.array([int(_OKABE_ITO[index % 7][i : i + 2], 16) / 255 for i in (1, 3, 5)])
    turn = index // 7 % 3
    shade = base if turn == 0 else 0.45 + 0.55 * base if turn == 1 else 0.55 * base
    return (float(shade[0]), float(shade[1]), float(shade[2]))


def verbatim(legend: Any) -> None:
    """Takes dollar signs in names as they are."""
    for text in legend.get_texts():
        text.set_parse_math(False)
