"""Inputs and expected numbers of other libraries' own tests, said with segjax.

Each table names its source; tolerances are the source's own, or the digits that it gives.
"""

import numpy as np
import pytest

from segjax import losses
from segjax import metrics as m


def one_hot(labels, count):
    return np.eye(count, dtype=np.float32)[np.asarray(labels)]


LOGITS = {"pred_is": "logits"}
PROBS = {"pred_is": "probs"}
SAMPLES = [1.2, 3.4, 5.6]  # Keras's sample_weight of three samples; of two, the first two
# keras-team/keras, keras/src/losses/losses_test.py
MSE = [[4.0, 8, 12], [8, 1, 3]], [[1, 9, 2], [-5, -2, 6]]
BCE = [[10.0, -10, 10], [10, 10, -10]], [[1, 0, 1], [0, 1, 1]]
CCE = [[8.0, 1, 1], [0, 9, 1], [2, 3, 5]], [0, 1, 2]
CCE_PROBS = np.array([[0.9, 0.05, 0.05], [0.5, 0.89, 0.6], [0.05, 0.01, 0.94]])
SHARES = CCE_PROBS / CCE_PROBS.sum(-1, keepdims=True), [0, 1, 2]  # Keras divides them itself
FOCAL = [[0.9, 0.8], [0.7, 0.2]], [[1, 0], [1, 0]]
FOCAL_LOGITS = [[1.5, -2.7, 2.9], [-3.8, 1.2, -4.5]], [[1, 1, 0], [0, 1, 0]]
MULTICLASS = {"classes": "multiclass"}


@pytest.mark.parametrize(
    ("loss", "pair", "weights", "elements", "settings", "expected"),
    [
        (losses.mse, MSE, SAMPLES[:2], 6, {}, 767.8 / 6),
        (losses.mse, [np.ravel(x) for x in MSE], [3.0, 6, 5, 0, 4, 2], 6, {}, 97.833336),
        (losses.bce, BCE, [4.0, 3.0], 6, LOGITS, 10.0),
        (losses.cross_entropy, CCE, SAMPLES, 3, LOGITS, 0.31829),
        (losses.cross_entropy, SHARES, SAMPLES, 3, PROBS, 1.0696),
        (losses.focal, FOCAL, SAMPLES[:2], 4, PROBS, 0.34415),
        (losses.focal, FOCAL_LOGITS, SAMPLES[:2], 6, {**LOGITS, "gamma": 3}, 0.95977),
        # Keras's alpha of 0.25 scales the whole loss.
        (losses.focal, CCE, SAMPLES, 3 / 0.25, LOGITS | MULTICLASS, 0.001933),
        (losses.focal, SHARES, SAMPLES, 3 / 0.25, PROBS | MULTICLASS, 0.06987),
    ],
)
def test_sample_weight_of_keras(loss, pair, weights, elements, settings, expected):
    pred, target = (np.asarray(x) for x in pair)
    found = loss(pred, target, valid=weights, reduction="sum", **settings) / elements
    atol = 5e-4 if loss is losses.focal else 6e-5 * max(1, expected)  # as there
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


def test_mean_with_sample_weight_of_keras():
    expected = (110 / 3 * 1.2 + 187 / 3 * 3.4) / (1.2 + 3.4)
    found = losses.mse(*map(np.asarray, MSE), valid=SAMPLES[:2])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("weights", "expected"), [([1, 0, 0], 0.0), ([0, 1, 0], 1.0), ([0, 0, 1], 1 / 5)]
)
def test_class_weights_of_kornia(weights, expected):
    """kornia/kornia, tests/losses/test_dice.py; its eps is in the denominator alone."""
    labels = np.tile([[[0, 1, 2, 2]]], (4, 1, 1))
    logits = 100 * np.tile(one_hot([[[0, 2, 2, 2]]], 3), (4, 1, 1, 1))
    for per_class in (False, True):
        how = {"per_class": per_class, "class_weights": weights, "smooth": 0}
        found = losses.dice_prob(logits, labels, **how, **LOGITS, **MULTICLASS)
        np.testing.assert_allclose(found, expected, atol=1e-6)


# kornia/kornia, tests/metrics/test_confusion.py; scikit-learn's and torchmetrics' documentation
THREE = (
    [2, 2, 0, 0, 1, 0, 0, 2, 1, 1, 0, 0, 1, 2, 1, 0],
    [2, 1, 0, 0, 0, 0, 0, 1, 0, 2, 2, 1, 0, 0, 2, 2],
)
FOUR = (
    [3, 3, 1, 1, 2, 1, 1, 3, 2, 2, 1, 1, 2, 3, 2, 1],
    [3, 2, 1, 1, 1, 1, 1, 2, 1, 3, 3, 2, 1, 1, 3, 3],
)
SQUARE = [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
HALF = [[0, 0, 0, 0], [0, 0, 0, 0], [2, 2, 3, 3], [2, 2, 3, 3]]
NONE_PREDICTED = [[3, 3, 2, 2], [3, 3, 2, 2], [2, 2, 3, 3], [2, 2, 3, 3]]


@pytest.mark.parametrize(
    ("true", "pred", "expected"),
    [
        ([1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0, 1], [[3, 1], [0, 4]]),
        (*THREE, [[4, 1, 2], [3, 0, 2], [1, 2, 1]]),
        (*FOUR, [[0, 0, 0, 0], [0, 4, 1, 2], [0, 3, 0, 2], [0, 1, 2, 1]]),
        (SQUARE, SQUARE, np.diag([4, 4, 4, 4])),
        (HALF, NONE_PREDICTED, [[0, 0, 4, 4], [0, 0, 0, 0], [0, 0, 4, 0], [0, 0, 0, 4]]),
        ([2, 0, 2, 2, 0, 1], [0, 0, 2, 2, 0, 2], [[2, 0, 0], [0, 0, 1], [1, 0, 2]]),
        ([2, 1, 0, 0], [2, 1, 0, 1], [[1, 1, 0], [0, 1, 0], [0, 0, 1]]),
    ],
)
def test_confusion_matrices(true, pred, expected):
    found = m.confusion_matrix(np.asarray(pred), np.asarray(true), classes=len(expected))
    np.testing.assert_array_equal(found, expected)


# Project-MONAI/MONAI, tests/test_compute_f_beta.py
TURNED = [[1, 0, 1], [0, 1, 0], [1, 0, 1]]


@pytest.mark.parametrize(
    ("true", "beta", "expected"),
    [
        (TURNED, 1, 0.714286),
        (TURNED, 0.5, 0.609756),
        (TURNED, 2, 0.862069),
        (np.zeros((3, 3), int), 2, 0.0),
    ],
)
def test_f_beta_of_monai(true, beta, expected):
    counts = m.count(np.ones((3, 3), bool), np.asarray(true) > 0)
    np.testing.assert_allclose(m.f_beta(counts, beta=beta, average="micro"), expected, atol=1e-6)


def test_f_beta_of_torchmetrics():
    """Lightning-AI/torchmetrics, tests/unittests/classification/test_f_beta.py, top_k=1."""
    matrix = m.confusion_matrix(np.array([2, 0, 2, 2]), np.array([0, 1, 2, 0]), classes=3)
    counts = m.Counts.of_matrix(matrix)
    for beta, expected, weighted in ((2.0, 0.7143, 0.1786), (1.0, 0.5, 0.125)):
        np.testing.assert_allclose(m.f_beta(counts, beta=beta), [0, 0, expected], atol=5e-5)
        found = m.f_beta(counts, beta=beta, average="weighted")
        np.testing.assert_allclose(found, weighted, atol=5e-5)


# Project-MONAI/MONAI, tests/test_compute_generalized_dice.py: predictions, targets, [N, C, H, W]
ONE_IMAGE = (
    [[[[1, 1], [1, 0]], [[0, 1], [0, 0]], [[0, 1], [1, 1]]]],
    [[[[1, 1], [1, 1]], [[0, 0], [0, 0]], [[0, 0], [0, 0]]]],
)
ANOTHER = (
    [[[[1, 0], [1, 1]], [[0, 1], [1, 1]], [[0, 1], [1, 0]]]],
    [[[[0, 0], [0, 1]], [[1, 1], [0, 0]], [[0, 0], [1, 0]]]],
)
FOREGROUND = (
    [[[[0, 0], [1, 1]], [[1, 0], [0, 0]]], [[[1, 0], [0, 0]], [[0, 1], [1, 0]]]],
    [[[[1, 0], [1, 0]], [[0, 1], [0, 0]]], [[[1, 1], [0, 0]], [[0, 0], [1, 0]]]],
)
ON, OFF = np.ones((2, 2, 3, 3), int), np.zeros((2, 2, 3, 3), int)


@pytest.mark.parametrize(
    ("pred", "true", "expected"),
    [
        ([[[[1, 0], [0, 1]]]], [[[[1, 0], [1, 1]]]], [0.8]),
        (*FOREGROUND, [0.1667, 0.6667]),
        (*ONE_IMAGE, [0.5455]),
        (*ANOTHER, [0.5455]),
        (ON, ON, [1, 1]),
        (ON, OFF, [0, 0]),
        (OFF, ON, [0, 0]),
        (OFF, OFF, [1, 1]),
    ],
)
def test_generalized_dice_of_monai(pred, true, expected):
    masks = (np.moveaxis(np.asarray(x), 1, -1) for x in (pred, true))
    counts = m.count(*masks, per_image=True)
    found = m.generalized_dice(counts, over="image", absent="one")
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_surface_dice_of_monai():
    """Project-MONAI/MONAI, tests/metrics/test_surface_dice.py."""
    pred, true = np.zeros((2, 1, 10, 10), int)
    pred[0, 1:4, 1] = true[0, 5:8, 6] = 1
    pair = [one_hot(labels, 2).astype(bool) for labels in (pred, true)]
    for tolerance, expected in (
        ((0, 0), (1 - 12 / 84, 0)),
        ((2.8, 5.5), (1 - 3 / 84, 1 - 4 / 6)),
        ((3, 6), (1 - 1 / 84, 1 - 2 / 6)),
    ):
        counts = m.boundary_count(*pair, tolerance=tolerance)
        np.testing.assert_allclose(m.surface_dice(counts), expected, atol=1e-6)
    pred, true = np.zeros((2, 2, 480, 640), int)
    pred[0, :, 50:] = true[0, :, 60:] = 1
    pair = [one_hot(labels, 2).astype(bool) for labels in (pred, true)]
    counts = m.boundary_count(*pair, tolerance=0, spacing=(0.85, 1.2))
    wrong, edges = 478 + 480 + 9 * 2, 480 * 4
    expected = [
        [1 - wrong / (edges + 48 * 2 + 58 * 2), 1 - wrong / (edges + 588 * 2 + 578 * 2)],
        [1, np.nan],
    ]
    np.testing.assert_allclose(m.surface_dice(counts, over="image"), expected, rtol=1e-7)
