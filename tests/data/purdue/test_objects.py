"""Scenes are taken apart into the objects they are made of, and made of those of others."""

import numpy as np
from scipy.spatial import Delaunay

from segjax.data import composed, synthetic
from segjax.data.purdue.objects import Object, objects_of
from segjax.errors import ConfigError
from tests.data.data_files import fails


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


def test_scenes_are_composed_of_the_silhouettes_of_others():
    def places(ds):
        found = {}
        for o in filter(Object.entire, objects_of(ds)):
            rows, columns = (np.flatnonzero(o.whole.any(axis)) for axis in (1, 0))
            cut = o.whole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            ends = np.array([rows[[0, -1]], columns[[0, -1]]])
            found.setdefault((o.label, cut.shape, cut.tobytes()), []).append(ends)
        return found

    data = synthetic(150, seed=3)
    scenes, theirs, moves = composed(data, 400), places(data), []
    for cut, ends in places(scenes).items():
        if len(source := theirs.get(cut, ())) == 1:  # else it was hidden in part, or is not alone
            moves += [(here, (here - source)[0, :, 0]) for here in ends]
    # An object of the middle may fit another tile, half a tile away.
    moves = [(here, move) for here, move in moves if (abs(move) <= 4).all()]
    assert len(moves) > 400
    assert {m for _, move in moves for m in move} == set(range(-4, 5))
    for here, move in moves:
        for ends in (here, here - move[:, None]):
            assert not move[(ends[:, 0] == 0) | (ends[:, 1] == 31)].any()
    np.testing.assert_array_equal(composed(data, 9).images, scenes.images[:9])
    assert not np.array_equal(composed(data, 9, seed=1).images, scenes.images[:9])
    # Of triangles that overlap only a part is known, which is seldom convex.
    scenes = composed(synthetic(150, seed=1, class_probs=[0.05, 0.8, 0.05, 0.05, 0.05]), 600)
    alone = np.bincount(scenes.box_image[scenes.box_class == 1], minlength=600) == 1
    for mask in scenes.masks[alone, ..., 1][:100]:
        inside = Delaunay(np.argwhere(mask)).find_simplex(np.argwhere(mask == mask)) >= 0
        assert inside.sum() == (mask > 0).sum()
    red = scenes.images[scenes.masks[..., 2] > 0][:, 0]
    assert (red > 11).mean() > 0.8
    for wrong in (data[:1], synthetic(30, image_size=128)):
        fails(ConfigError, "that show each of the classes rectangle", composed, wrong, 5)
