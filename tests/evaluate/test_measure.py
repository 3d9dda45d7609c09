"""What was read as what, where classes overlap and where they exclude each other."""

import numpy as np

from segjax import metrics
from segjax.evaluate.measure import confused


def test_what_was_read_as_what_by_hand():
    # Four pixels in a row: both classes, the first, the second, and none of the two.
    true = np.array([[[[1, 1], [1, 0], [0, 1], [0, 0]]]], bool)
    assert confused(true * 1.0, true, true).tolist() == [[2, 0, 0], [0, 2, 0], [0, 0, 1]]
    said = np.array([[[[0, 1], [0, 1], [1, 1], [1, 1]]]], bool)
    shares = np.array([[[[0.1, 0.9], [0.4, 0.8], [0.9, 0.6], [0.6, 0.7]]]])
    # Pixel 0 is the second class as well, so the first is missed there and not taken for it; in
    # pixel 2 the second was said, if not the strongest; in pixel 3 the strongest is made up.
    found = confused(shares, said, true)
    assert found.tolist() == [[0, 1, 1], [0, 2, 0], [0, 1, 0]]
    valid = np.array([[[True, True, True, False]]])
    assert confused(shares, said, true, valid).sum(axis=1).tolist() == [2, 2, 0]


def test_the_diagonal_is_recall_and_exclusive_classes_give_the_matrix_of_their_labels():
    rng = np.random.default_rng(0)
    true, said = rng.integers(0, 4, (2, 3, 8, 8))  # 3 is the background
    masks = [labels[..., None] == np.arange(3) for labels in (true, said)]
    expected = np.zeros((4, 4), int)
    np.add.at(expected, (true.ravel(), said.ravel()), 1)
    np.testing.assert_array_equal(confused(masks[1] * 1.0, masks[1], masks[0]), expected)
    true, said, shares = *(rng.random((2, 3, 8, 8, 3)) < 0.4), rng.random((3, 8, 8, 3))
    valid = rng.random((3, 8, 8)) < 0.8
    found = confused(shares, said, true, valid)
    recall = metrics.recall(metrics.count(said, true, valid=valid))
    np.testing.assert_allclose(found.diagonal()[:3] / found.sum(axis=1)[:3], recall)
    assert found.sum(axis=1)[:3].tolist() == (true & valid[..., None]).sum(axis=(0, 1, 2)).tolist()
