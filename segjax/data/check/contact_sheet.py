"""A picture of pictures: some images of each split beside themselves with their masks."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segjax.classes import class_rgb
from segjax.data.own.problems import printable
from segjax.data.own.samples import Sample

TILE = 160
COLUMNS = 3
_TEXT = 16
_GAP = 8
_SEAM = 2
_INK = (30, 30, 30)
_PAPER = (255, 255, 255)
_IGNORED = (128, 128, 128)


class Tile(NamedTuple):
    """One cell of the sheet: split and file name, the picture and the picture under its masks."""

    split: str
    name: str
    image: Image.Image
    overlay: Image.Image


def make_tile(sample: Sample, *, split: str, name: str) -> Tile:
    """Make a cell of a sample: masks half transparent, ignored pixels hatched."""
    blend = sample.image.astype(np.float32)
    for channel in range(sample.masks.shape[-1]):
        on = sample.masks[..., channel] != 0
        blend[on] = 0.45 * blend[on] + 0.55 * np.array(class_rgb(channel), np.float32)
    if sample.ignore is not None:
        # Stripes as wide as a hundredth of the picture can be seen after scaling down.
        rows, columns = np.indices(sample.ignore.shape)
        stripes = (rows + columns) // max(1, max(sample.ignore.shape) // 48) % 2 == 0
        blend[sample.ignore & stripes] = _IGNORED
    return Tile(split, name, _thumbnail(sample.image), _thumbnail(blend.astype(np.uint8)))


def write_sheet(path: Path, tiles: Sequence[Tile], class_names: Sequence[str]) -> None:
    """Write the cells and a legend of the classes as a PNG file.

    Raises:
      OSError: if the file cannot be written.
    """
    columns = min(COLUMNS, max(1, len(tiles)))
    rows = -(-len(tiles) // columns)
    cell_width, cell_height = 2 * TILE + _SEAM + 2 * _GAP, TILE + _TEXT + _GAP
    width = columns * cell_width + _GAP

    font, places, left, top = ImageFont.load_default(13), [], _GAP, _GAP
    entries = [(class_rgb(channel), printable(name)) for channel, name in enumerate(class_names)]
    for colour, name in [*entries, (_IGNORED, "(striped: ignored)")]:
        needed = 24 + int(font.getlength(name)) + 2 * _GAP
        if left + needed > width and left > _GAP:
            left, top = _GAP, top + 20
        places.append((left, top, colour, name))
        left += needed
    below = top + 28
    sheet = Image.new("RGB", (width, below + rows * cell_height + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for left, top, colour, name in places:
        draw.rectangle((left, top + 1, left + 15, top + 16), fill=colour)
        draw.text((left + 22, top), name, fill=_INK, font=font)

    font = ImageFont.load_default(12)
    for index, tile in enumerate(tiles):
        left = _GAP + index % columns * cell_width
        top = below + index // columns * cell_height
        name = printable(tile.name)
        caption = f"{tile.split}: {name}"
        # Of a long name the end is shown, which is what tells files apart.
        while len(name) > 1 and font.getlength(caption) > 2 * TILE:
            name = name[1:]
            caption = f"{tile.split}: ...{name}"
        draw.text((left, top), caption, fill=_INK, font=font)
        sheet.paste(tile.image, (left, top + _TEXT))
        sheet.paste(tile.overlay, (left + TILE + _SEAM, top + _TEXT))
    sheet.save(path, format="PNG")


def _thumbnail(image: np.ndarray) -> Image.Image:
    picture = Image.fromarray(image)
    scale = min(TILE / side for side in picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    resample = Image.Resampling.BILINEAR if scale < 1 else Image.Resampling.NEAREST
    tile = Image.new("RGB", (TILE, TILE), _PAPER)
    tile.paste(picture.resize(size, resample), ((TILE - size[0]) // 2, (TILE - size[1]) // 2))
    return tile
