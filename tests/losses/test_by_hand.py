"""One value of each loss, worked out by hand on a few pixels."""

import functools
import itertools
from math import cosh, exp, log, sqrt

import jax
import numpy as np
import pytest

from segjax import losses
from segjax.losses import kaggle

# Two pixels of one class: I = 0.8, P = 1.2, T = 1, FP = 0.4, FN = 0.2; mean cross-entropy B.
P = np.array([0.8, 0.4], np.float32).reshape(1, 1, 2, 1)
T = np.array([1.0, 0.0], np.float32).reshape(1, 1, 2, 1)
DICE = 1 - (1.6 + 1) / (1.2 + 1 + 1)
HIT, MISS = -log(0.8), -log(0.6)
B = (HIT + MISS) / 2
FOCAL = (0.2**2 * HIT + 0.4**2 * MISS) / 2
# Two pixels of three classes that exclude each other, labels 0 and 2.
P3 = np.array([[0.7, 0.2, 0.1], [0.3, 0.2, 0.5]], np.float32).reshape(1, 1, 2, 3)
LABELS = np.array([[[0, 2]]])
FIRST, SECOND = -log(0.7), -log(0.5)
CE = (FIRST + SECOND) / 2
SCORES3 = np.array([2.4 / 3, 1 / 1.4, 2 / 2.6])
LOSSES3 = 1 - SCORES3
DICE3 = LOSSES3.mean()
MCC = 1 - (1.8 * 1.6 - 0.4 * 0.2) / sqrt((1.8 + 0.4) * (1.8 + 0.2) * (1.6 + 0.4) * (1.6 + 0.2))
# A row of five pixels, three of them in the mask.
ROW = np.array([0, 1, 1, 1, 0], np.float32).reshape(1, 1, 5, 1)


def _row(*values):
    return np.array(values, np.float32).reshape(1, 1, -1, 1)


# Unified focal: the symmetric form focuses the object's entropy and the background's index too.
FOCUSED = (0.6 * 0.2**0.5 * HIT + 0.4 * 0.4**0.5 * MISS) / 2
PLAIN = (0.6 * HIT + 0.4 * 0.4**0.5 * MISS) / 2
FORE = sqrt(1 - 1.8 / (1.8 + 0.4 * 0.4 + 0.6 * 0.2))
BACK = 1 - 1.6 / (1.6 + 0.4 * 0.2 + 0.6 * 0.4)
UNIFIED = 0.3 * FOCUSED + 0.7 * (FORE + sqrt(BACK)) / 2
# With three classes pixel 0 is background, so faded; of the classes 0.4 FP and 0.6 FN.
FOCUSED3 = (0.4 * 0.3**0.5 * FIRST + 0.6 * 0.5**0.5 * SECOND) / 2
PLAIN3 = (0.4 * 0.3**0.5 * FIRST + 0.6 * SECOND) / 2
FORE3 = sqrt(0.16 / 1.16) + sqrt(0.34 / 1.84)
SYMMETRIC = {"variant": "symmetric"}
MULTILABEL, MULTICLASS = {"classes": "multilabel"}, {"classes": "multiclass"}
UNEVEN = {"fn_weight": 0.25, "fp_weight": 0.75}
EXP_LOG3 = 0.8 * np.mean((-np.log(SCORES3)) ** 0.3) + 0.2 * (FIRST**0.3 + SECOND**0.3) / 2
SMOOTHED3 = 0.8 * CE - 0.1 * log(0.2 * 0.1 * 0.3 * 0.2) / 2
SMOOTHED = (0.9 * HIT - 0.1 * (log(0.2) + log(0.4)) + 0.9 * MISS) / 2


@pytest.mark.parametrize(
    ("loss", "settings", "expected"),
    [
        (losses.dice_prob, {}, DICE),
        (losses.dice_prob, {"squared": True}, 1 - 2.6 / (0.64 + 0.16 + 1 + 1)),
        (losses.dice_prob, {"smooth": 0}, 1 - 1.6 / 2.2),
        (losses.jaccard, {}, 1 - 1.8 / (1.2 + 1 - 0.8 + 1)),
        (losses.tversky, {}, 1 - 1.8 / (1.8 + 0.3 * 0.4 + 0.7 * 0.2)),
        (losses.focal_tversky, {}, (1 - 1.8 / (1.8 + 0.12 + 0.14)) ** 0.75),
        (losses.log_cosh_dice, {}, log(cosh(DICE))),
        (losses.generalized_dice, {}, DICE),  # one class: its weight is 1
        (losses.mcc, {}, MCC),
        (losses.bce, {}, B),
        (losses.bce, {"label_smoothing": 0.2}, SMOOTHED),
        (losses.bce, {"fn_weight": 3, "fp_weight": 2}, (3 * HIT + 2 * MISS) / 2),
        (losses.focal, {}, FOCAL),
        (losses.focal, {"gamma": 1, **UNEVEN}, (0.25 * 0.2 * HIT + 0.75 * 0.4 * MISS) / 2),
        (losses.topk, {**MULTILABEL, "fraction": 0.5}, MISS),
        (losses.dice_ce, {**MULTILABEL, "ce_weight": 0.5}, DICE + 0.5 * B),
        (losses.dice_focal, {"dice_weight": 2}, 2 * DICE + FOCAL),
        (losses.exp_log, {}, 0.8 * (-log(1 - DICE)) ** 0.3 + 0.2 * (HIT**0.3 + MISS**0.3) / 2),
        (losses.unified_focal, {"focal_weight": 0.3}, 0.3 * PLAIN + 0.7 * (FORE + BACK) / 2),
        (losses.unified_focal, {"focal_weight": 0.3, **SYMMETRIC}, UNIFIED),
        # errors 0.4 (background), 0.2 (the object): 0.4 / 2 + 0.2 / 2
        (losses.lovasz_softmax, MULTILABEL, 0.3),
        (kaggle.bce, {}, B),
        (kaggle.dice, {}, DICE),
        (kaggle.bce_dice, {}, B + DICE),
        (kaggle.jaccard, {}, 1 - 1.8 / 2.4),
        (kaggle.focal, {}, 0.8 * (1 - exp(-B)) ** 2 * B),
        (kaggle.tversky, {}, 1 - 1.8 / (1.8 + 0.2 + 0.1)),
        (kaggle.focal_tversky, {"gamma": 2}, (1 - 1.8 / 2.1) ** 2),
        (kaggle.combo, {"alpha": 0.3}, 0.5 * 0.3 * (HIT + 0.7 * MISS) / 2 - 0.5 * (1 - DICE)),
    ],
)
def test_value_on_two_pixels(loss, settings, expected):
    np.testing.assert_allclose(loss(P, T, pred_is="probs", **settings), expected, rtol=2e-6)


@pytest.mark.parametrize(
    ("loss", "settings", "expected"),
    [
        (losses.cross_entropy, {}, CE),
        (losses.cross_entropy, {"label_smoothing": 0.3}, SMOOTHED3),
        # weights of the classes at hand: 1 and 3
        (losses.cross_entropy, {"class_weights": [1, 5, 3]}, (FIRST + 3 * SECOND) / 4),
        (losses.focal, {}, (0.3**2 * FIRST + 0.5**2 * SECOND) / 2),
        (losses.dice_prob, {}, DICE3),
        (losses.dice_prob, {"class_weights": [2, 0, 6]}, LOSSES3 @ [2, 0, 6] / 8),
        (losses.dice_prob, {"absent": "skip"}, LOSSES3[[0, 2]].mean()),
        (losses.dice_prob, {"per_class": False}, 1 - (2 * 1.2 + 1) / 5),
        (losses.dice_ce, {}, DICE3 + CE),
        (losses.topk, {"fraction": 0.5}, SECOND),
        (losses.exp_log, {}, EXP_LOG3),
        (losses.unified_focal, {}, 0.5 * PLAIN3 + 0.5 * (0.3 / 2 + FORE3) / 3),
        (losses.unified_focal, SYMMETRIC, 0.5 * FOCUSED3 + 0.5 * (sqrt(0.3 / 2) + FORE3) / 3),
        # the absent class weighs as the rarest, so all weigh 1
        (losses.generalized_dice, {}, 1 - (2 * 1.2 + 1) / 5),
        (losses.generalized_dice, {"absent": "skip"}, 1 - (2 * 1.2 + 1) / (1.0 + 0.6 + 2 + 1)),
        # errors: 0.3, 0.3 | 0.2, 0.2 | 0.1, 0.5
        (losses.lovasz_softmax, {"absent": "skip"}, (0.3 + 0.5) / 2),
        (losses.lovasz_softmax, {"absent": "count"}, (0.3 + 0.2 + 0.5) / 3),
    ],
)
def test_value_with_three_classes_that_exclude_each_other(loss, settings, expected):
    if loss is not losses.cross_entropy:
        settings = MULTICLASS | settings
    for target in (LABELS, np.eye(3, dtype=np.float32)[LABELS]):
        result = loss(P3, target, pred_is="probs", **settings)
        np.testing.assert_allclose(result, expected, rtol=2e-6)


# The object's pixel weighs three times as much as the other; in a cell 1.5 and 0.5.
THREE_TO_ONE = np.array([[[3.0, 1.0]]])
TP, FP, FN, TN = 1.2 + 1, 0.5 * 0.4, 1.5 * 0.2, 0.5 * 0.6 + 1
TOGETHER = {"classes": "multiclass", "per_class": False}
BOTH = {"class_weights": [1, 2, 0], "valid": THREE_TO_ONE}
OF_CLASSES = np.tile([1.0, 2.0, 4.0], (1, 1, 2, 1))  # a quarter, a half and all of each one's part
MIXED3 = (-2 * log(0.7) - 3 * log(0.5) - log(1 - 0.1)) / 6
FOUND3 = (-2 * log(0.7) - 3 * log(0.5)) / 6
# Class by class: 0.7, 0 and 0.5 right, 0.3, 0.4 and 0.1 made up, 0.3, 0 and 0.5 missed.
FP_FN = {"fp_weight": [1, 2, 0], "fn_weight": [0, 1, 3]}
TVERSKY3 = (0.3 / 2 + 0.8 / 1.8 + 1.5 / 3) / 3
ROOTS = sqrt((TP + FP) * (TP + FN)) * sqrt((TN + FP) * (TN + FN))


@pytest.mark.parametrize(
    ("loss", "settings", "expected"),
    [
        (losses.mse, {}, (3 * 0.2**2 + 0.4**2) / 4),
        (losses.dice, {"smooth": 1e-9}, 1 - 2 * 1.2 / (1.5 * 0.64 + 0.5 * 0.16 + 1.5)),
        (losses.bce, {}, (3 * HIT + MISS) / 4),
        (losses.bce, {"reduction": "sum"}, 3 * HIT + MISS),
        (losses.focal, {}, (3 * 0.04 * HIT + 0.16 * MISS) / 4),
        (losses.topk, {**MULTILABEL, "fraction": 1.0}, (3 * HIT + MISS) / 4),
        (losses.topk, {**MULTILABEL, "fraction": 0.5}, MISS),
        (losses.dice_prob, {}, 1 - (2.4 + 1) / (1.4 + 1.5 + 1)),
        (losses.dice_prob, {"squared": True}, 1 - 3.4 / (1.5 * 0.64 + 0.5 * 0.16 + 1.5 + 1)),
        (losses.tversky, {}, 1 - 2.2 / (2.2 + 0.3 * 0.2 + 0.7 * 0.3)),
        (losses.mcc, {}, 1 - (TP * TN - FP * FN) / ROOTS),
        # errors 0.4 (background, a quarter of the union) and 0.2
        (losses.lovasz_softmax, MULTILABEL, 0.4 / 4 + 0.2 * 3 / 4),
        (losses.hausdorff, {}, (3 * 0.04 + 0.16) * 2 / 4),
        (losses.dice_focal, {"fn_weight": 5}, 1 - 3.4 / 3.9 + (15 * 0.04 * HIT + 0.16 * MISS) / 4),
        # the centre line of either is the object's pixel
        (losses.cldice, {"iterations": 0}, 1 - 2 / (1 + 2.5 / 2.2)),
    ],
)
def test_value_on_two_pixels_that_weigh_three_to_one(loss, settings, expected):
    if loss not in (losses.mse, losses.dice):
        settings = settings | {"pred_is": "probs"}
    for weights in (THREE_TO_ONE, THREE_TO_ONE[..., None].tolist()):
        np.testing.assert_allclose(loss(P, T, valid=weights, **settings), expected, rtol=2e-6)


def test_weights_of_classes_and_samples():
    one_hot, probs = np.eye(3, dtype=np.float32)[LABELS], {"pred_is": "probs"}
    for loss, target, settings, expected in (
        # of all classes together: 1, 2 and 0 in place of their sum
        (losses.dice_prob, LABELS, {**TOGETHER, "class_weights": [1, 2, 0]}, 1 - 2.4 / 3.8),
        (losses.dice_prob, LABELS, {**TOGETHER, **BOTH}, 1 - (2 * 1.5 * 0.7 + 1) / 4.5),
        (losses.cross_entropy, LABELS, BOTH | {"class_weights": [1, 5, 3]}, CE),
        (losses.generalized_dice, one_hot, {"valid": OF_CLASSES}, 1 - 2.35 / 3.3),
        (losses.bce, one_hot, {"fn_weight": [2, 5, 3], "fp_weight": [0, 0, 1]}, MIXED3),
        (losses.focal, one_hot, {"gamma": 0, "fn_weight": [2, 5, 3], "fp_weight": 0}, FOUND3),
        (losses.tversky, LABELS, {**MULTICLASS, **FP_FN}, TVERSKY3),
    ):
        np.testing.assert_allclose(loss(P3, target, **settings, **probs), expected, rtol=2e-6)
    two, both = np.concatenate([P, 1 - P]), np.concatenate([T, T])
    for loss, settings in ((losses.dice_prob, {}), (losses.dice_ce, MULTILABEL)):
        how = {**settings, **probs, "valid": [1.0, 3.0]}
        one, other = (float(loss(p, T, **settings, **probs)) for p in (P, 1 - P))
        np.testing.assert_allclose(loss(two, both, **how), (one + 3 * other) / 4, rtol=1e-6)
        each = loss(two, both, reduction="none", **how)
        np.testing.assert_allclose(np.ravel(each), [one, 3 * other], rtol=1e-6)


def test_generalized_dice_by_inverse_squared_size_and_lovasz_hinge_on_three_pixels():
    # sizes 3 and 1: weights 1/9 and 1
    target = np.stack([ROW[..., 0], _row(1, 0, 0, 0, 0)[..., 0]], -1)
    probs = np.full_like(target, 0.5)
    expected = 1 - (2 * (1.5 / 9 + 0.5) + 1) / ((2.5 + 3) / 9 + 2.5 + 1 + 1)
    result = losses.generalized_dice(probs, target, pred_is="probs")
    np.testing.assert_allclose(result, expected, rtol=2e-6)
    # errors 0, 1.5, 1.2; by size 1.5 (object), 1.2 (background), 0: Jaccard loss 1/2, 2/3, 1
    x, t = _row(2.0, -0.5, 0.2), _row(1, 1, 0)
    expected = 1.5 / 2 + 1.2 / 6
    np.testing.assert_allclose(losses.lovasz_hinge(x, t, pred_is="logits"), expected, rtol=1e-6)
    np.testing.assert_allclose(kaggle.lovasz_hinge(x, t, pred_is="logits"), expected, rtol=1e-6)


def test_distances_and_centre_lines_of_a_row():
    # signed distances 1, 0, -1, 0, 1
    half = _row(0.5, 1, 1, 1, 0)
    # only the first pixel is wrong: 1 from the target's border, 4 from the prediction's
    wrong = _row(0.6, 1, 1, 1, 0)
    # the centre line of the target is its middle pixel; that of ROW / 2 is half of that
    for loss, p, settings, expected in (
        (losses.boundary, half, {}, (0.5 - 1) / 5),
        (losses.boundary, half, {"unit": "diagonal"}, -0.1 / sqrt(26)),
        (losses.boundary, half, {"target_map": losses.signed_distance(ROW)}, -0.1),
        (losses.hausdorff, wrong, {}, 0.36 * (1 + 16) / 5),
        (losses.hausdorff, wrong, {"target_map": losses.distance_field(ROW)}, 0.36 * 17 / 5),
        (losses.hausdorff, wrong, {"power": 1.0}, 0.36 * (1 + 4) / 5),
        (losses.cldice, ROW / 2, {"iterations": 1}, 1 - 2 * 1 * 0.75 / 1.75),
    ):
        found = loss(p, ROW, pred_is="probs", **settings)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    line = losses.soft_skeleton(ROW, iterations=1)
    np.testing.assert_allclose(line, _row(0, 0, 1, 0, 0), atol=1e-7)


def test_per_cell_values_keep_their_shapes():
    x, t = np.zeros((3, 4, 4, 2)), np.zeros((3, 4, 4, 2), int)
    cases = [(losses.bce, t, {}, x.shape), (losses.cross_entropy, t[..., 0], {}, (3, 4, 4))]
    cases += [(losses.dice_ce, t, MULTILABEL, (3,))]
    for over, each in itertools.product(("sample", "batch"), (True, False)):
        overlap, shape = {"over": over, "per_class": each}, (3,) * (over == "sample") + (2,) * each
        cases += [(loss, t, overlap, shape) for loss in (losses.dice_prob, losses.lovasz_hinge)]
    for loss, target, settings, shape in cases:
        loss = functools.partial(loss, pred_is="logits", reduction="none", **settings)
        assert jax.eval_shape(loss, x, target).shape == shape
    x, kinds = np.random.default_rng(0).normal(size=x.shape), ("none", "mean", "sum")
    reduced = [functools.partial(losses.dice_prob, pred_is="logits", reduction=r) for r in kinds]
    reduced.append(functools.partial(reduced[0], class_weights=[1, 3]))
    cells, mean, total, weighted = jax.jit(lambda *given: [loss(*given) for loss in reduced])(x, t)
    np.testing.assert_allclose([mean, total], [cells.mean(), cells.sum()], rtol=1e-6)
    # The weights of the classes add up to their number.
    np.testing.assert_allclose(weighted, np.asarray(cells) * [0.5, 1.5], rtol=1e-6)
