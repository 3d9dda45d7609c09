"""On a random scene every metric gives what it gave when it was proved right, for every choice."""

import itertools
import json

import numpy as np

from segjax import metrics as m
from tests.goldens import recipe
from tests.metrics.scenes import random_scene

AVERAGE, ABSENT = ("none", "micro", "macro", "weighted"), ("skip", "nan", "zero", "one")
OVER, MISSING = ("set", "image"), ("inf", "diagonal", "skip")


def tried():
    """Yield what is computed: its name and the numbers."""

    def scored(score, counts, average=AVERAGE, absent=ABSENT, **more):
        more |= {"average": average, "absent": absent}
        for values in itertools.product(*more.values()):
            result = score(counts, **dict(zip(more, values, strict=True)))
            yield " ".join((score.__name__, *values)), result

    pred, target, boxes = random_scene(4)
    rng = np.random.default_rng(4)
    some = {"valid": rng.random(pred.shape[:3]) < 0.97}
    drawn = {"images": rng.integers(0, 3, (4, 3), np.uint8)[target @ [1, 1, 2]], "first_image": 2}
    for k, how in enumerate(({}, some, drawn)):
        objects = m.match_objects(pred, target, **boxes, **how)
        yield f"objects {k}", list(vars(objects).values())[:5]
        size = {"by": "size"}
        for by in ({"limits": (4, 16, 99)} | size, {"threshold": 1} | size, {"by": "hidden"}, {}):
            counts = m.count_objects(objects, **by)
            yield f"found {k} {by}", [counts.found, counts.number]
            yield f"limits {k} {by}", [*counts.limits, counts.threshold]
            if by == {"by": "hidden"}:
                yield from scored(m.object_recall, counts)
    grown = pred & (rng.random(pred.shape) < 0.6) | target & (rng.random(pred.shape) < 0.9)
    for k, how in enumerate((some, boxes, {"connectivity": 4}, {"min_pixels": 3} | some | boxes)):
        pieces = m.panoptic_count(grown, target, **how)
        yield f"pieces {k}", pieces.leaves()
    for score in (m.panoptic_quality, m.segmentation_quality, m.recognition_quality):
        yield from scored(score, pieces)

    pred, target, some = pred[:, :13], target[:, :13], {"valid": some["valid"][:, :13]}
    for image, c in ((slice(2), 2), (3, 1), (5, slice(3))):
        target[image, ..., c] = False
    pred[:2, ..., 2] = pred[4, ..., 0] = False
    apart = m.count(pred, target, **some, per_image=True)
    for score in m.SCORES.values():
        yield from scored(score, apart, over=OVER)
    for k, how in enumerate(({}, some, {"spacing": (1.5, 0.5)})):
        for near in ({}, {"tolerance": 0}, {"tolerance": 1}):
            outlines = m.boundary_count(pred, target, **how, **near)
            yield f"outlines {k} {near}", outlines.leaves()
        away = m.surface_distances(pred, target, **how)
        yield f"distances {k}", [away.hausdorff, away.hd95, away.assd]
    yield from scored(m.boundary_f1, outlines, over=OVER)
    yield from scored(m.hd95, away, AVERAGE[::2], ABSENT[:3], over=OVER, missing=MISSING)


def write():
    values = {name: np.asarray(x).tolist() for name, x in tried()}
    (recipe.FOLDER / "metrics.json").write_text(json.dumps(values))


def test_everything_is_as_pinned():
    found, pinned = dict(tried()), recipe.pinned("metrics")
    assert found.keys() == pinned.keys()
    for name, value in found.items():
        expected = np.asarray(pinned[name], float)
        assert np.shape(value) == expected.shape, name
        np.testing.assert_allclose(value, expected, rtol=1e-9, err_msg=name)
