"""Batch norm's sums, moments and gradient against autodiff and float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.networks.norm import BATCH_NORM_EPSILON, moments, normalise, staged_sums
from tests.networks.arrays import TOLERANCE, assert_close, draw


def autodiff_normalise(x, scale, bias):
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axes, keepdims=True)
    var = jnp.square(x - mean).mean(axes, keepdims=True)
    scale, bias = scale.reshape(mean.shape), bias.reshape(mean.shape)
    return (x - mean) * (scale / jnp.sqrt(var + BATCH_NORM_EPSILON)) + bias


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mean", [0.0, 30.0])
def test_batch_norm_equals_autodiff_in_value_and_gradients(dtype, mean):
    with jax.enable_x64(dtype == "float64"):
        x = draw((4, 16, 16, 6), dtype, 1, mean)
        scale, bias = draw((6,), dtype, 2), draw((6,), dtype, 3)
        g = draw(x.shape, dtype, 4)

        @jax.jit
        def results(x, scale, bias, g):
            (y, mean, var), pull = jax.vjp(normalise, x, scale, bias)
            plain, pull_plain = jax.vjp(autodiff_normalise, x, scale, bias)
            nothing = jnp.zeros_like(mean)
            return (y, *pull((g, nothing, nothing))), (plain, *pull_plain(g)), (mean, var)

        ours, plain, (batch_mean, batch_var) = results(x, scale, bias, g)
        exact = np.asarray(x, np.float64)
        np.testing.assert_allclose(batch_mean, exact.mean((0, 1, 2)), rtol=0, atol=1e-5)
        np.testing.assert_allclose(batch_var, exact.var((0, 1, 2)), rtol=TOLERANCE[dtype])
        for mine, theirs in zip(ours, plain, strict=True):
            assert_close(mine, theirs, dtype)


def test_sums_have_two_stages_also_for_runs_side_by_side():
    runs = draw((3, 4, 16, 16, 6), "float32", 1, 30.0)
    scale, bias = draw((3, 6), "float32", 2), draw((3, 6), "float32", 3)
    ours = jax.jit(jax.vmap(lambda *given: normalise(*given)[0]))
    assert "optimization_barrier" in ours.lower(runs, scale, bias).as_text()
    plain = jax.vmap(autodiff_normalise)(runs, scale, bias)
    assert_close(ours(runs, scale, bias), plain, "float32")


@pytest.mark.parametrize("rows", [(4, 8, 8), (3, 5, 7), (1, 1, 1), (64, 32, 32)])
def test_long_sums_stay_exact(rows):
    x = draw((*rows, 4), "float32", 1, mean=100.0)
    exact = np.asarray(x, np.float64).sum((0, 1, 2))
    product, plain = jax.jit(lambda a, b: staged_sums(a * b, b))(x, 2 * x)
    np.testing.assert_allclose(plain, 2 * exact, rtol=1e-6)
    exact = 2 * np.square(np.asarray(x, np.float64)).sum((0, 1, 2))
    np.testing.assert_allclose(product, exact, rtol=1e-6)


@pytest.mark.parametrize("offset", [0.0, 1e3, -1e5])
@pytest.mark.parametrize("rows", [(4, 8, 8), (3, 5, 7), (16, 32, 32)])
def test_moments_are_exact_far_from_zero_and_where_the_first_rows_differ(rows, offset):
    x = np.array(draw((*rows, 3), "float32", 1))
    x[:, 0, :, 1] += 30  # the part whose mean is the centre is unlike the rest
    x[..., 2] = 0.1
    x = (x + np.float32(offset)).astype(np.float32)
    exact = x.astype(np.float64)
    mean, var = jax.jit(moments)(jnp.asarray(x))
    np.testing.assert_allclose(mean, exact.mean((0, 1, 2)), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(var, exact.var((0, 1, 2)), rtol=3e-5, atol=1e-7)
    assert (np.asarray(var) >= 0).all()
