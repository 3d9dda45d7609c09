"""What was read as what, where classes overlap and where they exclude each other."""

import dataclasses

import numpy as np
import pytest

from segjax import metrics
from segjax.data import synthetic
from segjax.evaluate.measure import confused, measure
from segjax.evaluate.report import results_of
from segjax.predict.trained import load_trained
from segjax.training.evaluate import make_predict
from segjax.training.objective import half_value


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


def test_how_images_are_batched_does_not_matter_and_pixels_without_truth_are_left_out(unet_run):
    trained, scenes = load_trained(unet_run), synthetic(5, seed=3)
    right = [(0, 0), (0, 0), (0, 64)]
    wide = {name: np.pad(getattr(scenes, name), [*right, (0, 0)]) for name in ("images", "masks")}
    ignore = np.broadcast_to(np.arange(128) >= 64, (5, 64, 128))
    dataset = dataclasses.replace(scenes, **wide, ignore=ignore)
    how = {"stats": "running", "worst": 2, "progress": False}
    whole, parts = (measure(trained, dataset, batch_size=size, **how) for size in (5, 2))
    predict = make_predict(trained.model, trained.objective, stats="running")
    values = np.asarray(predict(trained.variables, dataset.images))
    said, true = np.asarray(half_value(values, scenes.class_values)), dataset.masks > 0
    assert said[:, :, :64].any()
    assert said[:, :, 64:].any()
    shares = values / np.array(scenes.class_values, np.float32)
    outlines = metrics.boundary_count(said, true, valid=~ignore)
    for found, expected in zip(whole.boundary.leaves(), outlines.leaves(), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert parts.loss == pytest.approx(whole.loss)
    for found in (whole, parts):
        half = found.counts["half"]
        assert (half.tp + half.fp + half.fn + half.tn == 64 * 64).all()
        np.testing.assert_array_equal(found.objects.image, scenes.box_image)
        assert [row[1] for row in found.worst] == [row[1] for row in whole.worst]
        np.testing.assert_array_equal(found.confusion, confused(shares, said, true, ~ignore))
    # Twice the area of 64 x 64.
    assert results_of(parts, dataset)["objects_by_size"]["up_to_pixels"] == [128, 512, np.inf]
