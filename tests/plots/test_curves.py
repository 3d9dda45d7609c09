"""Curves: the rows that were logged, on axes that say what they are."""

import matplotlib as mpl
import numpy as np
import pytest

from segjax import plots
from segjax.errors import ConfigError
from tests.plots.figures import pixels, texts, training_rows


def test_loss_figure_draws_the_rows_and_the_epochs():
    # A step logged again after a resume counts once.
    rows = [*training_rows(12), {"step": 1000, "loss": 400.0}, {"note": "resumed"}]
    figure = plots.loss_figure(rows, title="MSE")
    top = figure.axes[0]
    train = top.get_lines()[0]
    assert train.get_xdata().tolist() == [500 * i for i in range(1, 13)]
    assert train.get_ydata().tolist() == [439.0, 400.0, *(440.0 - i for i in range(3, 13))]
    assert (top.get_xlabel(), top.get_ylabel()) == ("iterations", "loss")
    (above,) = top.child_axes
    assert above.get_xticks().tolist() == [2500, 5000]  # the third epoch is not over
    assert [label.get_text() for label in above.get_xticklabels()] == ["1", "2"]
    # Many epochs' ticks thin out.
    rows = [{"step": 10 * i, "epoch": i, "loss": 1.0, "val_loss": 1.0} for i in range(1, 201)]
    (above,) = plots.loss_figure(rows, title="long").axes[0].child_axes
    assert 6 <= len(above.get_xticks()) <= 12


def test_loss_figure_shows_validation_and_says_when_its_axis_is_logarithmic():
    rows = [{"step": i, "epoch": 1, "loss": 500.0 / i} for i in range(1, 1001)]
    rows += [{"step": 1000, "epoch": 1, "val_loss": 2.0, "val_miou": 0.75, "other": "x"}]
    figure = plots.loss_figure(rows, title="wide")
    top, below = figure.axes[:2]
    assert (top.get_yscale(), top.get_ylabel()) == ("log", "loss (log scale)")
    assert below.get_ylabel() == "validation mIoU"
    assert below.get_lines()[0].get_ydata().tolist() == [0.75]
    assert top.child_axes[0].get_xticks().tolist() == [1000]
    assert "validation" in texts(figure)
    assert top.get_lines()[0].get_marker() == "None"  # a thousand markers would hide the line


@pytest.mark.parametrize("losses", [[], [5.0], [float("nan")], [3.0, float("inf"), 2.0], [0.0, -1]])
def test_loss_figure_of_little_or_broken_data(losses):
    before = dict(mpl.rcParams)
    rows = [{"step": 10 * i, "loss": loss} for i, loss in enumerate(losses, start=1)]
    figure = plots.loss_figure(rows, title="little $ data")
    pixels(figure)
    finite = [loss for loss in losses if np.isfinite(loss)]
    drawn = [y for line in figure.axes[0].get_lines()[:1] for y in line.get_ydata() if finite]
    assert drawn == finite
    assert any("not finite at" in text for text in texts(figure)) == (len(finite) < len(losses))
    assert dict(mpl.rcParams) == before, "global state"


def test_normalised_curves_run_from_one_to_zero_beside_the_raw_ones():
    curves = {"MSE": [440.0, 400.0, 360.0], "Dice": [0.84, 0.75, 0.78], "flat": [2.0, 2.0]}
    figure = plots.normalised_losses_figure(curves, floors={"MSE": 362.2}, steps_per_point=250)
    together, *panels = figure.get_axes()
    assert [line.get_label() for line in together.get_lines()] == list(curves)
    scaled = [line.get_ydata().tolist() for line in together.get_lines()]
    assert scaled[0] == pytest.approx([1, 0.5, 0])
    assert scaled[1] == pytest.approx([1, 0, 1 / 3])
    assert scaled[2] == [0, 0]
    assert together.get_lines()[0].get_xdata().tolist() == [250, 500, 750]
    assert [panel.get_title(loc="left") for panel in panels] == list(curves)
    assert panels[0].get_lines()[0].get_ydata().tolist() == curves["MSE"]
    assert panels[0].texts[0].get_text() == "floor 362.2"
    styles = {(line.get_color(), line.get_linestyle()) for line in together.get_lines()}
    assert len(styles) == 3
    for given, told in ((curves, "floors names no curve: mse"), ({}, "at least one")):
        with pytest.raises(ConfigError, match=told):
            plots.normalised_losses_figure(given, floors={"mse": 1})
