"""The floors of the report's losses, from the masks alone."""

import numpy as np
import pytest

from scripts.study.collect import Reach, loss_floor, reach_of
from segjax.config import Config
from segjax.dlstudio.floors import output_layer_floors


def test_joint_floor_lies_under_every_sampled_output_and_single_ones_are_the_layers(scenes):
    masks, rng = scenes.masks, np.random.default_rng(0)
    known, reach = output_layer_floors(masks), reach_of(masks)
    floor, amplitude = reach.best(mse=1.0, dice=400.0)
    target = masks.astype(float)
    even = np.zeros(masks.shape[1:3], bool)
    even[::2, ::2] = True

    def loss(outputs):
        mse = np.mean((outputs - target) ** 2)
        dice = 1 - 2 * (outputs * target).sum() / ((outputs**2).sum() + (target**2).sum())
        return mse + 400 * dice

    best = np.where(even[..., None], target, target[:, ~even].mean((0, 1))) * amplitude
    assert loss(best) == pytest.approx(floor, rel=1e-9)
    for _ in range(20):
        nudge = np.where(even[..., None], rng.normal(0, 3, target.shape), rng.normal(0, 1, 5))
        assert loss(best + nudge) > floor
    assert reach.best(mse=1.0, dice=0.0) == pytest.approx((known.mse, 1.0))
    assert reach.best(mse=0.0, dice=1.0) == pytest.approx((known.dice, known.dice_amplitude))
    reach = Reach(energy=4.0, lowest=3.0)
    assert reach.loss(2.0, mse=0.0, dice=1.0) == pytest.approx(0.5)
    assert reach.best(mse=0.0, dice=1.0) == pytest.approx((0.5, 2.0))
    faithful = Config(loss="dice")
    assert 0.3 < loss_floor(faithful, masks) < known.dice + 0.01
    for other in (faithful.replace(head="dense"), Config(loss="bce")):
        assert loss_floor(other, masks) is None


def test_committed_floors_are_those_of_the_files(committed):
    facts = committed["floors"]["all training images"]
    if facts["images"] != 10000:
        pytest.skip("drawn images")
    mses = (facts["mse"], facts["mse_all_zero"], committed["floors"]["test images"]["mse"])
    assert mses == pytest.approx((362.2, 494.6, 366.1), rel=0, abs=0.05)
    assert facts["dice"] == pytest.approx(0.483, abs=0.0005)
