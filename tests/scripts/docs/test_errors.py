"""Planted errors are told apart by kind, objects read by silhouettes."""

from collections import Counter

import numpy as np
from scipy import ndimage

from scripts.docs import errors
from segjax.data import synthetic
from segjax.data.purdue.objects import objects_of


def test_planted_errors_are_told_apart_by_kind():
    data = synthetic(200, seed=3)
    truth, objects = data.masks > 0, objects_of(data)
    on, expected = truth.copy(), np.zeros(truth.shape, int)
    hidden = [o for o in objects if not o.entire() and o.seen.sum() > (o.whole & ~o.seen).sum()]
    alone = [o for o in objects if data.images[o.at[0]].any(-1).sum() == o.seen.sum() > 80]
    holes = [ndimage.binary_fill_holes(o.whole) & ~o.whole for o in alone]
    solid = [o for o, hole in zip(alone, holes, strict=True) if not hole.any()]
    swap, none, new, edge, rest = (o.whole for o in solid[:5])
    holed, *_ = (n for n, hole in enumerate(holes) if hole.any())
    deep = [ndimage.binary_erosion(whole, iterations=3) for whole in (new, rest)]
    for o, other, kind, where in (
        (solid[0], 0, 1, swap), (solid[0], 1, 1, swap), (solid[1], 0, 2, none),
        (solid[2], 1, 3, deep[0]), (hidden[0], 0, 4, hidden[0].whole & ~hidden[0].seen),
        (alone[holed], 0, 5, holes[holed]), (solid[4], 0, 7, deep[1]),
        (solid[3], 0, 6, edge & ~ndimage.binary_erosion(edge)),
    ):  # fmt: skip
        on[o.at][..., (o.label + other) % 5] ^= where
        expected[o.at][..., (o.label + other) % 5][where] = kind
    kinds, names = errors.kinds_of(on, data, objects)
    np.testing.assert_array_equal(kinds, expected)
    called = {o.at[0]: n for o, n in zip(objects, names, strict=True) if n != o.label}
    assert called == {solid[0].at[0]: (solid[0].label + 1) % 5, solid[1].at[0]: -1}


def test_what_is_read_by_equal_and_by_nearest_silhouettes():
    data = synthetic(60, seed=4)
    o = next(o for o in objects_of(data) if o.entire())
    for own, others, name in ((1, 1, o.label), (1, 2, (o.label + 1) % 5), (0, 0, o.label)):
        keys = ((label % 5, errors.trace(o.seen)) for label in (o.label, o.label + 1))
        assert errors.read_as(o, Counter(dict(zip(keys, (own, others), strict=True)))) == name
    few, more = (errors.read(data, count) for count in (20, 1000))
    assert few["hidden"].mean() < more["hidden"].mean() > 0.995
    assert (more["both"] <= more["class"]).all()
