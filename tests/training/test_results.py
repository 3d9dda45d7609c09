"""The end of a run: what its figures are drawn from."""

import dataclasses

import numpy as np
import pytest

from segjax import plots
from segjax.data.splits import load_splits
from segjax.runs.folder import RunFolder
from segjax.training.program import make_program
from segjax.training.results import draw_figures
from segjax.training.trainer import Trainer
from tests.small_net import MUNET, silent


@pytest.fixture
def drawn(tiny, tmp_path, monkeypatch):
    """Draw the figures of an untrained run; what they are given is returned."""
    given = []
    monkeypatch.setattr(plots, "loss_figure", lambda records, title: None)
    monkeypatch.setattr(plots, "predictions_figure", lambda *_, **keywords: given.append(keywords))
    monkeypatch.setattr(plots, "save", lambda figure, path: None)

    def draw(splits_of=lambda splits: splits, **settings):
        splits = splits_of(load_splits(tiny, say=silent))
        program = make_program(tiny, splits)
        state = program.initial_state(tiny, splits.train.images.shape[1:])
        # The network may be the small one, whatever the settings say then.
        config = tiny.replace(**settings)
        trainer = Trainer(config, splits, program, RunFolder(tmp_path), say=silent)
        draw_figures(trainer, state.variables())
        return given[-1]

    return draw


def test_predictions_are_drawn_without_the_pixels_that_have_no_truth(drawn):
    """Their IoU is of the pixels that count, as the scores' in results.json."""
    ignore = np.zeros((10, 64, 64), bool)
    ignore[:, 20:40] = True
    given = drawn(lambda s: dataclasses.replace(s, test=dataclasses.replace(s.test, ignore=ignore)))
    np.testing.assert_array_equal(given["ignore"], ignore[: len(given["ignore"])])
    assert len(given["ignore"]) == 6


def test_dlstudios_windows_are_for_its_own_head(drawn):
    assert drawn()["decode"] == "half"
    assert drawn(**MUNET)["decode"] == "windows"
