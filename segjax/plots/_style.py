"""What all figures share: fonts, colours, and names taken as they are."""

from typing import Any

import matplotlib as mpl

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


def verbatim(legend: Any) -> None:
    """Take dollar signs in names as they are."""
    for text in legend.get_texts():
        text.set_parse_math(False)
