"""mUnet as a whole: its counts, its errors, its heads, and that all of it is used."""

import functools
from collections import Counter

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.dlstudio import layout
from segjax.errors import ConfigError
from segjax.networks import layers
from segjax.networks import munet as model
from segjax.networks.build import initial_variables
from segjax.networks.conv import conv
from segjax.networks.munet import MUnet
from segjax.networks.unet import UNet

# depth: parameters DLStudio counts, its parameter tensors, parameters that run, their tensors
REFERENCE = {
    4: (2_561_605, 132, 1_822_213, 108),
    8: (4_040_773, 196, 3_005_701, 164),
    16: (6_999_109, 324, 5_076_997, 268),
}


def shapes(**settings):
    image = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.uint8)
    init = functools.partial(MUnet(**settings).init, train=False)
    return jax.eval_shape(init, jax.random.key(0), image)


def images(*size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)


def run(given, x, *, train=True, depth=2, **settings):
    """Run a pass, not jitted: its few kinds of layer compile once, whole networks each anew."""
    return MUnet(depth=depth, **settings).apply(given, x, train=train, mutable=["batch_stats"])


@functools.cache
def variables(depth, **settings):
    return initial_variables(MUnet(depth=depth, **settings), jax.random.key(1), (8, 8, 3))


def test_the_defaults_are_dlstudios():
    given = {"depth": 16, "skip_connections": True, "head": "dlstudio", "upsampling": "dlstudio"}
    assert MUnet() == MUnet(**given, num_classes=5, input_scale=1.0)


@pytest.mark.parametrize("depth", REFERENCE)
def test_counts_of_the_reference(depth):
    constructed, tensors, run, run_tensors = REFERENCE[depth]
    params = shapes(depth=depth)["params"]
    assert model.count_parameters(params) == run
    assert len(jax.tree.leaves(params)) == run_tensors
    assert model.dlstudio_parameter_count(depth) == constructed
    listed = [one.part in ("weight", "bias") for one in layout.tensors(layout.Kind(depth))]
    assert sum(listed) == tensors


def test_what_settings_cost_in_parameters():
    for name, value, cost in (
        ("num_classes", 2, -3 * (9 * 64 + 1)),
        ("head", "dense", -(9 - 4) * 64 * 5),
        ("upsampling", "dense", 3 * (128 * 128 + 64 * 64)),
    ):
        params = shapes(depth=4, **{name: value})["params"]
        assert model.count_parameters(params) == REFERENCE[4][2] + cost
    assert shapes(depth=4, skip_connections=True) == shapes(depth=4, skip_connections=False)


def test_wrong_settings_are_named():
    for name, value, told in (
        ("depth", 1, "depth=1: mUnet's depth is 2 to 64"),
        ("depth", 65, "depth=65"),
        ("head", "full", "head='full': choose one of dlstudio, dense"),
        ("num_classes", 0, "num_classes=0"),
        ("upsampling", "bilinear", "upsampling='bilinear'"),
    ):
        with pytest.raises(ConfigError, match=told):
            MUnet(**{name: value})


@pytest.mark.parametrize("net", [MUnet(depth=2), UNet()])
def test_wrong_image_sizes_are_named(net):
    for shape, told in (
        ((1, 60, 64, 3), "60x64 pixels; .* multiples of 8"),
        ((1, 64, 4, 3), "64x4 pixels"),
        ((64, 64, 3), r"shape \(64, 64, 3\)"),
    ):
        with pytest.raises(ConfigError, match=told):
            net.init(jax.random.key(0), jnp.zeros(shape), train=False)


def test_settings_that_change_the_numbers():
    x, given = images(2, 16, 16), variables(2)
    wide, _ = run(given, x, train=False)
    assert not np.allclose(run(given, x, train=False, skip_connections=False)[0], wide)
    scaled, _ = run(given, x, train=False, input_scale=0.5)
    halves, _ = run(given, x * np.float32(0.5), train=False)
    np.testing.assert_array_equal(scaled, halves)


@pytest.mark.slow
def test_bfloat16_is_near_float32():
    x, given = images(2, 16, 16), variables(2)
    # bfloat16 keeps 8 bits; the rounding of the layers adds up to a few percent.
    (out, updated), (expected, _) = run(given, x, dtype=jnp.bfloat16), run(given, x)
    tested = functools.partial(run, train=False, dtype=jnp.bfloat16)
    assert out.dtype == jax.eval_shape(tested, given, x)[0].dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(updated)} == {jnp.dtype("float32")}
    error = np.linalg.norm(np.asarray(out, np.float32) - expected) / np.linalg.norm(expected)
    assert 1e-4 < error < 0.1


@pytest.mark.parametrize("kind", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_every_parameter_gets_a_float32_gradient_without_dlstudios_layers(kind):
    # tests/goldens has each gradient of DLStudio's own.
    layers_of = {"head": "dense", "upsampling": "dense", "skip_connections": False}
    nets = {n: MUnet(depth=2, dtype=jnp.dtype(n), **layers_of) for n in ("float32", "bfloat16")}
    start = variables(2, **layers_of)
    x, target = images(2, 16, 16), images(2, 16, 16, seed=1)[..., :1].astype(np.float32)

    def loss(params, net):
        out, _ = net.apply({**start, "params": params}, x, train=True, mutable=["batch_stats"])
        return jnp.square(out.astype(jnp.float32) - target).mean()

    for net in nets.values():
        shaped = jax.eval_shape(functools.partial(jax.grad(loss), net=net), start["params"])
        assert {leaf.dtype for leaf in jax.tree.leaves(shaped)} == {jnp.dtype("float32")}
    grads = jax.jit(functools.partial(jax.grad(loss), net=nets[kind]))(start["params"])
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert np.isfinite(grad).all(), path
        # The bias of a convolution before a batch norm has gradient zero, but for rounding.
        assert np.any(grad), path


def test_channels_thrown_away_reach_no_output(monkeypatch):
    given, asked = variables(8), []  # this deep, it has all three places that overwrite

    def spoiled(x, kernel, overwritten=0):
        asked.append(overwritten)
        return conv(x, kernel).at[..., :overwritten].set(jnp.nan)

    monkeypatch.setattr(layers, "conv", spoiled)
    out, updated = run(given, images(2, 16, 16), depth=8)
    assert sorted(number for number in asked if number) == [32, 32, 64]
    assert np.isfinite(out).all()
    spoiled_channels = sum(int(np.isnan(leaf).sum()) for leaf in jax.tree.leaves(updated))
    assert spoiled_channels == 2 * (32 + 32 + 64)  # means and variances, which see all channels


def test_running_statistics_move_twice_in_the_blocks_used_twice():
    # With a running mean of 1 and batch means m1, m2, one use gives 0.9 + 0.1 m1; the old value's
    # share, read off by changing it, is 0.9 after one use and 0.81 after two.
    start = variables(8)
    shifted = {**start, "batch_stats": jax.tree.map(lambda leaf: leaf + 1, start["batch_stats"])}
    after = [run(given, images(2, 16, 16), depth=8)[1]["batch_stats"] for given in (start, shifted)]
    kept = jax.tree.map(lambda high, low: np.mean(high - low), after[1], after[0])
    twice = jax.tree.leaves(kept.pop("skip128UP_arr_0"))
    assert len(twice) == 4
    np.testing.assert_allclose(twice, 0.81, atol=0.01)
    np.testing.assert_allclose(jax.tree.leaves(kept), 0.9, atol=0.01)


@pytest.mark.parametrize("depth", REFERENCE)
def test_which_blocks_run_twice(depth):
    calls = Counter()

    def note(following, arguments, keywords, context):
        if isinstance(context.module, model.SkipBlock):
            calls[context.module.name] += 1
        return following(*arguments, **keywords)

    with nn.intercept_methods(note):
        shapes(depth=depth)
    half, early = depth // 2, depth // 2 // 4
    twice = {f"skip128UP_arr_{i}" for i in range(early)}
    assert calls == {name: 1 + (name in twice) for name in calls}
    assert calls.total() == 3 * half + 2 * early + 6
