"""Images of any size in pieces that the network takes, and the pieces' outputs back in one."""

import dataclasses
from itertools import product

import numpy as np

from segjax.errors import ConfigError
from segjax.settings import SIZE_MULTIPLE


@dataclasses.dataclass(frozen=True)
class Grid:
    """Where windows of one shape lie on a padded image.

    Attributes:
      size: height and width of the image.
      padded: height and width after padding below and to the right, multiples of 8.
      window: height and width of every window.
      corners: first row and column of each window, row by row.
      overlap: rows or columns over which neighbours blend.
    """

    size: tuple[int, int]
    padded: tuple[int, int]
    window: tuple[int, int]
    corners: list[tuple[int, int]]
    overlap: int

    def pad(self, image: np.ndarray) -> np.ndarray:
        """Mirror the image [H, W, ...] beyond its lower and right edge up to the padded size."""
        grow = [(0, full - side) for full, side in zip(self.padded, self.size, strict=True)]
        return np.pad(image, [*grow, *[(0, 0)] * (image.ndim - 2)], mode="symmetric")

    def cut(self, padded: np.ndarray, corner: tuple[int, int]) -> np.ndarray:
        """Return one window of a padded image."""
        top, left = corner
        return padded[top : top + self.window[0], left : left + self.window[1]]

    def weight(self, corner: tuple[int, int]) -> np.ndarray:
        """Return how much a window counts, float32 [h, w, 1]: less towards its neighbours."""
        rows, columns = (np.ones(side, np.float32) for side in self.window)
        rise = np.arange(1, self.overlap + 1, dtype=np.float32) / (self.overlap + 1)
        for ramp, full, start in zip((rows, columns), self.padded, corner, strict=True):
            if self.overlap and start > 0:
                ramp[: self.overlap] = rise
            if self.overlap and start + len(ramp) < full:
                ramp[-self.overlap :] = np.minimum(ramp[-self.overlap :], rise[::-1])
        return (rows[:, None] * columns)[..., None]


class Blend:
    """The weighted mean of overlapping windows of one image."""

    def __init__(self, grid: Grid, channels: int) -> None:
        self.grid = grid
        self.missing = len(grid.corners)
        self._sum = np.zeros((*grid.padded, channels), np.float32)
        self._weight = np.zeros((*grid.padded, 1), np.float32)

    def add(self, corner: tuple[int, int], window: np.ndarray) -> None:
        """Take in the output [h, w, C] of the window at ``corner``."""
        self.missing -= 1
        weight = self.grid.weight(corner)
        self.grid.cut(self._sum, corner)[...] += weight * window
        self.grid.cut(self._weight, corner)[...] += weight

    def result(self) -> np.ndarray:
        """Return the whole image's output, float32 [H, W, C]."""
        if self.missing:
            raise ValueError(f"{self.missing} windows are missing")
        height, width = self.grid.size
        return (self._sum / self._weight)[:height, :width]


def make_grid(size: tuple[int, int], *, tile: int = 512, overlap: int = 64) -> Grid:
    """Lay windows over an image of ``size``: one where it fits into a tile, else tiles.

    Every window begins at a multiple of 8, so that the network sees the same pixel grid in all.

    Raises ConfigError unless tile and overlap are multiples of 8 and the tile is more than twice
    the overlap.
    """
    if tile < SIZE_MULTIPLE or tile % SIZE_MULTIPLE:
        raise ConfigError(f"--tile={tile}: must be a multiple of {SIZE_MULTIPLE}")
    if overlap < 0 or overlap % SIZE_MULTIPLE or 2 * overlap >= tile:
        below = f"a multiple of {SIZE_MULTIPLE} below half of --tile={tile}"
        raise ConfigError(f"--overlap={overlap}: must be {below}")
    height, width = (-(-side // SIZE_MULTIPLE) * SIZE_MULTIPLE for side in size)
    window = min(height, tile), min(width, tile)
    tops, lefts = (
        (*range(0, full - side, tile - overlap), full - side)
        for full, side in zip((height, width), window, strict=True)
    )
    return Grid(size, (height, width), window, list(product(tops, lefts)), overlap)
