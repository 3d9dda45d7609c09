"""The confusion matrix: shares of a row, in the right place, for any number of classes."""

import numpy as np
import pytest

from segjax import plots
from segjax.errors import ConfigError
from tests.plots import figures

PIXELS = np.array([[60, 30, 10], [2, 97, 1], [0, 0, 0]])


def test_each_cell_is_the_share_of_its_true_class_and_the_worst_mix_up_is_said():
    labels = ["a $x$", "b", "background"]
    figure = plots.confusion_figure(PIXELS, labels=labels, title="title")
    (axes,) = figure.axes
    by_place = {text.get_position(): text.get_text() for text in axes.texts}
    assert by_place[1.5 * 68, 0.5 * 68] == "30.0"
    assert by_place[0.5 * 68, 1.5 * 68] == "2.0"
    texts = [text.get_text() for text in axes.texts]
    assert "Mixed up most: a $x$ read as b, 30.0 %." in texts
    assert texts.count("100") == 2  # the rows' pixels
    assert plots.worst_confusions(PIXELS) == [(0, 1, 0.3), (1, 0, 0.02)]
    faces = axes.collections[0].get_array()
    assert faces[0, 0, 2] > faces[0, 0, 0]  # blue
    assert faces[0, 1, 0] > faces[0, 1, 2]  # orange
    assert faces[2].min() == 1  # no pixel is the background's


@pytest.mark.parametrize("classes", [1, 30])
def test_any_number_of_classes_fits_on_its_page(classes):
    labels = [f"a long name of class {number}" for number in range(classes)] + ["background"]
    figure = plots.confusion_figure(np.eye(classes + 1, dtype=int), labels=labels, title="title")
    sheet = figures.pixels(figure)
    assert (sheet[[0, -1]] == 255).all()
    assert (sheet[:, [0, -1]] == 255).all()
    assert max(sheet.shape) < 2000
    with pytest.raises(ConfigError, match="do not fit"):
        plots.confusion_figure(PIXELS, labels=labels, title="title")
