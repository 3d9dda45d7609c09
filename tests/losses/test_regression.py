"""The report's three losses: its formulas, its edge cases, its dtypes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jax.test_util import check_grads

from segjax.errors import ConfigError
from segjax.losses import combo, dice, mse

PRED = np.array([[[1.0, 2.0], [3.0, 0.0]]], np.float32)
TARGET = np.array([[[0.0, 2.0], [1.0, 0.0]]], np.float32)


def test_values_by_hand():
    np.testing.assert_allclose(mse(PRED, TARGET), (1 + 4) / 4)
    expected_dice = 1 - 2 * (4 + 3) / ((1 + 4 + 9) + (4 + 1) + 1e-6)
    np.testing.assert_allclose(dice(PRED, TARGET), expected_dice, rtol=1e-6)
    np.testing.assert_allclose(
        combo(PRED, TARGET, dice_scale=400), 1.25 + 400 * expected_dice, rtol=1e-6
    )


values = hnp.arrays(np.float64, (3, 4, 4, 2), elements=st.floats(-300, 300, width=32))


@settings(max_examples=20, deadline=None)
@given(values, values)
def test_formulas_of_the_report_in_float64(pred, target):
    with jax.enable_x64(True):
        p, t = pred.ravel(), target.ravel()
        expected = 1 - 2 * np.sum(p * t) / (np.sum(p * p) + np.sum(t * t) + 1e-6)
        result = dice(pred, target)
        assert result.dtype == jnp.float64
        np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(mse(pred, target), np.mean((p - t) ** 2), rtol=1e-12)


@pytest.mark.parametrize("loss", [mse, dice, lambda p, t: combo(p, t, dice_scale=20.0)])
def test_gradients(loss):
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        p, t = rng.normal(size=(2, 3, 3, 2)), rng.uniform(0, 2, size=(2, 3, 3, 2))
        check_grads(jax.jit(lambda p: loss(p, t)), (p,), order=1, atol=1e-7, rtol=1e-5)
        np.testing.assert_allclose(jax.jit(loss)(p, t), loss(p, t), rtol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_is_summed_in_float32(dtype):
    mask = jnp.full((1, 512, 512, 1), 250, dtype)
    for loss in (mse, dice):
        value, grad = jax.value_and_grad(loss)(mask, mask)
        assert value.dtype == jnp.float32
        np.testing.assert_allclose(value, 0, atol=1e-6)
        assert np.isfinite(np.asarray(grad, np.float32)).all()


def test_ignored_pixels_leave_the_denominators():
    valid = np.array([[True, False]])
    np.testing.assert_allclose(mse(PRED, TARGET, valid=valid), 1 / 2)
    np.testing.assert_allclose(dice(PRED, TARGET, valid=valid), 1 - 2 * 4 / (5 + 4), rtol=1e-5)
    broken = np.where(valid[..., None], PRED, np.nan)
    grad = jax.grad(lambda p: combo(p, TARGET, dice_scale=20.0, valid=valid))(broken)
    assert np.isfinite(grad).all()
    assert (np.asarray(grad)[0, 1] == 0).all()


def test_nothing_valid_gives_zero():
    valid = np.zeros((1, 2), bool)
    value, grad = jax.value_and_grad(lambda p: combo(p, TARGET, dice_scale=20.0, valid=valid))(PRED)
    assert value == 0
    assert (np.asarray(grad) == 0).all()


def test_empty_target_and_prediction_follow_the_formula():
    zeros = np.zeros_like(PRED)
    assert dice(zeros, zeros) == 1
    assert dice(PRED, zeros) == 1


def test_wrong_arguments_say_why():
    with pytest.raises(ConfigError, match=r"shape \(1, 2, 2\) but target \(1, 2\)"):
        mse(PRED, TARGET[..., 0])
    with pytest.raises(ConfigError, match="smooth=0"):
        dice(PRED, TARGET, smooth=0)
    with pytest.raises(ConfigError, match="dice_scale=-1"):
        combo(PRED, TARGET, dice_scale=-1)
    with pytest.raises(ConfigError, match="reduction='avg'"):
        mse(PRED, TARGET, reduction="avg")
    with pytest.raises(ConfigError, match="dtype float32"):
        mse(PRED, TARGET, valid=np.ones((1, 2), np.float32))
