"""The fast gradients of the 3x3 convolution and of batch norm against the plain ones."""

import platform
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from segjax.networks import conv as conv_module
from segjax.networks.conv import (
    conv,
    fastest_gradient,
    kernel_gradient,
    patch_gradient,
    plain_conv,
    width_gradient,
)
from segjax.networks.norm import (
    BATCH_NORM_EPSILON,
    folded_sums,
    moments,
    normalise,
    plain_sums,
    product_sums,
)
from segjax.training.backend import compiler_options, jit

SHAPES = [(3, 4, 6, 4, 5), (9, 8, 8, 2, 3)]  # fewer images than columns, and more
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def draw(shape, dtype, seed=0, mean=0.0):
    numbers = np.random.default_rng(seed).standard_normal(shape) + mean
    return jnp.asarray(numbers.astype(dtype))


def assert_close(ours, plain, dtype):
    scale = float(jnp.abs(plain).max())
    np.testing.assert_allclose(ours, plain, rtol=0, atol=TOLERANCE[dtype] * scale)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_conv_equals_the_plain_one_in_value_and_gradients(shape, dtype):
    batch, height, width, inputs, outputs = shape
    with jax.enable_x64(dtype == "float64"):
        x = draw((batch, height, width, inputs), dtype, 1)
        kernel = draw((3, 3, inputs, outputs), dtype, 2)
        g = draw((batch, height, width, outputs), dtype, 3)

        @jax.jit
        def results(x, kernel, g):
            ours, by_ours = jax.vjp(conv, x, kernel)
            plain, by_plain = jax.vjp(plain_conv, x, kernel)
            forms = width_gradient(x, g), kernel_gradient(x, g), patch_gradient(x, g)
            return (ours, *by_ours(g)), (plain, *by_plain(g)), forms

        ours, plain, forms = results(x, kernel, g)
        for mine, theirs in zip(ours, plain, strict=True):
            assert mine.dtype == theirs.dtype
            assert_close(mine, theirs, dtype)
        for by_kernel in forms:
            assert_close(by_kernel, plain[2], dtype)


def test_overwritten_channels_are_computed_and_pass_no_gradient():
    x, kernel = draw((3, 6, 6, 4), "float32", 1), draw((3, 3, 4, 6), "float32", 2)
    g = draw((3, 6, 6, 6), "float32", 3)
    ours, pull = jax.vjp(lambda x, kernel: conv(x, kernel, 2), x, kernel)
    plain, pull_plain = jax.vjp(plain_conv, x, kernel)
    assert_close(ours, plain, "float32")
    for mine, theirs in zip(pull(g), pull_plain(g.at[..., :2].set(0)), strict=True):
        assert mine.shape == theirs.shape
        assert_close(mine, theirs, "float32")


def test_each_size_takes_its_own_gradient(monkeypatch):
    small, large = jnp.zeros((4, 16, 16, 8)), jnp.zeros((32, 16, 16, 8))
    images, g = jnp.zeros((32, 16, 16, 3)), jnp.zeros((4, 16, 16, 64))
    if jax.default_backend() == "cpu":
        assert fastest_gradient(small, g) is width_gradient
        assert fastest_gradient(images, g) is patch_gradient
    assert fastest_gradient(large, g) is kernel_gradient
    assert fastest_gradient(small.astype(jnp.bfloat16), g) is kernel_gradient
    monkeypatch.setattr(conv_module.jax, "default_backend", lambda: "gpu")
    assert fastest_gradient(small, g) is kernel_gradient
    assert fastest_gradient(images, g) is kernel_gradient


def test_conv_under_vmap_is_conv_of_each():
    x, kernels = draw((2, 8, 8, 3), "float32", 1), draw((2, 3, 3, 3, 4), "float32", 2)

    def loss(kernel):
        return jnp.square(conv(x, kernel)).sum()

    by_kernel = jax.jit(jax.grad(loss))
    together = jax.jit(jax.vmap(jax.grad(loss)))(kernels)
    one_by_one = jnp.stack([by_kernel(kernel) for kernel in kernels])
    assert_close(together, one_by_one, "float32")


def autodiff_normalise(x, scale, bias):
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axes)
    var = jnp.square(x - mean).mean(axes)
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


def test_batch_norm_gradient_is_the_derivative():
    with jax.enable_x64(True):
        x, scale, bias = (draw(s, "float64", i) for i, s in enumerate([(2, 4, 4, 3), (3,), (3,)]))
        check_grads(jax.jit(lambda *a: normalise(*a)[0]), (x, scale, bias), order=1, modes=["rev"])


@pytest.mark.parametrize("rows", [(4, 8, 8), (3, 5, 7), (1, 1, 1), (64, 32, 32)])
def test_long_sums_stay_exact(rows):
    x = draw((*rows, 4), "float32", 1, mean=100.0)
    exact = np.asarray(x, np.float64).sum((0, 1, 2))
    np.testing.assert_allclose(jax.jit(plain_sums)(x), exact, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(product_sums)(x), exact, rtol=1e-6)
    folded = jax.jit(lambda x: folded_sums(lambda a, b: (a * b, b), x, 2 * x))(x)
    np.testing.assert_allclose(folded[1], 2 * exact, rtol=1e-6)
    exact = 2 * np.square(np.asarray(x, np.float64)).sum((0, 1, 2))
    np.testing.assert_allclose(folded[0], exact, rtol=1e-6)


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


def test_jit_gives_the_same_numbers_with_its_compiler_options():
    x, kernel = draw((4, 16, 16, 8), "float32", 1), draw((3, 3, 8, 8), "float32", 2)
    assert_close(jit(conv)(x, kernel), jax.jit(conv)(x, kernel), "float32")


def test_unknown_compiler_options_are_left_out(monkeypatch):
    from segjax.training import backend

    monkeypatch.setattr(backend, "CPU_OPTIONS", {"xla_cpu_no_such_option": "1"})
    compiler_options.cache_clear()
    try:
        assert compiler_options() is None
        assert jit(jnp.sin)(jnp.zeros(())) == 0
    finally:
        compiler_options.cache_clear()


MEMORY = """
import resource, sys
from segjax.training import backend
prepared = backend.prepare() if "prepared" in sys.argv else None
import jax, jax.numpy as jnp

def work(x):  # the product between is 64 MiB
    return ((x @ x.T) @ x).sum()

x = jnp.ones((4096, 8))
compiled = jax.jit(work).lower(x).compile()
for _ in range(2):
    compiled(x).block_until_ready()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
compiled(x).block_until_ready()
print(prepared, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*arguments):
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, *arguments], check=True, capture_output=True, text=True
    )
    prepared, count = done.stdout.split()
    return prepared, int(count)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_prepared_programs_reuse_their_memory():
    _, afresh = faults()
    prepared, reused = faults("prepared")
    assert prepared == "True"
    assert reused < afresh / 10
