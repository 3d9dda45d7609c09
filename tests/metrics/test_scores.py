"""Scores have their hand-computed values, and absent classes follow the one rule."""

import inspect
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax import metrics as m
from tests.metrics.scenes import refused

NAN = math.nan
AVERAGES = ("none", "micro", "macro", "weighted")


def counts(*classes):
    """Return counts from one (tp, fp, fn, tn) per class."""
    return m.Counts(*np.array(classes, np.int64).T)


# Class 0: 6 right, 2 made up, 4 missed of 100. Class 1: absent. Class 2: only made up.
# Class 3: only missed. Class 4: perfect and everywhere.
MIXED = counts((6, 2, 4, 88), (0, 0, 0, 100), (0, 5, 0, 95), (0, 0, 10, 90), (100, 0, 0, 0))
BY_HAND = {
    "iou": [6 / 12, NAN, 0, 0, 1],
    "dice": [12 / 18, NAN, 0, 0, 1],
    "precision": [6 / 8, NAN, 0, 0, 1],
    "recall": [6 / 10, NAN, 0, 0, 1],
    "specificity": [88 / 90, 1, 95 / 100, 1, 1],
    "accuracy": [94 / 100, 1, 95 / 100, 90 / 100, 1],
    "mcc": [(6 * 88 - 2 * 4) / math.sqrt(8 * 10 * 90 * 92), NAN, 0, 0, 1],
}


def test_values_and_averages_by_hand():
    assert BY_HAND.keys() == m.SCORES.keys()
    for name, expected in BY_HAND.items():
        np.testing.assert_allclose(m.SCORES[name](MIXED), expected, rtol=1e-15, err_msg=name)
    ends = counts((5, 0, 0, 5), (10, 0, 0, 0), (0, 5, 5, 0), (0, 10, 0, 0), (0, 0, 10, 0))
    assert m.mcc(ends).tolist() == [1, 1, -1, -1, -1]
    assert m.mcc(counts((5, 5, 0, 0), (5, 0, 5, 0))).tolist() == [0, 0]
    assert m.mcc(counts((10**11, 0, 0, 10**11)))[0] == pytest.approx(1, abs=1e-15)
    weighted = (10 * 0.5 + 0 + 10 * 0 + 100 * 1) / 120
    expected = {"macro": (0.5 + 0 + 0 + 1) / 4, "micro": 106 / (106 + 7 + 14), "weighted": weighted}
    for average, value in expected.items():
        np.testing.assert_allclose(m.iou(MIXED, average=average), value, rtol=1e-15)


def test_f_beta_and_generalized_dice_by_hand():
    # 6 right, 2 made up, 4 missed
    for beta, expected in ((1, 12 / 18), (2, 5 * 6 / (30 + 4 * 4 + 2)), (0.5, 7.5 / (7.5 + 1 + 2))):
        np.testing.assert_allclose(m.f_beta(MIXED, beta=beta)[:2], [expected, NAN], rtol=1e-15)
    np.testing.assert_array_equal(m.f_beta(MIXED, beta=0), m.precision(MIXED))
    # Targets of 10, 0, 0, 10 and 100 pixels: those without weigh as those of 10.
    top, bottom = 12 + 200 / 100, (12 + 6) + 5 + 10 + 200 / 100
    assert m.generalized_dice(MIXED) == pytest.approx(top / bottom, rel=1e-15)
    by_size = (12 + 200 / 10) / (18 + 5 + 10 + 200 / 10)
    assert m.generalized_dice(MIXED, power=1) == pytest.approx(by_size, rel=1e-15)
    assert m.generalized_dice(MIXED, power=0) == m.dice(MIXED, average="micro")
    nothing = m.Counts(*np.array([[[0, 0]], [[0, 1]], [[0, 0]], [[4, 3]]]))
    for absent, value in (("skip", NAN), ("nan", NAN), ("zero", 0), ("one", 1)):
        found = m.generalized_dice(m.Counts.zero(3), absent=absent)
        np.testing.assert_array_equal(found, value)
    assert m.generalized_dice(nothing, over="image").tolist() == [0]
    refused("power must be a number", m.generalized_dice, MIXED, power=-1)
    refused("beta must be a number", m.f_beta, MIXED, beta=NAN)
    refused("per_image", m.generalized_dice, MIXED, over="image")


def test_the_four_choices_for_an_absent_class():
    for absent, alone, macro in (
        ("one", 1, 2.5 / 5),
        ("zero", 0, 1.5 / 5),
        ("skip", NAN, 1.5 / 4),
        ("nan", NAN, NAN),
    ):
        np.testing.assert_array_equal(m.iou(MIXED, absent=absent)[1], alone)
        found = m.iou(MIXED, average="macro", absent=absent)
        np.testing.assert_allclose(found, macro, rtol=1e-15)
    assert np.isnan(m.iou(MIXED, average="weighted", absent="nan"))
    # Pooled counts are not absent, so micro never asks.
    micro = [m.iou(MIXED, average="micro", absent=a) for a in ("nan", "zero", "one", "skip")]
    assert len(set(micro)) == 1
    # Nor is a class excused that is absent but made up.
    made_up = counts((0, 5, 0, 95), (0, 0, 0, 100))
    for score in (m.iou, m.dice, m.precision, m.recall, m.mcc):
        assert score(made_up)[0] == 0
        assert [score(made_up, average=average) for average in AVERAGES[1:]] == [0, 0, 0]


@pytest.mark.parametrize("score", m.SCORES.values())
def test_no_valid_pixel_at_all(score):
    for absent, value in (("nan", NAN), ("skip", NAN), ("zero", 0), ("one", 1)):
        for average in AVERAGES:
            scores = score(m.Counts.zero(3), average=average, absent=absent)
            assert np.shape(scores) == ((3,) if average == "none" else ())
            np.testing.assert_array_equal(scores, np.full(np.shape(scores), value))


def test_per_image_against_the_set():
    rng = np.random.default_rng(0)
    pred, target = rng.random((2, 5, 4, 4, 3)) < 0.4
    target[0, ..., 1] = pred[0, ..., 1] = False
    apart = m.count(pred, target, per_image=True)
    np.testing.assert_array_equal(m.iou(apart), m.iou(m.count(pred, target)))
    images = m.iou(apart, over="image")
    assert images.shape == (5, 3)
    for i in range(5):
        np.testing.assert_array_equal(images[i], m.iou(m.count(pred[i : i + 1], target[i : i + 1])))
    means = m.iou(apart, over="image", average="macro")
    assert means.shape == (5,)
    np.testing.assert_allclose(means[0], images[0, [0, 2]].mean(), rtol=1e-15)
    assert np.isnan(images[0, 1])
    np.testing.assert_allclose(m.mean_over_images(images)[1], images[1:, 1].mean(), rtol=1e-15)
    assert np.isnan(m.mean_over_images(np.full((3, 2), NAN))).all()
    refused("per_image", m.iou, m.count(pred, target), over="image")
    for name in ("average", "absent", "over"):
        refused(f"{name}='sometimes' is not one of", m.iou, MIXED, **{name: "sometimes"})


def test_in_a_trace_equals_the_host():
    def every(c):
        return {
            (name, average, absent): score(c, average=average, absent=absent)
            for name, score in m.SCORES.items()
            for average in AVERAGES
            for absent in ("nan", "skip", "one")
        } | {("generalized",): m.generalized_dice(c), ("beta",): m.f_beta(c, beta=2.0)}

    traced = jax.jit(every)(jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.int32), MIXED))
    for key, expected in every(MIXED).items():
        assert traced[key].dtype == jnp.float32
        np.testing.assert_allclose(traced[key], expected, rtol=2e-6, err_msg=str(key))


@pytest.mark.parametrize(
    "score", [*m.SCORES.values(), m.f_beta, m.surface_dice, m.hd95, m.panoptic_quality]
)
def test_help_tells_a_score_whole(score):
    names = list(inspect.signature(score).parameters)
    assert names[0] in ("counts", "distances")
    assert names[1:3] == ["average", "absent"]
    for part in ("Args:", "Returns:", "Raises:", *(f"{name}: " for name in names)):
        assert part in score.__doc__
