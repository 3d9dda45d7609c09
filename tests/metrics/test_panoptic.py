"""Panoptic quality has its hand-computed values, with boxes and without."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segjax import metrics as m
from tests.metrics.scenes import batches, draw, random_scene, refused

SCORES = (m.panoptic_quality, m.segmentation_quality, m.recognition_quality)


def numbers(counts, channel=0):
    found = tuple(int(leaf[channel]) for leaf in (counts.tp, counts.fp, counts.fn))
    return found, float(counts.iou[channel])


def test_hand_values_of_connected_pieces_and_their_averages():
    # Three objects: one met at IoU 12/16, one met at exactly 0.5 (no match), one missed.
    target, _ = draw((0, (0, 0, 3, 3)), (0, (6, 0, 9, 3)), (0, (0, 6, 1, 7)))
    pred, _ = draw((0, (0, 0, 3, 2)), (0, (6, 0, 9, 1)), (0, (10, 10, 11, 11)))
    counts = m.panoptic_count(pred, target)
    assert numbers(counts) == ((1, 2, 2), 0.75)
    assert m.recognition_quality(counts)[0] == 1 / 3
    assert m.segmentation_quality(counts)[0] == 0.75
    assert m.panoptic_quality(counts)[0] == 0.25
    assert np.isnan(m.panoptic_quality(counts)[1])
    assert m.panoptic_quality(counts, average="macro") == 0.25
    assert m.panoptic_quality(counts, average="macro", absent="one") == (0.25 + 1) / 2
    assert numbers(m.panoptic_count(pred, target, min_pixels=5)) == ((1, 1, 2), 0.75)


def test_boxes_keep_touching_objects_apart_and_broken_ones_together():
    target, boxes = draw((0, (0, 0, 3, 3)), (0, (4, 0, 7, 3)), (0, (0, 6, 3, 9)))
    target[0, 7, 0:4] = False
    assert numbers(m.panoptic_count(target, target)) == ((3, 0, 0), 3)
    assert numbers(m.panoptic_count(target, target, **boxes)) == ((3, 0, 0), 3)
    pred = target.copy()
    pred[0, 0:4, 0:4] = False
    # As one piece, the pair of 32 pixels is met by 16: no match. By box, one of the two is met.
    assert numbers(m.panoptic_count(pred, target)) == ((2, 1, 1), 2)
    assert numbers(m.panoptic_count(pred, target, **boxes)) == ((2, 0, 1), 2)


def test_pixels_outside_the_box_count_and_are_shared_by_nearness():
    target, boxes = draw((0, (0, 0, 3, 3)))
    for drawn, expected in (
        ([(0, 0, 3, 5)], ((1, 0, 0), 16 / 24)),
        ([(0, 0, 3, 8)], ((0, 1, 1), 0)),
        ([(0, 0, 3, 3), (8, 8, 9, 9)], ((1, 1, 0), 1)),
    ):
        pred, _ = draw(*((0, box) for box in drawn))
        assert numbers(m.panoptic_count(pred, target, **boxes)) == expected
    target, boxes = draw((0, (0, 0, 3, 3)), (0, (8, 0, 11, 3)))
    bridge, _ = draw((0, (0, 0, 11, 3)))
    # Columns 4 and 5 go left, 6 and 7 right: each 16 of 24 pixels.
    assert numbers(m.panoptic_count(bridge, target, **boxes)) == ((2, 0, 0), 2 * 16 / 24)
    assert numbers(m.panoptic_count(bridge, target)) == ((0, 1, 2), 0)


def test_void_counts_for_neither_side():
    target, boxes = draw((0, (0, 0, 3, 3)), (0, (2, 2, 5, 5)))
    pred = target.copy()
    pred[0, 2:4, 2:4] = False
    assert numbers(m.panoptic_count(pred, target, **boxes)) == ((2, 0, 0), 2)
    inside, boxes = draw((0, (0, 0, 7, 7)), (0, (2, 2, 3, 3)))
    assert numbers(m.panoptic_count(inside, inside, **boxes)) == ((1, 0, 0), 1)

    empty = np.zeros_like(target)
    valid = np.ones(target.shape[:3], bool)
    valid[0, :, 6:] = False
    for left, made_up in ((5, 0), (4, 1)):
        stray, _ = draw((0, (left, 0, left + 3, 3)))
        assert numbers(m.panoptic_count(stray, empty, valid=valid)) == ((0, made_up, 0), 0)
    hidden, boxes = draw((0, (7, 0, 9, 3)))
    assert numbers(m.panoptic_count(empty, hidden, **boxes, valid=valid)) == ((0, 0, 0), 0)


def test_empty_masks():
    empty = np.zeros((2, 5, 5, 2), bool)
    full = ~empty
    nothing = m.panoptic_count(empty, empty)
    for absent, value in (("skip", np.nan), ("nan", np.nan), ("zero", 0), ("one", 1)):
        for score in SCORES:
            np.testing.assert_array_equal(score(nothing, absent=absent), [value] * 2)
    for pred, target, expected in ((empty, full, (0, 0, 2)), (full, empty, (0, 2, 0))):
        counts = m.panoptic_count(pred, target)
        assert numbers(counts) == (expected, 0)
        for score in SCORES:
            for average in ("none", "micro", "macro", "weighted"):
                assert np.all(score(counts, average=average, absent="one") == 0)
    assert numbers(m.panoptic_count(full, full)) == ((2, 0, 0), 2)


masks = hnp.arrays(bool, (1, 6, 6, 1))


@settings(max_examples=100, deadline=None)
@given(masks, masks, st.sampled_from([4, 8]))
def test_identities(pred, target, connectivity):
    counts = m.panoptic_count(pred, target, connectivity=connectivity)
    other = m.panoptic_count(target, pred, connectivity=connectivity)
    (tp, fp, fn), iou = numbers(counts)
    same_iou = pytest.approx(iou, rel=1e-12)
    assert numbers(other) == ((tp, fn, fp), same_iou)
    product = m.segmentation_quality(counts) * m.recognition_quality(counts)
    np.testing.assert_allclose(m.panoptic_quality(counts), product, rtol=1e-12)
    assert tp / 2 <= iou <= tp
    turned = (np.rot90(mask, axes=(1, 2)) for mask in (pred, target))
    assert numbers(m.panoptic_count(*turned, connectivity=connectivity)) == ((tp, fp, fn), same_iou)
    perfect = m.panoptic_count(pred, pred, connectivity=connectivity)
    assert numbers(perfect)[0][1:] == (0, 0)


def test_the_right_mask_is_perfect_and_merging_equals_the_whole():
    for seed in range(5):
        _, target, boxes = random_scene(seed)
        counts = m.panoptic_count(target, target, **boxes)
        assert m.panoptic_quality(counts, average="micro") == 1
        assert counts.tp.sum() > 10
    pred, target, boxes = random_scene(11)
    whole = m.panoptic_count(pred, target, **boxes)
    merged = m.PanopticCounts.zero(3)
    for _, some_pred, some_target, some_boxes in batches(pred, target, boxes):
        merged = merged + m.panoptic_count(some_pred, some_target, **some_boxes)
    for name in ("tp", "fp", "fn"):
        np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name))
    np.testing.assert_allclose(merged.iou, whole.iou, rtol=1e-14)
    assert whole.tp.sum() > 0
    assert whole.fp.sum() > 0


def test_wrong_inputs_say_what_to_do():
    target, boxes = draw((0, (0, 0, 3, 3)))
    refused("4, 8", m.panoptic_count, target, target, connectivity=6)
    refused("min_pixels", m.panoptic_count, target, target, min_pixels=0)
    refused("box_image and box_class", m.panoptic_count, target, target, boxes=boxes["boxes"])
    refused("cannot add", lambda: m.PanopticCounts.zero(2) + m.PanopticCounts.zero(3))
