"""Objects are measured in their boxes, by size and by what hides them."""

import numpy as np
import pytest

from segjax.metrics import Objects, count_objects, match_objects, object_recall
from tests.metrics.scenes import SHAPE, batches, draw, random_scene, refused


def check(*pairs):
    for found, expected in pairs:
        np.testing.assert_array_equal(found, expected)


def test_hand_values():
    target, boxes = draw((0, (1, 1, 4, 4)), (1, (6, 6, 11, 11)))
    pred = np.zeros_like(target)
    pred[0, 1:5, 1:4, 0] = True  # 12 of 16 pixels,
    pred[0, 9:, 0:3, 0] = True  # and some far outside the box, which do not count here,
    pred[0, 6:9, 6:10, 1] = True  # 12 of 36.
    objects = match_objects(pred, target, **boxes)
    np.testing.assert_allclose(objects.iou, [12 / 16, 12 / 36])
    counts = count_objects(objects)
    check(
        (objects.image, [0, 0]),
        (objects.category, [0, 1]),
        (objects.size, [16, 36]),
        (objects.hidden, [0, 0]),
        (counts.found, [[1, 0]]),
        (counts.number, [[1, 1]]),
        (object_recall(counts), [[1, 0]]),
        (object_recall(counts, average="micro"), [0.5]),
        (count_objects(objects, threshold=0.75).found, [[1, 0]]),
        (count_objects(objects, threshold=0.76).found, [[0, 0]]),
    )


def test_size_bins_hold_their_upper_limit():
    target, boxes = draw((0, (0, 0, 0, 0)), (0, (2, 0, 3, 1)), (0, (5, 0, 9, 0)), (1, (0, 5, 5, 9)))
    pred = target.copy()
    pred[0, 0, 0, 0] = False
    objects = match_objects(pred, target, **boxes)
    counts = count_objects(objects, by="size", limits=(1, 4, 100))
    nan, micro = np.nan, object_recall(counts, average="micro")
    check(
        (counts.number, [[1, 0], [1, 0], [1, 1]]),
        (counts.found, [[0, 0], [1, 0], [1, 1]]),
        (object_recall(counts), [[0, nan], [1, nan], [1, 1]]),
        (object_recall(counts, average="macro"), [0, 1, 1]),
        (object_recall(counts, average="macro", absent="zero"), [0, 0.5, 1]),
        (object_recall(counts, average="macro", absent="nan")[:2], [nan] * 2),
        (object_recall(counts, absent="one")[:, 1], [1, 1, 1]),
        (object_recall(counts, average="weighted"), micro),
    )


def overlapping():
    """A 4 x 4 square of class 0 (red) under a 4 x 4 square of class 1 (blue): 4 shared pixels."""
    target, boxes = draw((0, (1, 1, 4, 4)), (1, (3, 3, 6, 6)))
    image = np.zeros((1, 12, 12, 3), np.uint8)
    image[0, 1:5, 1:5] = 200, 0, 0
    image[0, 3:7, 3:7] = 0, 0, 200
    return target, boxes, image


def test_hidden_is_an_upper_bound_without_colours_and_exact_with_them():
    target, boxes, image = overlapping()
    told = match_objects(target, target, **boxes, images=image)
    check(
        (match_objects(target, target, **boxes).hidden, [4 / 16, 4 / 16]),
        (told.hidden, [4 / 16, 0]),
        (told.iou, [1, 1]),
        (count_objects(told, by="hidden").number, [[0, 1], [1, 0], [0, 0], [0, 0]]),
    )
    # One covered all over is told by the colour of the other.
    target, boxes = draw((0, (1, 1, 6, 6)), (1, (2, 2, 3, 3)), (0, (8, 8, 9, 9)))
    image = np.zeros((1, 12, 12, 3), np.uint8)
    image[0, 1:7, 1:7] = 200, 0, 0
    below = match_objects(target, target, **boxes, images=image)
    image[0, 2:4, 2:4] = 0, 0, 200
    above = match_objects(target, target, **boxes, images=image)
    check((below.hidden, [0, 1, 0]), (above.hidden, [4 / 36, 0, 0]))


def test_an_object_inside_another_of_its_class_is_undecided():
    target, boxes = draw((0, (1, 1, 8, 8)), (0, (2, 2, 4, 4)))
    objects = match_objects(target, target, **boxes)
    check((objects.size, [64 - 9, 0]), (objects.iou[1], np.nan), (objects.hidden[1], np.nan))
    assert count_objects(objects).number.sum() == 1
    empty = np.zeros(SHAPE, bool)
    counts = count_objects(match_objects(empty, empty, [], box_image=[], box_class=[]))
    check((object_recall(counts), [[np.nan] * 2]), (object_recall(counts, absent="one"), [[1, 1]]))


@pytest.mark.parametrize("seed", range(5))
def test_equals_object_by_object(seed):
    pred, target, given = random_scene(seed)
    valid = np.random.default_rng(seed).random(pred.shape[:3]) < 0.9
    objects = match_objects(pred, target, **given, valid=valid)
    rows = [
        (c, np.s_[n, y1 : y2 + 1, x1 : x2 + 1])
        for (x1, y1, x2, y2), n, c in zip(*given.values(), strict=True)
    ]
    holders = np.zeros(target.shape, int)
    for c, box in rows:
        holders[box][..., c] += 1
    for row, (c, box) in enumerate(rows):
        kept = valid[box] & (holders[box][..., c] == 1)
        p, t = pred[box][..., c] & kept, target[box][..., c] & kept
        assert objects.size[row] == t.sum()
        if t.any():
            assert objects.iou[row] == (p & t).sum() / (p | t).sum()
            assert objects.hidden[row] == (t & (target[box].sum(-1) > 1)).sum() / t.sum()


def test_merging_equals_the_whole():
    pred, target, boxes = random_scene(9)
    whole = match_objects(pred, target, **boxes)
    parts = [
        match_objects(some_pred, some_target, **some_boxes, first_image=start)
        for start, some_pred, some_target, some_boxes in batches(pred, target, boxes)
    ]
    joined = Objects.concatenate(parts)
    for name in ("image", "category", "size", "hidden", "iou"):
        check((getattr(joined, name), getattr(whole, name)))
    for by in ("all", "size", "hidden"):
        counts = [count_objects(part, by=by) for part in parts]
        merged, once = counts[0] + counts[1] + counts[2], count_objects(whole, by=by)
        check((merged.found, once.found), (merged.number, once.number))


def test_wrong_inputs_say_what_to_do():
    target, boxes, image = overlapping()
    fit = r"^box 1 .* does not fit"
    for message, wrong in (
        ("maxima included", {"boxes": [(0, 0, 12, 3), (0, 0, 1, 1)]}),
        ("class 2", {"box_class": [0, 2]}),
        *((fit, {"box_image": [0, image]}) for image in (1, -1)),
        (fit, {"box_class": [0, -1]}),
        *((fit, {"boxes": [(1, 1, 4, 4), box]}) for box in ((-1, 3, 6, 6), (3, 3, 6, 2))),
        (fit, {"boxes": [(1, 1, 4, 4), (3, 3, 6, 12)]}),
        ("as many", {"box_class": [0]}),
    ):
        refused(message, match_objects, target, target, **(boxes | wrong))
    refused("do not fit", match_objects, target, target, **boxes, images=image[:, 1:])
    objects = match_objects(target, target, **boxes)
    refused("not one of", count_objects, objects, by="colour")
    refused("must rise", count_objects, objects, by="size", limits=(4, 4))
    refused("leaves out", count_objects, objects, by="size", limits=(4, 8))
    refused("threshold", count_objects, objects, threshold=0)
    refused("cannot add", lambda: count_objects(objects) + count_objects(objects, by="size"))
    other = match_objects(target[..., :1], target[..., :1], [], box_image=[], box_class=[])
    refused("one number of classes", Objects.concatenate, [objects, other])
