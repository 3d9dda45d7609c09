"""The report's three losses: its formulas, its edge cases, its dtypes."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segjax.losses import combo, dice, mse

PRED = np.array([[[1.0, 2.0], [3.0, 0.0]]], np.float32)
TARGET = np.array([[[0.0, 2.0], [1.0, 0.0]]], np.float32)
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
        squares = np.mean((p - t) ** 2)
        np.testing.assert_allclose(mse(pred, target), squares, rtol=1e-12)
        both = combo(pred, target, dice_scale=400)
        np.testing.assert_allclose(both, squares + 400 * expected, rtol=1e-12, atol=1e-10)
    assert dice(0 * pred, 0 * pred) == 1


def test_ignored_pixels_leave_the_denominators():
    valid = np.array([[True, False]])
    np.testing.assert_allclose(mse(PRED, TARGET, valid=valid), 1 / 2)
    np.testing.assert_allclose(dice(PRED, TARGET, valid=valid), 1 - 2 * 4 / (5 + 4), rtol=1e-5)
    broken = np.where(valid[..., None], PRED, np.nan)
    grad = jax.grad(lambda p: combo(p, TARGET, dice_scale=20.0, valid=valid))(broken)
    assert np.isfinite(grad).all()
    assert (np.asarray(grad)[0, 1] == 0).all()
