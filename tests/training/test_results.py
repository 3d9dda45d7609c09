"""The end of a run: what its figures are drawn from."""

import dataclasses

import numpy as np

from segjax import plots
from segjax.training.results import draw_figures
from tests.small_net import MUNET, built


def test_predictions_are_drawn_without_the_pixels_that_have_no_truth(tiny, monkeypatch):
    """Their IoU is of the pixels that count, as the scores' in results.json."""
    given = []
    monkeypatch.setattr(plots, "loss_figure", lambda records, title: None)
    monkeypatch.setattr(plots, "predictions_figure", lambda *_, **keywords: given.append(keywords))
    monkeypatch.setattr(plots, "save", lambda figure, path: None)
    trainer, state = built(tiny)
    ignore = np.zeros((10, 64, 64), bool)
    ignore[:, 20:40] = True
    test = dataclasses.replace(trainer.splits.test, ignore=ignore)
    trainer.splits = dataclasses.replace(trainer.splits, test=test)
    draw_figures(trainer, state.variables())
    np.testing.assert_array_equal(given[-1]["ignore"], ignore[:6])
    assert given[-1]["names"] == [f"image {index}" for index in range(6)]
    # DLStudio's windows are for its own head. The network is the small one, whatever is said.
    trainer.config = tiny.replace(**MUNET)
    draw_figures(trainer, state.variables())
    assert [keywords["decode"] for keywords in given] == ["half", "windows"]
