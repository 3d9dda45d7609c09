"""Boundary pixels are where they are drawn; the cores' annotations are checked while tests run."""

import jaxtyping
import numpy as np
import pytest

from segjax.metrics import SCORES, boundary_count, count, scores
from segjax.metrics.masks import boundaries
from tests.metrics.scenes import all_valid, square


def test_boundary_of_a_square_of_a_full_image_and_where_pixels_are_ignored():
    mask = square(2, 3, 4)
    np.testing.assert_array_equal(boundaries(mask, all_valid(mask)), mask & ~square(3, 4, 2))
    full = ~square(0, 0, 0)
    np.testing.assert_array_equal(boundaries(full, all_valid(full)), full & ~square(1, 1, 10))
    # What an ignored pixel decides is left out.
    mask = square(2, 2, 6)
    valid, expected = all_valid(mask), mask & ~square(3, 3, 4)
    valid[0, :, 5:] = False
    expected[0, :, 4:] = False
    np.testing.assert_array_equal(boundaries(mask, valid), expected)


def test_a_core_called_against_its_annotation_is_told_and_users_lists_pass():
    on, ones = np.ones((1, 4, 4, 2), bool), np.ones(3)
    with pytest.raises(jaxtyping.TypeCheckError, match="valid"):
        boundaries(on, on)  # valid has no axis of classes
    for kept in (ones, np.ones(4, bool)):  # kept is no bool, or of another size
        with pytest.raises(jaxtyping.TypeCheckError, match="kept"):
            scores.mean_of(ones, kept, axis=0)
    pred, target = [[[[1], [0]]]], [[[[1], [1]]]]
    assert boundary_count(pred, target).pred_all.tolist() == [[1]]
    counts = count(np.array(pred), np.array(target))
    assert [float(score(counts)[0]) for score in SCORES.values()][:2] == [1 / 2, 2 / 3]
