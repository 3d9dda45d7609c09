"""Pictures: the right pixels in the right colours, and readable labels."""

import numpy as np
import pytest

from segjax import plots
from segjax.errors import ConfigError
from tests.plots import figures
from tests.plots.figures import CLASSES, TRIANGLE, cell, colour, pixels, scene, texts

IMAGES, MASKS = scene()


def test_every_pixel_of_a_perfect_prediction_has_its_class_colour():
    figure = plots.predictions_figure(IMAGES, MASKS, MASKS.astype(np.float32), **CLASSES)
    expected = np.zeros((16, 16, 3), int)
    for channel in range(5):
        expected[MASKS[1, ..., channel] > 0] = colour(channel)
    for label in ("truth 1", "prediction 1"):
        assert np.abs(cell(figure, label, (16, 16)) - expected).max() <= 1
    assert texts(figure).count("mean IoU 1.00") == 2
    assert texts(figure).count("IoU 1.00") == 10


def test_one_dot_in_four_stays_a_square_of_whole_screen_pixels():
    images, masks = scene(count=1, height=64, width=64)
    values = np.zeros(masks.shape)
    values[:, ::2, ::2] = masks[:, ::2, ::2]
    figure = plots.predictions_figure(images, masks, values, **CLASSES)
    box = figures.axes_of(figure, "prediction 0").get_window_extent()
    assert (box.width, box.height) == pytest.approx((192, 192))
    blocks = figures.cut(figure, "prediction 0", pixels(figure)).reshape(64, 3, 64, 3, 3)
    assert np.ptp(blocks, axis=(1, 3)).max() == 0
    lit = blocks[:, 0, :, 0].sum(-1) > 0
    assert np.array_equal(lit, values[0].max(-1) > 0)


def test_boxes_frame_their_object_and_ignored_pixels_are_painted_so_and_do_not_count():
    images, masks = scene(count=1, class_values=[100])
    values = masks.astype(float)
    values[0, 12:] = 100  # wrong, but ignored
    ignore = np.zeros((1, 16, 16), bool)
    ignore[0, 12:] = True
    more = {"ignore": ignore, "boxes": [[(0, (2, 3, 9, 12))]]}
    figure = plots.predictions_figure(images, masks, values, **more, **TRIANGLE)
    (frame,) = figures.axes_of(figure, "input 0").patches
    assert frame.get_bbox().bounds == (1.5, 2.5, 8, 10)
    assert np.allclose(frame.get_edgecolor()[:3], plots.class_colour(0))
    assert any("boxes" in text for text in texts(figure))
    assert {"IoU 1.00", "ignored"} <= set(texts(figure))
    assert len(np.unique(cell(figure, "prediction 0", (16, 16))[12:].reshape(-1, 3), axis=0)) == 1
    assert "IoU 1.00" not in texts(plots.predictions_figure(images, masks, values, **TRIANGLE))
    # IoU is what the dots give and is over the classes that are there.
    values = np.zeros(masks.shape)
    values[:, 2:5] = masks[:, 2:5]  # three of the six rows
    figure = plots.predictions_figure(images, masks, values, **TRIANGLE)
    assert {"IoU 0.50", "mean IoU 0.50"} <= set(texts(figure))
    none = plots.predictions_figure(images, np.zeros_like(masks), 0 * values, **TRIANGLE)
    assert {"in neither", "nothing there"} <= set(texts(none))


def test_windows_turn_away_a_value_that_is_too_high_and_low_ones_are_dim():
    images, masks = scene(count=1)
    twice = masks * 1.93
    half = plots.predictions_figure(images, masks, twice, **CLASSES)
    windows = plots.predictions_figure(images, masks, twice, decode="windows", **CLASSES)
    assert texts(half).count("IoU 1.00") == 5
    assert texts(windows).count("IoU 1.00") == 1  # the star's window has no top
    assert texts(windows).count("IoU 0.00") == 4
    disk = masks[0, ..., 2] > 0
    inner = disk & np.roll(disk, 1, 0) & np.roll(disk, -1, 0)  # off the outline
    inner &= np.roll(disk, 1, 1) | np.roll(disk, -1, 1)
    full, pale = (cell(one, "class 2 image 0", (16, 16))[inner] for one in (half, windows))
    assert np.abs(full - colour(2)).max() <= 1
    assert pale.min() > full.min() + 100
    # Values below the threshold are ranked by their share of their class.
    values = np.zeros(masks.shape)
    values[..., 0], values[..., 4] = 20, 60  # shares 0.4 and 0.24 of their classes
    figure = plots.predictions_figure(images, masks, values, **CLASSES)
    shown = cell(figure, "prediction 0", (16, 16))
    assert np.abs(shown - 0.45 * 0.8 * colour(0)).max() <= 1.5


def test_overlapping_truth_and_missing_numbers_say_so():
    images, masks = scene(count=1)
    masks[0, 10:12, :4, :2] = [50, 100]
    values = masks.astype(float)
    values[0, 14:] = np.nan
    values[0, 0, 0] = np.inf
    figure = plots.predictions_figure(images, masks, values, **CLASSES)
    assert {"truth overlaps", "not a number"} <= set(texts(figure))
    assert cell(figure, "truth 0", (16, 16))[10:12, :4].min() == 255
    missing = cell(figure, "prediction 0", (16, 16))[14:]
    assert missing.min() == missing.max() == 158


@pytest.mark.parametrize(
    ("height", "width", "channels", "count"),
    [(64, 64, 5, 1), (16, 48, 1, 7), (48, 16, 12, 2), (500, 300, 3, 1), (8, 8, 25, 2)],
)
def test_any_size_and_number_of_classes_fits_on_its_page(height, width, channels, count):
    values = [1] * channels
    images, masks = scene(count, height, width, values)
    names = [f"class $_$ {i} with a rather long name" for i in range(channels)]
    names[0] = "_underscored"
    classes = {"class_names": names, "class_values": values}
    figure = plots.predictions_figure(images, masks, masks * 0.9, **classes)
    page = pixels(figure)
    for part in (*figure.texts, *figure.legends, *figure.axes):
        box = part.get_window_extent(figure.canvas.get_renderer())
        assert min(box.x0, box.y0) >= 0
        assert box.x1 <= page.shape[1]
        assert box.y1 <= page.shape[0]
    assert len([a for a in figure.axes if a.get_label().startswith("truth")]) == min(count, 6)
    assert len(figure.axes) == min(count, 6) * (3 + min(channels, 12))
    assert "_underscored" in texts(figure)
    assert any("13 smaller classes" in text for text in texts(figure)) == (channels == 25)


def test_comparison_shows_each_model_in_its_column():
    images, masks = scene(count=3)
    models = {"perfect": masks.astype(float), "nothing": np.zeros(masks.shape)}
    figure = plots.comparison_figure(images, masks, models, **CLASSES, max_images=2)
    pair = (cell(figure, label, (16, 16)) for label in ("perfect image 1", "truth 1"))
    assert np.array_equal(*pair)
    assert cell(figure, "nothing image 1", (16, 16)).max() == 0
    assert texts(figure).count("mean IoU 1.00") == texts(figure).count("mean IoU 0.00") == 2
    assert {"perfect", "nothing", "input", "truth", "image 2", *figures.NAMES} <= set(texts(figure))


def test_what_does_not_fit_is_named():
    for change, message in (
        ({"class_values": [1] * 5, "decode": "windows"}, "no value window for class value 1"),
        ({"decode": "thirds"}, "'half' or 'windows'"),
        ({"class_names": ["one"]}, "1 class names"),
        ({"boxes": [[]]}, "boxes are given for 1 of 2"),
        ({"masks": MASKS[:1], "values": MASKS[:1]}, "do not fit images"),
        ({"images": IMAGES[:0], "masks": MASKS[:0], "values": MASKS[:0]}, "N > 0"),
        ({"models": {"a": MASKS[..., :1]}}, "values of a"),
        ({"models": {}}, "at least one model"),
    ):
        draw, outputs = plots.predictions_figure, {"values": MASKS * 1.0}
        if "models" in change:
            draw, outputs = plots.comparison_figure, {}
        with pytest.raises(ConfigError, match=message):
            draw(**({"images": IMAGES, "masks": MASKS, **outputs, **CLASSES} | change))


def test_images_have_their_own_names_and_no_class_needs_a_row():
    named = {"names": ["a $b$.png", "c.png"], "max_classes": 0}
    figure = plots.predictions_figure(IMAGES, MASKS, MASKS.astype(float), **named, **CLASSES)
    assert set(named["names"]) <= set(texts(figure))
    assert not [axes for axes in figure.axes if axes.get_label().startswith("class")]
    assert not [text for text in texts(figure) if "no row" in text or "outline" in text]
