"""Bringing pictures, masks and boxes of any size to one size, by one rule for all three."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from segjax.data.dataset import Box
from segjax.errors import check_choice
from segjax.settings import SIZE_MULTIPLE

FITS = ("resize", "crop", "pad")
MAX_AUTO_SIDE = 512

Size = tuple[int, int]  # height and width in pixels
# Left, top, right, bottom edges in pixels: right = left + width.
Edges = tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True)
class Fit:
    """How a picture of ``source`` size is laid into an output of ``size``, both (height, width).

    ``region`` is the part of the picture that is used, and ``place`` the part of the output that
    it fills: left, top, right, bottom.
    """

    source: Size
    size: Size
    region: Edges
    place: tuple[int, int, int, int]

    def image(self, image: np.ndarray) -> np.ndarray:
        """Return uint8 [H, W, 3]: bilinear, averaging over all pixels when it makes smaller."""
        return self._lay(image, Image.Resampling.BILINEAR)

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """Return uint8 [H, W] from uint8 or bool [h, w]: the nearest pixel's value."""
        return self._lay(mask.astype(np.uint8, copy=False), Image.Resampling.NEAREST)

    def padding(self) -> np.ndarray:
        """Return bool [H, W]: true where the output lies outside the picture."""
        outside = np.ones(self.size, bool)
        left, top, right, bottom = self.place
        outside[top:bottom, left:right] = False
        return outside

    def box(self, box: Edges) -> Box | None:
        """Return the inclusive pixel box that covers ``box``, or None if nothing is left of it.

        ``box``: left, top, right, bottom edges in the picture's pixels (right = left + width).
        """
        lows, highs = [], []
        for axis in (0, 1):
            (start, end), (first, last) = self.region[axis::2], self.place[axis::2]
            scale = (last - first) / (end - start)
            # Rounded first, so that 3.0000000001 does not become 4.
            low, high = (round((edge - start) * scale, 6) for edge in box[axis::2])
            lows.append(max(math.floor(low) + first, first))
            highs.append(min(math.ceil(high) + first, last) - 1)
        (left, top), (right, bottom) = lows, highs
        return (left, top, right, bottom) if left <= right and top <= bottom else None

    def _lay(self, array: np.ndarray, resample: Image.Resampling) -> np.ndarray:
        if self.source == self.size:
            return array.copy()
        left, top, right, bottom = self.place
        shape = (right - left, bottom - top)
        part = Image.fromarray(array).resize(shape, resample, box=self.region)
        out = np.zeros((*self.size, *array.shape[2:]), np.uint8)
        out[top:bottom, left:right] = np.asarray(part)
        return out


def make_fit(source: Size, size: Size, mode: str) -> Fit:
    """Return the way a picture of ``source`` pixels becomes ``size``, (height, width) both.

    'resize' scales height and width each to the size (the aspect may change); 'crop' scales until
    the output is covered and keeps the centre; 'pad' scales until all is inside, centres it and
    leaves the rest black, which counts as ignored.

    Raises:
      ConfigError: if ``mode`` is none of these.
    """
    check_choice(f"--fit={mode}", mode, FITS)
    (height, width), (out_height, out_width) = source, size
    region: Edges = (0, 0, width, height)
    place = (0, 0, out_width, out_height)
    if mode == "crop":
        scale = max(out_height / height, out_width / width)
        # The minimum guards against 64.00000001 of 64 pixels.
        used_height, used_width = min(out_height / scale, height), min(out_width / scale, width)
        left, top = (width - used_width) / 2, (height - used_height) / 2
        region = (left, top, left + used_width, top + used_height)
    elif mode == "pad":
        scale = min(out_height / height, out_width / width)
        new_height = min(max(1, round(height * scale)), out_height)
        new_width = min(max(1, round(width * scale)), out_width)
        x, y = (out_width - new_width) // 2, (out_height - new_height) // 2
        place = (x, y, x + new_width, y + new_height)
    return Fit(source, size, region, place)


def choose_size(side: int, sizes: Sequence[Size]) -> Size:
    """Return the height and width that all images get, multiples of 8.

    ``side`` is that of square images, or 0 to choose by ``sizes``: their median height and width,
    scaled down together until neither is above 512, each rounded to the nearest multiple of 8.
    Images that all have the same size within these limits so stay as they are.
    """
    if side:
        return side, side
    middle = [float(np.median([size[axis] for size in sizes])) for axis in (0, 1)]
    scale = min(1.0, MAX_AUTO_SIDE / max(middle))
    height, width = (max(1, int(side * scale / SIZE_MULTIPLE + 0.5)) for side in middle)
    return SIZE_MULTIPLE * height, SIZE_MULTIPLE * width
