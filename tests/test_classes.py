"""A class has one colour, wherever it is drawn."""

import numpy as np

from segjax import plots
from segjax.classes import class_colour, class_rgb
from segjax.data.check.contact_sheet import make_tile
from segjax.data.own.samples import Sample


def test_okabe_ito_then_tints_and_shades_in_figures_and_contact_sheets():
    assert class_rgb(0) == (213, 94, 0)
    assert class_colour(7) == (0.45 + 0.55 * (213 / 255), 0.45 + 0.55 * (94 / 255), 0.45)
    assert class_rgb(14) == (117, 52, 0)
    assert len({class_rgb(channel) for channel in range(21)}) == 21
    assert class_rgb(21) == class_rgb(0)
    # Figures and contact sheets agree.
    masks = np.ones((8, 8, 1), np.uint8)
    tile = make_tile(Sample(np.zeros((8, 8, 3), np.uint8), masks), split="train", name="a")
    shown = np.array(tile.overlay)[80, 80] / 0.55
    np.testing.assert_allclose(shown, 255 * np.array(plots.class_colour(0)), atol=2)
