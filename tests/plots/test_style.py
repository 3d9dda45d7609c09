"""Colours of classes."""

from segjax import plots


def test_class_colours_differ():
    colours = {plots.class_colour(i) for i in range(21)}
    assert len(colours) == 21
    assert (0.0, 0.0, 0.0) not in colours
