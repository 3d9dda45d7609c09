"""Silhouettes of the five shapes in a square tile, many at a time.

Ranges and drawing rules were fitted to the silhouettes of the real training file, in a tile of
32 pixels; ``scale`` stretches them for larger tiles. All angles turn counter-clockwise on screen.
"""

from collections.abc import Callable

import numpy as np

TILE = 32
CORNERS = ((0, 0), (2, 0), (0, 2), (2, 2), (1, 1))  # of the tiles, x and y in halves of a tile

Rng = np.random.Generator
Drawer = Callable[[Rng, int, int], np.ndarray]


def _grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x [1, 1, side] and y [1, side, 1] of the pixels, float32."""
    axis = np.arange(side, dtype=np.float32)
    return axis[None, None, :], axis[None, :, None]


def _column(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float32)[:, None, None]


def _accepted(draw: Callable[[int], np.ndarray], count: int) -> np.ndarray:
    """Collect ``count`` rows from a drawer that returns only what a rule accepts."""
    rows = draw(count)
    while len(rows) < count:
        rows = np.concatenate([rows, draw(count)])
    return rows[:count]


def draw_disks(rng: Rng, count: int, tile: int) -> tuple[np.ndarray, np.ndarray]:
    """Return disks, bool [count, tile, tile], and their radii in pixels, int [count].

    Radius 5..11 and centre are uniform over all disks that keep one pixel to the tile's upper and
    left borders and pass the lower and right ones by at most one.
    """
    scale = tile // TILE

    def draw(size: int) -> np.ndarray:
        radius = rng.integers(5 * scale, 11 * scale, size, endpoint=True)
        centre = rng.integers(0, tile, (size, 2), endpoint=True)
        low = (centre - radius[:, None]).min(axis=1) >= scale
        high = (centre + radius[:, None]).max(axis=1) <= tile
        return np.column_stack([centre, radius])[low & high]

    cx, cy, radius = _accepted(draw, count).T
    x, y = _grid(tile)
    reach = _column(radius + 0.66)  # reproduces the real disks of all seven radii pixel by pixel
    return (x - _column(cx)) ** 2 + (y - _column(cy)) ** 2 <= reach**2, radius


def draw_triangles(rng: Rng, count: int, tile: int) -> np.ndarray:
    """Return triangles, bool [count, tile, tile]: sides above 20, angles of 75 at most."""
    scale = tile // TILE

    def draw(size: int) -> np.ndarray:
        # About one triple in a hundred passes.
        corners = rng.integers(0, tile, (64 * size + 64, 3, 2))
        sides = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1)
        sides.sort(axis=1)
        keep = sides[:, 0] >= 20.4 * scale
        corners, sides = corners[keep], sides[keep]
        a, b, c = sides.T
        return corners[(a * a + b * b - c * c) / (2 * a * b) >= np.cos(np.radians(75))]

    corners = _accepted(draw, count).astype(np.float32)
    x, y = _grid(tile)
    inside = np.ones((count, tile, tile), bool)
    (ax, ay), (bx, by) = ((corners[:, i] - corners[:, 0]).T for i in (1, 2))
    turn = np.sign(ax * by - ay * bx)
    for i in range(3):
        start, edge = corners[:, i], corners[:, (i + 1) % 3] - corners[:, i]
        edge *= (turn / np.linalg.norm(edge, axis=1))[:, None]
        distance = _column(edge[:, 0]) * (y - _column(start[:, 1]))
        distance = distance - _column(edge[:, 1]) * (x - _column(start[:, 0]))
        inside &= distance >= -0.5  # the outline is drawn too
    return inside


def draw_stars(rng: Rng, count: int, tile: int) -> np.ndarray:
    """Return five-pointed stars, bool [count, tile, tile], cut off at the upper left borders."""
    scale = tile // TILE
    radius = rng.uniform(5.6, 11.3, count) * scale
    cx = radius + rng.uniform(-2.6, 8.2, count) * scale
    cy = radius + rng.uniform(-5.0, 10.7, count) * scale
    phase = np.radians(rng.uniform(-35.0, 10.0, count))
    x, y = _grid(tile)
    dx, dy = x - _column(cx), _column(cy) - y
    sector = np.float32(2 * np.pi / 5)
    angle = np.mod(np.arctan2(dy, dx) - _column(phase), sector)
    angle = np.minimum(angle, sector - angle)  # from the nearest point's axis, 0..36 degrees
    reach = np.hypot(dx, dy)
    along, across = reach * np.cos(angle), reach * np.sin(angle)
    # The edge from a point at (R, 0) to a notch at 0.382 R and 36 degrees: the pentagram's.
    notch = 0.382 * np.array([np.cos(sector / 2), np.sin(sector / 2)])
    return (_column(radius) - along) * notch[1] >= across * (1 - notch[0])


def draw_rectangles(rng: Rng, count: int, tile: int) -> np.ndarray:
    """Return rectangles turned by 0..45 degrees, bool [count, tile, tile], with pinholes."""
    scale = tile // TILE
    width, height = rng.uniform(1.5, 24.5, (2, count)) * scale
    return _turned(rng, width, height, (18.8, 12.2, 10.5), 2.0, tile, rounded=False)


def draw_ovals(rng: Rng, count: int, tile: int) -> np.ndarray:
    """Return bars with round ends turned by 0..45 degrees, bool [count, tile, tile]."""
    scale = tile // TILE
    long = 2.0 * rng.integers(5, 11, count, endpoint=True) + 1
    short = 2.0 * rng.integers(1, 6, count, endpoint=True) + 1
    upright = rng.random(count) < 0.5
    width = np.where(upright, short, long) * scale
    height = np.where(upright, long, short) * scale
    return _turned(rng, width, height, (20.2, 10.7, 9.0), 1.4, tile, rounded=True)


def _turned(
    rng: Rng,
    width: np.ndarray,
    height: np.ndarray,
    place: tuple[float, float, float],
    power: float,
    tile: int,
    *,
    rounded: bool,
) -> np.ndarray:
    """Turn filled shapes by sending each pixel to its rounded new place, as the original did.

    Two pixels may land on one and none on another: these are the pinholes of the real data.
    """
    count, scale = len(width), tile // TILE
    middle_x, middle_y, spread = place
    # At least the centre stays inside the tile, so no object vanishes.
    cx, cy = (
        np.clip(middle + spread * (rng.random(count) - rng.random(count)), 1, TILE - 2) * scale
        for middle in (middle_x, middle_y)
    )
    # Small angles are more frequent in the real data, which its share of pinholes shows too.
    angle = np.radians(np.floor(46 * rng.random(count) ** power))

    dx, dy = (axis - tile // 2 for axis in _grid(tile + 1))
    # Half-integer centres give even sides.
    columns, rows = np.round(width).astype(int), np.round(height).astype(int)
    shift_x, shift_y = 0.5 * (columns % 2 == 0), 0.5 * (rows % 2 == 0)
    x, y = dx + _column(shift_x), dy + _column(shift_y)
    half_x, half_y = _column(columns / 2), _column(rows / 2)
    filled = (np.abs(x) < half_x) & (np.abs(y) < half_y)
    if rounded:
        cap = np.minimum(half_x, half_y)
        over_x = np.maximum(np.abs(x) - (half_x - cap), 0)
        over_y = np.maximum(np.abs(y) - (half_y - cap), 0)
        filled &= np.hypot(over_x, over_y) <= cap

    which, row, column = np.nonzero(filled)
    px = column - np.float32(tile // 2) + shift_x[which]
    py = row - np.float32(tile // 2) + shift_y[which]
    cos, sin = np.cos(angle)[which], np.sin(angle)[which]
    to_x = np.floor(np.round(cx)[which] + px * cos + py * sin + 0.5).astype(int)
    to_y = np.floor(np.round(cy)[which] - px * sin + py * cos + 0.5).astype(int)
    inside = (to_x >= 0) & (to_x < tile) & (to_y >= 0) & (to_y < tile)
    out = np.zeros((count, tile, tile), bool)
    out[which[inside], to_y[inside], to_x[inside]] = True
    # A pinhole may fall on the centre of an object of which little else is inside.
    empty = np.flatnonzero(~out.any(axis=(1, 2)))
    out[empty, np.round(cy[empty]).astype(int), np.round(cx[empty]).astype(int)] = True
    return out


# Disks have a drawer of their own, which tells their radii, too.
DRAWERS: dict[str, Drawer] = {
    "rectangle": draw_rectangles,
    "triangle": draw_triangles,
    "oval": draw_ovals,
    "star": draw_stars,
}
