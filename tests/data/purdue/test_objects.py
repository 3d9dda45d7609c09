"""Drawn scenes are taken apart into the objects they are made of."""

import numpy as np

from segjax.data import synthetic
from segjax.data.purdue.objects import objects_of


def test_objects_are_what_their_scenes_are_made_of():
    data = synthetic(200, seed=3)
    objects, masks = objects_of(data), np.zeros(data.masks.shape, bool)
    assert sum(o.seen.sum() for o in objects) == data.images.any(-1).sum()
    for label, at, whole, seen, others in objects:
        assert not (seen & (others | ~whole)).any()
        masks[(*at, label)] |= whole
    np.testing.assert_array_equal(masks, data.masks > 0)
    assert 0 < sum(o.entire() for o in objects) < len(objects) == len(data.boxes)
    assert len({str(o.at) for o in objects}) == len(objects)  # each has a tile of its own
