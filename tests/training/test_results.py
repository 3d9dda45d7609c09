"""The end of a run: what its figures are drawn from."""

import dataclasses

import numpy as np

from segjax import plots
from segjax.data.splits import load_splits
from segjax.runs.folder import RunFolder
from segjax.training.program import make_program
from segjax.training.results import draw_figures
from segjax.training.trainer import Trainer
from tests.small_net import SMALL


def test_predictions_are_drawn_without_the_pixels_that_have_no_truth(tiny, tmp_path, monkeypatch):
    """Their IoU is of the pixels that count, as the scores' in results.json."""
    config = tiny.replace(**SMALL)
    splits = load_splits(config, say=lambda _: None)
    ignore = np.zeros(splits.test.masks.shape[:3], bool)
    ignore[:, 20:40] = True
    splits = dataclasses.replace(splits, test=dataclasses.replace(splits.test, ignore=ignore))
    program = make_program(config, splits)
    trainer = Trainer(config, splits, program, RunFolder(tmp_path), say=lambda _: None)
    drawn = []
    monkeypatch.setattr(plots, "loss_figure", lambda records, title: None)
    monkeypatch.setattr(plots, "predictions_figure", lambda *_, **given: drawn.append(given))
    monkeypatch.setattr(plots, "save", lambda figure, path: None)
    state = program.initial_state(config, splits.train.images.shape[1:])
    draw_figures(trainer, state.variables())
    (given,) = drawn
    np.testing.assert_array_equal(given["ignore"], ignore[: len(given["ignore"])])
    assert len(given["ignore"]) == 6
