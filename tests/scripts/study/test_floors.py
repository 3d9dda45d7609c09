"""The floors of the report's losses, from the masks alone."""

import pytest

from scripts.study.collect import loss_floor
from segjax.config import Config
from segjax.dlstudio.floors import output_layer_floors


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
