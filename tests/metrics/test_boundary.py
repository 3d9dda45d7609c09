"""Outline metrics have their hand-computed values, invariances and stated edge cases."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segjax import metrics as m
from segjax.metrics.masks import boundaries
from tests.metrics.scenes import all_valid, refused, square

EMPTY = np.zeros((1, 12, 12, 1), bool)
SCORES = (m.hausdorff, m.hd95, m.assd)


def points(*places):
    mask = EMPTY.copy()
    for row, column in places:
        mask[0, row, column] = True
    return mask


def test_hand_distances_and_boundary_f1():
    # From (2, 2) and (2, 5) to (2, 2) and (6, 2): there 0 and 3, back 0 and 4.
    found = m.surface_distances(points((2, 2), (2, 5)), points((2, 2), (6, 2)))
    assert m.hausdorff(found)[0] == 4
    assert m.hd95(found)[0] == pytest.approx(0.95 * 4, rel=1e-15)
    assert m.assd(found)[0] == pytest.approx((0 + 3 + 0 + 4) / 4, rel=1e-15)
    for direction, farthest, mean in (("pred_to_target", 3, 3 / 2), ("target_to_pred", 4, 4 / 2)):
        values = [score(found, direction=direction)[0] for score in SCORES]
        assert values == [farthest, pytest.approx(0.95 * farthest, rel=1e-15), mean]
    assert m.hausdorff(m.surface_distances(points((1, 1)), points((4, 5))))[0] == 5
    stretched = m.surface_distances(points((1, 1)), points((4, 5)), spacing=(2, 1))
    assert m.hausdorff(stretched)[0] == pytest.approx(math.hypot(6, 4), rel=1e-15)
    pred, target = points((2, 2), (2, 5), (9, 9)), points((2, 2), (6, 2))
    # Within 3 pixels: of the prediction (2, 2) and (2, 5), of the target only (2, 2).
    for tolerance, precision in ((3, 2 / 3), (2.99, 1 / 3)):
        counts = m.boundary_count(pred, target, tolerance=tolerance)
        expected = 2 * precision * (1 / 2) / (precision + 1 / 2)
        assert m.boundary_f1(counts)[0] == pytest.approx(expected, rel=1e-15)
        assert m.surface_dice(counts)[0] == pytest.approx((3 * precision + 1) / 5, rel=1e-15)
    assert [int(leaf[0, 0]) for leaf in vars(counts).values()] == [1, 3, 1, 2]
    tenth = m.boundary_count(points((1, 1)), points((1, 4)), tolerance=0.3, spacing=0.1)
    assert m.boundary_f1(tenth)[0] == 1
    pair = [np.repeat(mask, 2, axis=-1) for mask in (pred, target)]
    counts = m.boundary_count(*pair, tolerance=[2.99, 3])
    np.testing.assert_allclose(m.surface_dice(counts), [2 / 5, 3 / 5], rtol=1e-15)


masks, valids = hnp.arrays(bool, (1, 6, 7, 1)), hnp.arrays(bool, (1, 6, 7), fill=st.just(True))
spacings = st.sampled_from([1.0, 2.5, (1.5, 0.5)])


@settings(max_examples=130, deadline=None)
@given(masks, masks, st.none() | valids, st.sampled_from([0, 1, 1.5, 2, 3]), spacings)
def test_equals_all_pairs(pred, target, valid, tolerance, spacing):
    pair, how = (pred, target), {"valid": valid, "spacing": spacing}
    kept = all_valid(pred) if valid is None else valid
    one, two = (np.argwhere(boundaries(mask, kept)[0, ..., 0]) * spacing for mask in pair)
    counts = m.boundary_count(*pair, tolerance=tolerance, **how)
    assert [counts.pred_all, counts.target_all] == [len(one), len(two)]
    if not (len(one) and len(two)):
        return
    pairs = np.linalg.norm(one[:, None] - two[None], axis=-1)
    there, back = pairs.min(axis=1), pairs.min(axis=0)
    found = m.surface_distances(*pair, **how)
    np.testing.assert_allclose(m.hausdorff(found), [max(there.max(), back.max())], rtol=1e-12)
    expected = max(np.percentile(there, 95), np.percentile(back, 95))
    np.testing.assert_allclose(m.hd95(found), [expected], rtol=1e-12)
    np.testing.assert_allclose(m.assd(found), [np.mean([*there, *back])], rtol=1e-12)
    assert counts.pred_near[0, 0] == np.count_nonzero(there <= tolerance + 1e-6)
    assert counts.target_near[0, 0] == np.count_nonzero(back <= tolerance + 1e-6)


def test_merging_equals_the_whole():
    rng = np.random.default_rng(1)
    pred, target = rng.random((2, 6, 8, 8, 2)) < 0.3
    pred[0], target[1] = False, False
    whole = m.boundary_count(pred, target)
    batches = [(pred[a:b], target[a:b]) for a, b in ((0, 1), (1, 4), (4, 6))]
    one, two, three = (m.boundary_count(*batch) for batch in batches)
    merged = one + two + three
    for name, leaf in vars(whole.total()).items():
        np.testing.assert_array_equal(getattr(merged, name), leaf)
    np.testing.assert_array_equal(m.boundary_f1(merged), m.boundary_f1(whole))
    joined = m.SurfaceDistances.concatenate([m.surface_distances(*batch) for batch in batches])
    found = m.SurfaceDistances.concatenate([m.surface_distances(pred, target)])
    for score in SCORES:
        for direction in ("both", "target_to_pred"):
            how = {"missing": "diagonal", "direction": direction}
            np.testing.assert_array_equal(score(joined, **how), score(found, **how))


def test_no_outline_in_either_mask_or_in_one_only():
    found = m.surface_distances(EMPTY, EMPTY)
    for score in SCORES:
        values = [score(found)[0], *(score(found, absent=a)[0] for a in ("nan", "zero"))]
        np.testing.assert_array_equal(values, [np.nan, np.nan, 0])
        refused("'one' is not one of", score, found, absent="one")
    counts = m.boundary_count(EMPTY, EMPTY)
    values = [m.boundary_f1(counts, absent=a)[0] for a in ("skip", "nan", "zero", "one")]
    np.testing.assert_array_equal(values, [np.nan, np.nan, 0, 1])
    for pair in ((EMPTY, square(2, 2, 3)), (square(2, 2, 3), EMPTY)):
        found = m.surface_distances(*pair, spacing=(3, 4))
        for score in SCORES:
            values = [score(found, missing=missing)[0] for missing in ("inf", "diagonal", "skip")]
            np.testing.assert_array_equal(values, [math.inf, 12 * 5, np.nan])
            assert score(found)[0] == math.inf
        for absent in ("skip", "nan", "zero", "one"):
            assert m.boundary_f1(m.boundary_count(*pair), absent=absent)[0] == 0


def test_wrong_inputs_say_what_to_do():
    refused(r"\[N, H, W, C\]", m.boundary_count, EMPTY[0], EMPTY[0])
    refused("threshold", m.surface_distances, EMPTY.astype(float), EMPTY)
    refused("valid", m.surface_distances, EMPTY, EMPTY, valid=all_valid(EMPTY)[:, 1:])
    refused("tolerance", m.boundary_count, EMPTY, EMPTY, tolerance=-1)
    refused("one for each of 1 classes", m.boundary_count, EMPTY, EMPTY, tolerance=[1, 2])
    refused("direction='up'", m.hd95, m.surface_distances(EMPTY, EMPTY), direction="up")
    refused("spacing", m.surface_distances, EMPTY, EMPTY, spacing=0)
    refused("give one size, or", m.surface_distances, EMPTY, EMPTY, spacing=(1, 1, 1))
    refused("summed", lambda: m.boundary_f1(m.boundary_count(EMPTY, EMPTY).total(), over="image"))
    sizes = [m.surface_distances(one, one) for one in (EMPTY, np.zeros((1, 3, 3, 1), bool))]
    refused("one image size", m.SurfaceDistances.concatenate, sizes)
    one = m.boundary_count(EMPTY, EMPTY)
    refused("classes", lambda: one + m.BoundaryCounts(*(np.zeros(2, np.int64) for _ in range(4))))
