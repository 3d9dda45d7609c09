import functools

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
    masks[0, :2, :4, 0] = masks[1, 0, :2, 0] = 50
    masks[1, 0, :, 1] = 250
    return masks


def balanced(*counts):
    """The weights of classes on so many pixels."""
    rarity = 1 / np.array(counts)
    return rarity / rarity.mean()


def test_weights_are_those_of_the_counts():
    more, third = masks_of(), np.zeros((2, 4, 5, 1), np.uint8)
    more[1, 1, :, 1] = 250
    # Of the first image half counts, where class 0 has no pixel fewer.
    uneven = np.arange(40).reshape(2, 4, 5) // 10 == 1
    rng = np.random.default_rng(0)
    drawn = (rng.random((6, 8, 8, 4)) < [0.3, 0.2, 0.5, 0.1]).astype(np.uint8) * 50
    labels = np.max((drawn > 0) * np.arange(1, 5), axis=-1)
    many = (rng.random((CHUNK_IMAGES + 7, 2, 2, 3)) < [0.5, 0.2, 0.1]).astype(np.uint8)
    for masks, options, expected in (
        # 10 and 5 pixels: 1/10 and 1/5, over their mean 3/20.
        (masks_of(), {}, [2 / 3, 4 / 3]),
        # Of the images that show it: 10 of 40 pixels and 5 of 20, equally frequent where they are.
        (masks_of(), {"rule": "median"}, [1, 1]),
        (more, {"rule": "median"}, [4 / 3, 2 / 3]),  # now 10 of 20
        # 10 of 30 pixels and 5 of 20: 3 to 4.
        (masks_of(), {"rule": "median", "ignore": uneven}, [6 / 7, 8 / 7]),
        (np.eye(2, dtype=np.uint8)[None, [[0, 1, 1]]], {}, balanced(1, 2)),
        # With a background, and the last class winning: 27 of it, 8 and 5.
        (masks_of(), {"multiclass": True}, balanced(27, 8, 5)),
        # A class without a pixel.
        (np.concatenate([masks_of(), third], axis=-1), {}, [2 / 3, 4 / 3, 1]),
        (drawn, {"multiclass": True}, balanced(*np.bincount(labels.ravel(), minlength=5))),
        # Counted in parts, whatever the mask values.
        (many, {}, balanced(*many.sum(axis=(0, 1, 2), dtype=int))),
    ):
        found = balanced_class_weights(masks, **options)
        np.testing.assert_allclose(found, expected)
    np.testing.assert_array_equal(found, balanced_class_weights(many * np.uint8([50, 100, 250])))


@pytest.mark.parametrize("rule", ["balanced", "median"])
@pytest.mark.parametrize("multiclass", [False, True])
def test_ignored_pixels_do_not_count(rule, multiclass):
    ignore, spoiled = np.zeros((2, 4, 5), bool), masks_of()
    ignore[:, 0], spoiled[:, 0] = True, 50
    weights = functools.partial(balanced_class_weights, rule=rule, multiclass=multiclass)
    np.testing.assert_allclose(weights(spoiled, ignore=ignore), weights(masks_of()[:, 1:]))


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
    # Numbers and nothing stay.
    for given in ({}, {"loss_class_weights": "1,2"}, {"loss_class_weights": ""}):
        assert resolve_class_weights(given, masks_of(), reads="sigmoid") == given


@pytest.mark.parametrize(("name", "reads"), [("bce", "sigmoid"), ("ce", "softmax")])
def test_weights_reach_the_loss(name, reads):
    """A rare class's error costs more, by the weights' ratio, than with even weights."""
    parameters = resolve_class_weights({"loss_class_weights": "balanced"}, masks_of(), reads=reads)
    weights = np.array(parameters["loss_class_weights"].split(","), float)
    assert len(weights) == 2 + (reads == "softmax")
    targets = masks_of() > 0
    if reads == "softmax":
        targets = np.max(targets * np.arange(1, 3), axis=-1)
    outputs = jnp.zeros((2, 4, 5, len(weights)))
    weighted, plain = (
        np.asarray(jax.grad(make_loss(name, parameters=given))(outputs, targets))
        for given in (parameters, {})
    )
    ratio = np.abs(weighted).sum((0, 1, 2)) / np.abs(plain).sum((0, 1, 2))
    if reads == "sigmoid":
        np.testing.assert_allclose(ratio[1] / ratio[0], weights[1] / weights[0], rtol=1e-4)
    else:
        assert ratio[2] > ratio[0]
