"""Random arrays, and how close two computations of one thing must come."""

import jax.numpy as jnp
import numpy as np

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def draw(shape, dtype, seed=0, mean=0.0):
    numbers = np.random.default_rng(seed).standard_normal(shape) + mean
    return jnp.asarray(numbers.astype(dtype))


def assert_close(ours, plain, dtype):
    scale = float(jnp.abs(plain).max())
    np.testing.assert_allclose(ours, plain, rtol=0, atol=TOLERANCE[dtype] * scale)
