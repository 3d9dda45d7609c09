"""The doublings inside the network: what DLStudio's leave constant, the dense ones compute."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.errors import ConfigError
from segjax.networks.munet import MUnet, UpBlock, count_parameters


def inside_spread(upsampling):
    """Range over the image of a doubling's output, at even pixels and at the others."""
    block = UpBlock(8, upsample=True, upsampling=upsampling, skip_connections=False)
    x = jax.random.normal(jax.random.key(0), (1, 6, 6, 8))
    variables = block.init(jax.random.key(1), x, train=False)
    out = np.asarray(block.apply(variables, x, train=False))
    assert out.shape == (1, 12, 12, 8)
    others = np.stack([out[:, 0::2, 1::2], out[:, 1::2, 0::2], out[:, 1::2, 1::2]])
    return np.ptp(out[:, 0::2, 0::2], axis=(0, 1, 2)), np.ptp(others, axis=(1, 2, 3))


def test_dlstudios_doubling_leaves_three_pixels_in_four_constant():
    even, others = inside_spread("dlstudio")
    assert even.min() > 0
    assert others.max() == 0


def test_the_dense_doubling_computes_all():
    even, others = inside_spread("dense")
    assert even.min() > 0
    assert others.min() > 0


def test_it_costs_few_parameters():
    def count(upsampling):
        model = MUnet(depth=4, upsampling=upsampling)
        images = jnp.zeros((1, 64, 64, 3))
        shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))
        return count_parameters(shapes["params"])

    assert count("dense") - count("dlstudio") == 3 * (128 * 128 + 64 * 64)


def test_another_choice_is_an_error():
    with pytest.raises(ConfigError, match="upsampling='bilinear'"):
        MUnet(upsampling="bilinear")
