"""The end of a run: what its figures are drawn from."""

import dataclasses

import numpy as np
import pytest

from segjax import plots
from segjax.training.results import draw_figures
from tests.small_net import MUNET, built


@pytest.fixture
def drawn(tiny, monkeypatch):
    """Draw the figures of an untrained run; what they are given is returned."""
    given = []
    monkeypatch.setattr(plots, "loss_figure", lambda records, title: None)
    monkeypatch.setattr(plots, "predictions_figure", lambda *_, **keywords: given.append(keywords))
    monkeypatch.setattr(plots, "save", lambda figure, path: None)
    trainer, state = built(tiny)

    def draw(**settings):
        # The network is the small one, whatever the settings say.
        trainer.config = tiny.replace(**settings)
        draw_figures(trainer, state.variables())
        return given[-1]

    return trainer, draw


def test_predictions_are_drawn_without_the_pixels_that_have_no_truth(drawn):
    """Their IoU is of the pixels that count, as the scores' in results.json."""
    trainer, draw = drawn
    ignore = np.zeros((10, 64, 64), bool)
    ignore[:, 20:40] = True
    test = dataclasses.replace(trainer.splits.test, ignore=ignore)
    trainer.splits = dataclasses.replace(trainer.splits, test=test)
    given = draw()
    np.testing.assert_array_equal(given["ignore"], ignore[:6])
    # DLStudio's windows are for its own head.
    assert given["decode"] == "half"
    assert draw(**MUNET)["decode"] == "windows"
