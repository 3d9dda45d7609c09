import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.errors import ConfigError, DataError
from segjax.losses import make_loss
from segjax.training.class_weights import (
    CHUNK_IMAGES,
    balanced_class_weights,
    resolve_class_weights,
)


def masks_of():
    """Two 4x5 images: class 0 on 8 and 2 pixels, class 1 on 5 pixels of the second only."""
    masks = np.zeros((2, 4, 5, 2), np.uint8)
    masks[0, :2, :4, 0] = 50
    masks[1, 0, :2, 0] = 50
    masks[1, 0, :, 1] = 250
    return masks


def test_weights_by_hand():
    # 10 and 5 pixels: 1/10 and 1/5, over their mean 3/20.
    np.testing.assert_allclose(balanced_class_weights(masks_of()), [2 / 3, 4 / 3])
    # Of the images that show it: 10 of 40 pixels and 5 of 20, equally frequent where they are.
    np.testing.assert_allclose(balanced_class_weights(masks_of(), rule="median"), [1, 1])
    masks = masks_of()
    masks[1, 1, :, 1] = 250  # now 10 of 20
    np.testing.assert_allclose(balanced_class_weights(masks, rule="median"), [4 / 3, 2 / 3])
    # With a background, and the last class winning: 27 of it, 8 and 5.
    rarity = 1 / np.array([27, 8, 5])
    got = balanced_class_weights(masks_of(), multiclass=True)
    np.testing.assert_allclose(got, rarity / rarity.mean())
    # A class without a pixel.
    masks = np.concatenate([masks_of(), np.zeros((2, 4, 5, 1), np.uint8)], axis=-1)
    np.testing.assert_allclose(balanced_class_weights(masks), [2 / 3, 4 / 3, 1])


def test_multiclass_counts_are_those_of_the_labels():
    rng = np.random.default_rng(0)
    masks = (rng.random((6, 8, 8, 4)) < [0.3, 0.2, 0.5, 0.1]).astype(np.uint8) * 50
    labels = np.max((masks > 0) * np.arange(1, 5), axis=-1)
    rarity = 1 / np.bincount(labels.ravel(), minlength=5)
    got = balanced_class_weights(masks, multiclass=True)
    np.testing.assert_allclose(got, rarity / rarity.mean())


@pytest.mark.parametrize("rule", ["balanced", "median"])
@pytest.mark.parametrize("multiclass", [False, True])
def test_ignored_pixels_do_not_count(rule, multiclass):
    masks = masks_of()
    ignore = np.zeros((2, 4, 5), bool)
    ignore[:, 0] = True
    options = {"rule": rule, "multiclass": multiclass}
    spoiled = masks.copy()
    spoiled[:, 0] = 50
    np.testing.assert_allclose(
        balanced_class_weights(spoiled, ignore=ignore, **options),
        balanced_class_weights(masks[:, 1:], **options),
    )


def test_many_images_are_counted_in_parts_whatever_the_mask_values():
    rng = np.random.default_rng(1)
    masks = (rng.random((CHUNK_IMAGES + 7, 2, 2, 3)) < [0.5, 0.2, 0.1]).astype(np.uint8)
    rarity = 1 / (masks > 0).sum(axis=(0, 1, 2))
    found = balanced_class_weights(masks)
    np.testing.assert_allclose(found, rarity / rarity.mean())
    np.testing.assert_array_equal(found, balanced_class_weights(masks * np.uint8([50, 100, 250])))


def test_what_cannot_work_is_said():
    for masks, options, error, said in (
        (np.zeros((1, 4, 4, 2), np.uint8), {}, DataError, "no pixel of any class"),
        (np.zeros((0, 4, 4, 2), np.uint8), {}, DataError, "no pixel of any class"),
        (np.zeros((1, 4, 4, 2)), {"multiclass": True}, DataError, "no pixel of any class"),
        (masks_of(), {"rule": "even"}, ConfigError, "'even': choose one of balanced, median"),
        (masks_of()[0], {}, ConfigError, r"must be \[N, H, W, C\]"),
        (masks_of(), {"ignore": np.zeros((2, 4), bool)}, ConfigError, r"must be \(2, 4, 5\)"),
    ):
        with pytest.raises(error, match=said):
            balanced_class_weights(masks, **options)


def test_numbers_and_nothing_stay():
    for given in ({}, {"loss_class_weights": "1,2"}, {"loss_class_weights": ""}):
        assert resolve_class_weights(given, masks_of(), reads="sigmoid") == given


@pytest.mark.parametrize(("name", "reads"), [("bce", "sigmoid"), ("ce", "softmax")])
def test_weights_reach_the_loss(name, reads):
    """A rare class's error costs more, by the weights' ratio, than with even weights."""
    parameters = resolve_class_weights({"loss_class_weights": "balanced"}, masks_of(), reads=reads)
    assert len(parameters["loss_class_weights"].split(",")) == 2 + (reads == "softmax")
    targets = masks_of() > 0
    if reads == "softmax":
        targets = np.max(targets * np.arange(1, 3), axis=-1)
    outputs = jnp.zeros((*masks_of().shape[:3], 2 + (reads == "softmax")))
    weighted, plain = (
        np.asarray(jax.grad(make_loss(name, parameters=given))(outputs, targets))
        for given in (parameters, {})
    )
    weights = np.array([float(w) for w in parameters["loss_class_weights"].split(",")])
    ratio = np.abs(weighted).sum((0, 1, 2)) / np.abs(plain).sum((0, 1, 2))
    if reads == "sigmoid":
        np.testing.assert_allclose(ratio[1] / ratio[0], weights[1] / weights[0], rtol=1e-4)
    else:
        assert ratio[2] > ratio[0]
