import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from segjax.data.own.resize import FITS, choose_size, make_fit

SIDES = st.integers(8, 70)


def test_halving_averages_images_and_picks_mask_values():
    image = np.zeros((16, 16, 3), np.uint8)
    image[::2] = 200
    how = make_fit((16, 16), (8, 8), "resize")
    # Bilinear with support 2 weighs 1, 3, 3, 1: rows 200, 0, 200, 0 give 100 inside.
    np.testing.assert_array_equal(how.image(image)[1:-1], 100)
    mask = np.repeat(np.arange(16, dtype=np.uint8)[:, None], 16, axis=1)
    assert set(np.unique(how.mask(mask))) <= set(range(16))
    np.testing.assert_array_equal(how.mask(mask)[:, 0], np.arange(8) * 2 + 1)


def test_crop_keeps_centre_and_aspect_and_pad_everything_and_marks_the_rest():
    mask = np.zeros((16, 32), np.uint8)
    mask[:, 8:24] = np.arange(16)
    cropped = make_fit((16, 32), (16, 16), "crop").mask(mask)
    np.testing.assert_array_equal(cropped, np.tile(np.arange(16, dtype=np.uint8), (16, 1)))
    how = make_fit((16, 32), (16, 16), "pad")
    padded = how.mask(np.ones((16, 32), np.uint8))
    expected = np.zeros((16, 16), np.uint8)
    expected[4:12] = 1
    np.testing.assert_array_equal(padded, expected)
    np.testing.assert_array_equal(how.padding(), expected == 0)
    assert how.box((0, 0, 32, 16)) == (0, 4, 15, 11)


def test_boxes_are_scaled_clipped_and_dropped():
    how = make_fit((100, 200), (50, 50), "resize")
    assert how.box((0, 0, 200, 100)) == (0, 0, 49, 49)
    assert how.box((40, 20, 60, 40)) == (10, 10, 14, 19)
    assert how.box((-50, -50, 4, 2)) == (0, 0, 0, 0)
    assert how.box((300, 0, 320, 50)) is None
    crop = make_fit((100, 200), (50, 50), "crop")
    assert crop.box((0, 0, 50, 100)) is None  # left of the part that is kept
    assert crop.box((50, 0, 150, 100)) == (0, 0, 49, 49)


@settings(max_examples=200, deadline=None)
@given(SIDES, SIDES, st.sampled_from(FITS), st.sampled_from([8, 16, 32, 48]), st.data())
def test_a_box_covers_its_resized_mask(height, width, mode, side, data):
    top = data.draw(st.integers(0, height - 1))
    bottom = data.draw(st.integers(top + 1, height))
    left = data.draw(st.integers(0, width - 1))
    right = data.draw(st.integers(left + 1, width))
    mask = np.zeros((height, width), np.uint8)
    mask[top:bottom, left:right] = 1
    how = make_fit((height, width), (side, 16), mode)
    rows, columns = np.nonzero(how.mask(mask))
    box = how.box((left, top, right, bottom))
    if len(rows):
        x1, y1, x2, y2 = box
        assert x1 <= columns.min() <= columns.max() <= x2
        assert y1 <= rows.min() <= rows.max() <= y2
        # At most a pixel of slack on every side.
        assert max(columns.min() - x1, x2 - columns.max()) <= 1


def test_the_size_is_chosen_by_the_median():
    assert choose_size(0, [(64, 64)] * 3) == (64, 64)
    assert choose_size(0, [(60, 100), (70, 90), (500, 300)]) == (72, 104)
    assert choose_size(0, [(3515, 10000)]) == (176, 512)  # 22.496 times 8
    assert choose_size(0, [(3, 3)]) == (8, 8)
    assert choose_size(32, [(3, 3)]) == (32, 32)
