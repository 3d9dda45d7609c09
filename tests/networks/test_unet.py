"""The small U-Net: shapes, dtypes, gradients, what it can tell apart, and its settings' errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.config import Config
from segjax.errors import ConfigError
from segjax.networks import layers
from segjax.networks.build import make_network
from segjax.networks.summary import layers_of
from segjax.networks.unet import UNet


def images_of(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_the_defaults_are_those_of_the_settings():
    given = {"widths": Config().widths(), "patch": Config.unet_patch, "blocks": Config.unet_blocks}
    assert UNet() == UNet(**given, num_classes=5, input_scale=1.0)
    assert given == {"widths": (32, 64, 128), "patch": 2, "blocks": 1}
    assert sum(row.parameters for row in layers_of(UNet(), size=(16, 16))) == 475_700


@pytest.mark.parametrize("size", [1, 2, 4])
def test_space_to_depth_keeps_a_patch_together_and_is_undone(size):
    x = np.random.default_rng(0).normal(size=(2, 8, 16, 3)).astype(np.float32)
    deep = layers.space_to_depth(x, size)
    assert deep.shape == (2, 8 // size, 16 // size, 3 * size**2)
    np.testing.assert_array_equal(deep[1, 0, 1].ravel(), x[1, :size, size : 2 * size].ravel())
    np.testing.assert_array_equal(layers.depth_to_space(deep, size), x)


between = pytest.param((8, 12), 4, marks=pytest.mark.slow)


@pytest.mark.parametrize(("widths", "patch"), [((8,), 8), between, ((4, 6, 8), 2)])
def test_every_pixel_is_written_and_every_parameter_has_a_gradient(widths, patch):
    model = UNet(widths=widths, patch=patch, num_classes=3, input_scale=1 / 255)
    images = images_of(2, 16, 24, 3)
    variables = model.init(jax.random.key(0), images, train=False)
    weights = np.random.default_rng(1).normal(size=(2, 16, 24, 3)).astype(np.float32)

    def loss(params):
        variables_in = {**variables, "params": params}
        outputs, _ = model.apply(variables_in, images, train=True, mutable=["batch_stats"])
        return (outputs * weights).sum(), outputs

    (_, outputs), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])
    assert outputs.shape == (2, 16, 24, 3)
    assert outputs.dtype == jnp.float32
    assert (outputs.std(axis=0) > 0).all()
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        name = jax.tree_util.keystr(path)
        assert np.isfinite(grad).all(), name
        # A bias before a batch norm is subtracted again: only rounding reaches it.
        if "bias" not in name or "bn" in name or "conv_out" in name:
            assert np.abs(grad).max() > 1e-4, name


def test_the_running_statistics_follow_training_and_serve_at_test_time():
    model = UNet(widths=(4, 8), patch=4)
    images = images_of(4, 16, 16, 3)
    variables = model.init(jax.random.key(0), images, train=False)
    evaluate = jax.jit(functools.partial(model.apply, train=False))
    train = jax.jit(functools.partial(model.apply, train=True, mutable=["batch_stats"]))
    before = evaluate(variables, images)
    _, updated = train(variables, images)
    after = evaluate({**variables, **updated}, images)
    assert not np.allclose(before, after)
    alone = evaluate({**variables, **updated}, images[:1])
    np.testing.assert_allclose(alone, after[:1], rtol=1e-4, atol=1e-4)


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_parameters():
    model = UNet(widths=(4, 8), patch=4, dtype=jnp.bfloat16)
    images = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.uint8)
    start = functools.partial(model.init_with_output, train=False)
    outputs, variables = jax.eval_shape(start, jax.random.key(0), images)
    assert outputs.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}


def test_settings_that_do_not_fit_are_refused_by_name():
    for settings, message in (
        ({"network": "unet"}, "--head=dlstudio: --network=unet writes every pixel"),
        ({"network": "unet", "head": "dense", "depth": 8}, "--depth=8: --network=unet has no"),
        ({"network": "unet", "head": "dense", "upsampling": "dense"}, "--upsampling=dense"),
        ({"unet_widths": "8,16"}, "--unet_widths=8,16: --network=munet has no"),
        ({"network": "unet", "head": "dense", "unet_widths": "8;16"}, "channels per level"),
        ({"network": "unet", "head": "dense", "unet_widths": "8,0"}, "channels per level"),
        ({"network": "unet", "head": "dense", "unet_patch": 3}, "1, 2, 4 or 8"),
        ({"network": "unet", "head": "dense", "unet_patch": 4}, "3 --unet_widths.*at most 8"),
        ({"network": "resnet"}, "choose one of munet, unet"),
    ):
        with pytest.raises(ConfigError, match=message):
            Config(**settings)


def test_the_settings_reach_the_network():
    settings = {"unet_widths": "16, 32", "unet_patch": 4, "unet_blocks": 2, "input_range": "unit"}
    model = make_network(Config(network="unet", head="dense", **settings), num_classes=6)
    assert model == UNet(widths=(16, 32), patch=4, blocks=2, num_classes=6, input_scale=1 / 255)
    rows = layers_of(model)
    assert rows[0].output == (16, 16, 16)
    assert rows[-1].output == (16, 16, 6 * 16)
    # conv_out: a product of 16 inputs and 96 outputs on 16x16 cells, and the bias
    assert rows[-1].flops == 2 * 16 * 16 * 16 * 96 + 16 * 16 * 96
    assert rows[-1].parameters == 16 * 96 + 96
