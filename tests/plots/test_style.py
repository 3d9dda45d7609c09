"""Figures are written whole, small, and without losing a class's colour."""

from unittest import mock

import numpy as np
import pytest
from PIL import Image

from segjax import plots
from tests.plots.figures import CLASSES, colour, cut, pixels, scene, training_rows


def test_save_writes_a_small_png_whole_or_not_at_all(tmp_path, monkeypatch):
    images, masks = scene(count=6, height=64, width=64)
    figure = plots.predictions_figure(images, masks, masks * 1.0, **CLASSES)
    path = plots.save(figure, tmp_path / "new" / "predictions.png")
    assert [file.name for file in path.parent.iterdir()] == ["predictions.png"]
    assert path.stat().st_size < 300_000
    with Image.open(path) as picture:
        picture.load()
        assert picture.format == "PNG"
        assert np.array_equal(np.asarray(picture.convert("RGB")), pixels(figure))
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", mock.Mock(side_effect=OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        plots.save(plots.loss_figure(training_rows(9), title="y"), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_palette_keeps_the_class_colours(tmp_path):
    channels = 12
    names = [*map(str, range(11)), "\u661f"]  # in a script that the font lacks: no warning
    classes = {"class_names": names, "class_values": [1] * channels}
    images, masks = scene(count=3, height=128, width=128, class_values=classes["class_values"])
    ramp = np.linspace(0, 255, 128)
    images[..., 0], images[..., 1] = ramp, ramp[:, None]
    images[..., 2] = np.random.default_rng(0).integers(0, 256, images.shape[:3])
    figure = plots.comparison_figure(images, masks, {"a": masks * 1.0}, **classes)
    full = plots.save(figure, tmp_path / "full.png", max_bytes=10**9)
    small = plots.save(figure, tmp_path / "small.png", max_bytes=1000)
    assert small.stat().st_size < 0.6 * full.stat().st_size
    with Image.open(small) as picture:
        assert picture.mode == "P"
        shown = np.asarray(picture.convert("RGB")).astype(int)
    inside = cut(figure, "truth 0", shown)
    assert (0.0, 0.0, 0.0) not in map(plots.class_colour, range(21)), "the background's"
    for channel in range(channels):
        here = np.abs(inside - colour(channel)).max(-1) <= 1
        assert here.sum() >= 0.9 * masks[0, ..., channel].sum(), f"channel {channel} is lost"
