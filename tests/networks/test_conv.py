"""The fast gradients of the 3x3 convolution against the plain ones."""

import jax
import jax.numpy as jnp
import pytest

from segjax.networks import conv as conv_module
from segjax.networks.conv import conv, fastest_conv, fastest_gradient, patch_conv, plain_conv
from tests.networks.arrays import assert_close, draw

FORMS = conv_module.width_gradient, conv_module.kernel_gradient, conv_module.patch_gradient
SHAPES = [(3, 4, 6, 4, 5), (9, 8, 8, 2, 3)]  # fewer images than columns, and more


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
            forms = [form(x, g) for form in FORMS]
            return (ours, *by_ours(g)), (plain, *by_plain(g)), forms, patch_conv(x, kernel)

        ours, plain, forms, by_patches = results(x, kernel, g)
        assert_close(by_patches, plain[0], dtype)
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
    width_gradient, kernel_gradient, patch_gradient = FORMS
    small, large = jnp.zeros((4, 16, 16, 8)), jnp.zeros((32, 16, 16, 8))
    images, g = jnp.zeros((32, 16, 16, 3)), jnp.zeros((4, 16, 16, 64))
    if jax.default_backend() == "cpu":
        assert fastest_gradient(small, g) is width_gradient
        assert fastest_gradient(large, g) is width_gradient
        assert fastest_gradient(images, g) is patch_gradient
    assert fastest_gradient(small.astype(jnp.bfloat16), g) is kernel_gradient
    if jax.default_backend() == "cpu":
        assert fastest_conv(small) is plain_conv
    monkeypatch.setattr(conv_module.jax, "default_backend", lambda: "gpu")
    measured, more = jnp.zeros((4, 64, 64, 3)), jnp.zeros((4, 64, 72, 3))
    assert fastest_gradient(measured, g) is patch_gradient
    assert fastest_conv(measured) is patch_conv
    assert fastest_gradient(more, g) is kernel_gradient
    assert fastest_conv(more) is plain_conv
    assert fastest_gradient(small, g) is patch_gradient
    assert fastest_gradient(small.astype(jnp.bfloat16), g) is patch_gradient
    assert fastest_conv(small) is patch_conv


def test_on_a_gpu_runs_of_one_program_have_products_instead_of_grouped_convolutions(monkeypatch):
    x, kernels = jnp.zeros((3, 4, 8, 8, 16)), jnp.zeros((3, 3, 3, 16, 16))

    def lowered():
        step = jax.vmap(jax.grad(lambda k, x: conv(x, k).sum()))
        return str(jax.make_jaxpr(step)(kernels, x))

    if jax.default_backend() == "cpu":
        assert "conv_general_dilated" in lowered()
    monkeypatch.setattr(conv_module.jax, "default_backend", lambda: "gpu")
    assert "conv_general_dilated" not in lowered()
