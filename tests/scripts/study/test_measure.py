"""What is measured of a run beyond its results, and gathered of all runs."""

import numpy as np
import pytest

from scripts.study.collect import balance, curve, loss_floor
from scripts.study.execute import clock
from scripts.study.figures import largest_object
from scripts.study.measure import outputs, plant_red, rounded
from segjax.classes import DLSTUDIO_WINDOWS
from segjax.config import Config
from segjax.dlstudio.floors import output_layer_floors


def test_planted_red_touches_other_shapes_only(scenes):
    disk = scenes.class_names.index("disk")
    planted = plant_red(scenes.images, scenes.masks, disk=disk, seed=0)
    on = scenes.masks > 0
    others = np.delete(on, disk, axis=-1).any(-1) & ~on[..., disk]
    assert (planted[~others] == scenes.images[~others]).all()
    assert (planted[others][:, 1:] == scenes.images[others][:, 1:]).all()
    assert np.isin(planted[others][:, 0], range(5, 12)).all()


def test_outputs_are_measured_where_they_are_computed(scenes):
    masks = scenes.masks
    even = np.zeros(masks.shape[1:3], bool)
    even[::2, ::2] = True
    values = np.where(even[..., None], 1.5 * masks, 7.0)
    found = outputs(values, scenes, head="dlstudio")
    assert found["amplitude_all"] == pytest.approx(1.5)
    assert found["constant_range"] == [0.0] * 5
    inside = [float(low < 1.5 * value < high) for value, (low, high) in DLSTUDIO_WINDOWS.items()]
    assert found["windows"] == [[0.0, at, 1.0 - at] for at in inside]
    assert set(inside) == {0.0, 1.0}
    low = outputs(np.where(even[..., None], 0.1 * masks, 7.0), scenes, head="dlstudio")
    assert low["windows"] == [[1.0, 0.0, 0.0]] * 5
    dense = outputs(values, scenes, head="dense")
    assert dense["constant_range"] == []
    assert dense["amplitude_all"] < 1.5


def test_the_largest_object_short_numbers_and_short_curves(scenes):
    index, channel, (x1, y1, x2, y2) = largest_object(scenes)
    boxes = zip(scenes.box_image, scenes.box_class, scenes.boxes, strict=True)
    found = [scenes.masks[n, y : b + 1, x : r + 1, c] for n, c, (x, y, r, b) in boxes]
    largest = scenes.masks[index, y1 : y2 + 1, x1 : x2 + 1, channel]
    assert np.count_nonzero(largest) == max(map(np.count_nonzero, found))
    short = {"a": [1.23457, None, 2], "b": "x"}
    assert rounded({"a": [1.23456789, float("nan"), 2], "b": "x"}) == short
    written = ["20 s", "2 min", "1 h 30 min", "2 h 01 min"]
    assert [clock(seconds) for seconds in (20, 100, 5400, 7260)] == written
    # A curve of many points is means of neighbours, and of whole steps.
    means = [(10, 1.0, 10), (20, 2.0, 10), (30, 3.0, 10), (40, 4.0, 30)]
    records = [dict(zip(("step", "loss", "mean_over"), mean, strict=True)) for mean in means]
    assert curve(records, points=2) == {"step": [20, 40], "loss": [1.5, 3.75]}


def test_balance_counts_pixels_objects_and_images(scenes):
    found = balance(scenes)
    on = scenes.masks > 0
    assert found["pixels"] == pytest.approx([on[..., c].sum() / (8 * 64 * 64) for c in range(5)])
    assert found["objects"] == [int((scenes.box_class == c).sum()) for c in range(5)]
    assert found["foreground"] == pytest.approx(on.any(-1).sum() / (8 * 64 * 64))
    assert found["overlapping_images"] == sum((on[n].sum(-1) > 1).any() for n in range(8)) / 8


def test_a_runs_floor_is_that_of_its_batches(scenes):
    masks, faithful = scenes.masks, Config(loss="dice")
    assert 0.3 < loss_floor(faithful, masks) < output_layer_floors(masks).dice + 0.01
    for other in (faithful.replace(head="dense"), Config(loss="bce")):
        assert loss_floor(other, masks) is None


def test_committed_floors_are_those_of_the_files(committed):
    facts = committed["floors"]["all training images"]
    if facts["images"] != 10000:
        pytest.skip("drawn images")
    mses = (facts["mse"], facts["mse_all_zero"], committed["floors"]["test images"]["mse"])
    assert mses == pytest.approx((362.2, 494.6, 366.1), rel=0, abs=0.05)
    assert facts["dice"] == pytest.approx(0.483, abs=0.0005)
