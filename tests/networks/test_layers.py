"""Each layer against flax.linen's or lax's own form of it, values and gradients, in float64."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.networks import layers

KIND = {"dtype": jnp.float64, "param_dtype": jnp.float64}


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def assert_same_function(ours, theirs, *arguments):
    """Compare values, and the gradients of a weighted sum with respect to each argument."""
    (found, pull), (expected, pull_theirs) = (jax.vjp(f, *arguments) for f in (ours, theirs))
    weights = draw(*expected.shape, seed=9)
    results = (found, *pull(weights)), (expected, *pull_theirs(weights))
    for one, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(one, wanted, rtol=1e-12, atol=1e-12)


def flax_transposed(size, stride, dilation, padding, flip=False):
    """Return (x, kernel, bias) -> flax.linen.ConvTranspose, for a kernel stored as segjax does."""
    settings = {"strides": (stride, stride), "kernel_dilation": (dilation, dilation)} | KIND

    def apply(x, kernel, bias):
        module = nn.ConvTranspose(kernel.shape[-1], (size, size), padding=[padding] * 2, **settings)
        stored = kernel[::-1, ::-1] if flip else kernel
        # transpose_kernel=False correlates over the zero-filled input; PyTorch's taps are its flip.
        return module.apply({"params": {"kernel": stored, "bias": bias}}, x)

    return apply


def applied(module):
    return lambda x, kernel, bias: module.apply({"params": {"kernel": kernel, "bias": bias}}, x)


TRANSPOSED = flax_transposed(3, 1, 1, (1, 1))
STRIDED = applied(nn.Conv(4, (1, 1), strides=(2, 2), padding="VALID", **KIND))
# segjax's layer, Flax's form of it, height, width, input and output channels, side of the kernel.
FORMS = [
    (layers.Conv, applied(nn.Conv(4, (3, 3), padding=1, **KIND)), (6, 8, 3, 4), 3),
    # Stored flipped, PyTorch's ConvTranspose2d(3, padding=1) is the plain correlation.
    (layers.Conv, TRANSPOSED, (6, 8, 3, 4), 3),
    (functools.partial(layers.Conv, transposed=True), TRANSPOSED, (6, 8, 3, 4), 3),
    (layers.Downsample, STRIDED, (6, 8, 3, 4), 1),
    # One more row and column at the end: PyTorch's output_padding=1.
    (layers.Upsample, flax_transposed(1, 2, 2, (0, 1)), (3, 4, 3, 5), 1),
    # kernel 3, stride 2, dilation 2 spans 5; padding 2 leaves 5 - 1 - 2 on each side, and
    # output_padding 1 adds one at the end.
    (layers.DLStudioHead, flax_transposed(3, 2, 2, (2, 3)), (3, 4, 6, 5), 3),
    (layers.DenseHead, flax_transposed(2, 2, 1, (1, 1), flip=True), (3, 4, 6, 5), 2),
]


@pytest.mark.parametrize(("layer", "theirs", "shape", "size"), FORMS)
def test_a_layer_is_flaxs_form_of_it(layer, theirs, shape, size):
    *image, inputs, outputs = shape
    arguments = draw(2, *image, inputs), draw(size, size, inputs, outputs, seed=1)
    ours = applied(layer(outputs, **KIND))
    assert_same_function(ours, theirs, *arguments, draw(outputs, seed=2))


def test_max_pool_gives_a_ties_gradient_to_the_first_in_reading_order_and_hides_no_nan():
    # Few distinct values: every kind of tie occurs. nn.max_pool has the same rule.
    ties = np.random.default_rng(0).integers(0, 3, (4, 8, 8, 5)).astype(np.float64)
    for x in (ties, draw(2, 6, 8, 3)):
        assert_same_function(layers.max_pool_2x2, lambda v: nn.max_pool(v, (2, 2), (2, 2)), x)
    for unknown in np.eye(4, dtype=bool).reshape(4, 1, 2, 2, 1):
        assert np.isnan(layers.max_pool_2x2(np.where(unknown, np.nan, 1.0))).all()
    grad = jax.grad(lambda v: layers.max_pool_2x2(v).sum())(jnp.ones((1, 2, 2, 1)))
    np.testing.assert_array_equal(grad[0, ..., 0], [[1, 0], [0, 0]])


def batch_norm(x, *, train, mean, var):
    params = {"scale": draw(x.shape[-1], seed=3), "bias": draw(x.shape[-1], seed=4)}
    variables = {"params": params, "batch_stats": {"mean": mean, "var": var}}
    norm = layers.BatchNorm(**KIND)
    return variables, norm.apply(variables, x, train=train, mutable=["batch_stats"])


@pytest.mark.parametrize("train", [False, True])
def test_batch_norm_normalises_as_flax_does(train):
    mean, var = draw(3, seed=5), np.square(draw(3, seed=6)) + 0.1
    theirs = nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5, **KIND)

    def ours(x):
        return batch_norm(x, train=train, mean=mean, var=var)[1][0]

    def expected(x):
        variables, (_, updated) = batch_norm(x, train=train, mean=mean, var=var)
        assert train or np.array_equal(updated["batch_stats"]["mean"], mean)
        assert train or np.array_equal(updated["batch_stats"]["var"], var)
        with jax.numpy_dtype_promotion("standard"):  # Flax's own code promotes
            return theirs.apply(variables, x, mutable=["batch_stats"])[0]

    assert_same_function(ours, expected, draw(4, 3, 5, 3))


def test_batch_norms_running_variance_is_unbiased():
    x, mean, var = draw(2, 2, 2, 3), draw(3, seed=5), np.square(draw(3, seed=6))
    stats = batch_norm(x, train=True, mean=mean, var=var)[1][1]["batch_stats"]
    axes = (0, 1, 2)
    np.testing.assert_allclose(stats["mean"], 0.9 * mean + 0.1 * x.mean(axes), rtol=1e-12)
    unbiased = x.var(axes, ddof=1)
    np.testing.assert_allclose(stats["var"], 0.9 * var + 0.1 * unbiased, rtol=1e-12)


def test_batch_norm_keeps_float32_statistics_of_bfloat16_input():
    # A mean of 300 and a deviation of 1 leave bfloat16 three bits; float32 sums keep them apart.
    x = jnp.asarray(300 + draw(64, 8, 8, 2), jnp.bfloat16)
    module = layers.BatchNorm(dtype=jnp.bfloat16, param_dtype=jnp.float32)
    variables = module.init(jax.random.key(0), x, train=False)
    out, updated = module.apply(variables, x, train=True, mutable=["batch_stats"])
    assert out.dtype == jnp.bfloat16
    var, wide = updated["batch_stats"]["var"], np.asarray(x, np.float64)
    assert var.dtype == jnp.float32
    np.testing.assert_allclose(var, 0.9 + 0.1 * wide.var((0, 1, 2), ddof=1), rtol=1e-4)


@pytest.mark.parametrize(
    ("module", "fan_in"),
    [
        (layers.Conv(32), 16 * 9),
        (layers.Conv(32, transposed=True), 32 * 9),
        (layers.Downsample(32), 16),
        (layers.Upsample(32), 32),
        (layers.DLStudioHead(32), 32 * 9),
        (layers.DenseHead(32), 32 * 4),
    ],
)
def test_initial_values_fill_pytorchs_bounds(module, fan_in):
    params = module.init(jax.random.key(3), jnp.zeros((1, 4, 4, 16)))["params"]
    bound = 1 / math.sqrt(fan_in)
    for leaf in (params["kernel"], params["bias"]):
        assert 0.8 * bound < np.abs(leaf).max() <= bound
        assert np.abs(np.mean(leaf)) < 4 * bound / math.sqrt(3 * leaf.size)
    assert not np.isin(params["bias"], params["kernel"]).any()


def test_relu_is_pytorchs_in_value_and_gradient():
    x = jnp.asarray([-2.0, -0.0, 0.0, 3.0, jnp.nan, jnp.inf, -jnp.inf])
    y, pull = jax.vjp(layers.relu, x)
    np.testing.assert_array_equal(y, [0.0, 0.0, 0.0, 3.0, np.nan, np.inf, 0.0])
    np.testing.assert_array_equal(pull(jnp.ones(7))[0], [0, 0, 0, 1, 1, 1, 0])
