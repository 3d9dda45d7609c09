"""What all figures share: fonts, colours, names taken as they are, and the way into a file."""

import io
import os
import warnings
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from segjax.classes import class_rgb
from segjax.files import write_bytes

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


def save(figure: Figure, path: str | os.PathLike[str], *, max_bytes: int = 300_000) -> Path:
    """Write a figure as PNG, whole or not at all: to a file beside `path`, then renamed over it.

    Full colour if that fits into `max_bytes`, else 256 colours, among them those of the classes, so
    that no class turns into another; photographs may stay above `max_bytes`.

    Returns:
      The path written, as a `Path`. Its folder is made if it is missing.

    Raises:
      OSError: the folder cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # A class name in a script that the font lacks shows as boxes; that is no fault of the run.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    data = _png(picture)
    if len(data) > max_bytes:
        data = min(data, _png(_with_palette(picture)), key=len)
    write_bytes(path, data)
    return path


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "png", optimize=True, dpi=(DPI, DPI))
    return buffer.getvalue()


def _with_palette(picture: Image.Image) -> Image.Image:
    """Return it in 256 colours: 96 of its own, the classes' first, and 160 from median cut.

    Median cut alone gives a photograph's shades all places and merges the classes' flat colours.
    """
    packed = np.asarray(picture).astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    seen, counts = np.unique(packed, return_counts=True)
    classes = np.array([class_rgb(i) for i in range(21)]) @ [1 << 16, 1 << 8, 1]
    order = np.argsort(-np.where(np.isin(seen, classes), packed.size, counts), kind="stable")
    kept = seen[order[:96]]
    frequent = np.stack([kept >> 16, kept >> 8 & 255, kept & 255], -1).ravel().tolist()
    cut = picture.quantize(160, method=Image.Quantize.MEDIANCUT).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*frequent, *cut][:768])
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)
