"""Tiles: they cover every pixel, sit on the network's grid and blend without a seam."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segjax.errors import ConfigError
from segjax.predict.tiling import Blend, make_grid

SIDES = st.integers(1, 150)


@settings(deadline=None, max_examples=60)
@given(SIDES, SIDES, st.sampled_from([(16, 0), (24, 8), (40, 16), (512, 64)]))
def test_what_does_not_depend_on_neighbours_comes_back_whole(height, width, tiling):
    image = np.random.default_rng(height).normal(size=(height, width, 2)).astype(np.float32)
    grid = make_grid((height, width), tile=tiling[0], overlap=tiling[1])
    padded, blend = grid.pad(image), Blend(grid, 2)
    for corner in grid.corners:
        window = grid.cut(padded, corner)
        assert window.shape[:2] == grid.window
        assert not any(start % 8 for start in (*corner, *grid.window))
        blend.add(corner, window)
    np.testing.assert_allclose(blend.result(), image, atol=1e-6)


def test_neighbours_fade_into_each_other():
    grid = make_grid((16, 32), tile=24, overlap=8)
    blend = Blend(grid, 1)
    for corner in grid.corners:
        blend.add(corner, np.full((*grid.window, 1), float(corner[1] > 0), np.float32))
    row = blend.result()[0, :, 0]
    assert (row[7], row[24]) == (0, 1)
    assert (np.diff(row[7:25]) > 0).all()
    assert np.abs(np.diff(row)).max() < 0.11, "no step at a seam"
    # A small image is one window and mirrored beyond its edge.
    grid = make_grid((13, 8), tile=64, overlap=16)
    assert (grid.window, grid.corners) == ((16, 8), [(0, 0)])
    image = np.arange(13)[:, None] + np.zeros((13, 8), int)
    assert grid.pad(image)[:, 0].tolist() == [*range(13), 12, 11, 10]


@pytest.mark.parametrize(("tile", "overlap"), [(60, 8), (0, 0), (64, 12), (64, 32), (64, -8)])
def test_tiles_off_the_grid_are_refused(tile, overlap):
    with pytest.raises(ConfigError, match=r"^--(tile|overlap)=.*multiple of 8"):
        make_grid((100, 100), tile=tile, overlap=overlap)
