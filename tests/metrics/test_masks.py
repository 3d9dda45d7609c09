"""Boundary pixels are where they are drawn."""

import numpy as np

from segjax.metrics.masks import boundaries
from tests.metrics.scenes import all_valid, square


def test_boundary_of_a_square_and_of_a_full_image():
    mask = square(2, 3, 4)
    inner = square(3, 4, 2)
    np.testing.assert_array_equal(boundaries(mask, all_valid(mask)), mask & ~inner)
    full = ~square(0, 0, 0)
    edge = full & ~square(1, 1, 10)
    np.testing.assert_array_equal(boundaries(full, all_valid(full)), edge)


def test_boundary_leaves_out_what_an_ignored_pixel_decides():
    mask = square(2, 2, 6)
    valid = all_valid(mask)
    valid[0, :, 5:] = False
    expected = mask & ~square(3, 3, 4)
    expected[0, :, 4:] = False
    np.testing.assert_array_equal(boundaries(mask, valid), expected)
