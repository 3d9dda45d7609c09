"""mUnet as a whole: its counts, its errors, its heads, and that all of it is used."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.dlstudio import layout
from segjax.errors import ConfigError
from segjax.networks import layers
from segjax.networks import munet as model
from segjax.networks.conv import conv
from segjax.networks.munet import MUnet

# depth: parameters DLStudio counts, its parameter tensors, parameters that run, their tensors
REFERENCE = {
    4: (2_561_605, 132, 1_822_213, 108),
    8: (4_040_773, 196, 3_005_701, 164),
    16: (6_999_109, 324, 5_076_997, 268),
}


def shapes(**settings: Any) -> Any:
    net = MUnet(**settings)
    image = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.uint8)
    init = functools.partial(net.init, train=False)
    return jax.eval_shape(init, jax.random.key(0), image)


def count(**settings: Any) -> int:
    return model.count_parameters(shapes(**settings)["params"])


def images(*size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)


def run(
    given: Any,
    x: np.ndarray,
    *,
    train: bool = True,
    depth: int = 4,
    **settings: Any,
) -> tuple[Any, Any]:
    """Return outputs and updated statistics of a pass.

    Not jitted, nor are the gradients below: its few kinds of layer compile once for all tests, a
    whole network would for each.
    """
    return MUnet(depth=depth, **settings).apply(given, x, train=train, mutable=["batch_stats"])


@functools.cache
def variables(depth: int = 4, head: model.Head = "dlstudio", skips: bool = True) -> Any:
    net = MUnet(depth=depth, head=head, skip_connections=skips)
    image = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.uint8)
    return net.lazy_init(jax.random.key(1), image, train=False)


def test_the_defaults_are_dlstudios() -> None:
    given = {"depth": 16, "skip_connections": True, "head": "dlstudio", "upsampling": "dlstudio"}
    assert MUnet() == MUnet(**given, num_classes=5, input_scale=1.0)


@pytest.mark.parametrize("depth", REFERENCE)
def test_counts_of_the_reference(depth: int) -> None:
    constructed, tensors, run, run_tensors = REFERENCE[depth]
    params = shapes(depth=depth)["params"]
    assert model.count_parameters(params) == run
    assert len(jax.tree.leaves(params)) == run_tensors
    assert model.dlstudio_parameter_count(depth) == constructed
    listed = [
        (part, shape)
        for layer in layout.layers(layout.Kind(depth))
        for part, shape in layer.shapes().items()
        if part in ("weight", "bias")
    ]
    assert len(listed) == tensors
    assert sum(int(np.prod(shape)) for _, shape in listed) == constructed


def test_the_dense_head_has_fewer_weights() -> None:
    both = [count(depth=4, head=head) for head in model.HEADS]
    assert both[0] - both[1] == (9 - 4) * 64 * 5


def test_class_count_changes_the_output_layer_only() -> None:
    params = shapes(depth=4, num_classes=2)["params"]
    assert params["conv_out"]["kernel"].shape == (3, 3, 64, 2)
    assert model.count_parameters(params) == REFERENCE[4][2] - 3 * (9 * 64 + 1)


@pytest.mark.parametrize("head", model.HEADS)
@pytest.mark.parametrize("size", [(8, 8), (64, 64), (24, 40)])
def test_output_has_the_images_size(head: model.Head, size: tuple[int, int]) -> None:
    net = MUnet(depth=2, head=head, num_classes=3)
    out = jax.eval_shape(
        lambda key, x: net.init_with_output(key, x, train=False)[0],
        jax.random.key(0),
        jax.ShapeDtypeStruct((2, *size, 3), jnp.uint8),
    )
    assert out.shape == (2, *size, 3)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"depth": 1}, "depth=1: mUnet's depth is 2 to 64"),
        ({"depth": 65}, "depth=65"),
        ({"head": "full"}, "head='full': choose one of dlstudio, dense"),
        ({"num_classes": 0}, "num_classes=0"),
        ({"upsampling": "bilinear"}, "upsampling='bilinear'"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        MUnet(**settings)


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ((1, 60, 64, 3), "60x64 pixels; .* multiples of 8"),
        ((1, 64, 4, 3), "64x4 pixels"),
        ((64, 64, 3), r"shape \(64, 64, 3\)"),
    ],
)
def test_wrong_image_sizes_are_named(shape: tuple[int, ...], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        MUnet(depth=2).init(jax.random.key(0), jnp.zeros(shape), train=False)


@pytest.mark.parametrize("head", model.HEADS)
def test_which_pixels_the_head_writes(head: model.Head) -> None:
    out, _ = run(variables(head=head), images(4, 16, 16), head=head)
    varies = np.asarray(out).std((0, 3)) > 0
    spread = np.asarray(out).std(0).max(-1) > 0
    written = np.zeros((16, 16), bool)
    written[::2, ::2] = True
    np.testing.assert_array_equal(spread, written if head == "dlstudio" else np.ones((16, 16)))
    assert varies.any()


def test_every_parameter_gets_a_gradient_without_dlstudios_layers() -> None:
    # tests/goldens has each gradient of DLStudio's own.
    net = MUnet(depth=2, head="dense", upsampling="dense", skip_connections=False)
    image = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.uint8)
    start = net.lazy_init(jax.random.key(1), image, train=False)
    x, target = images(2, 16, 16), images(2, 16, 16, seed=1)[..., :1].astype(np.float32)

    def loss(params: Any) -> jax.Array:
        out, _ = net.apply({**start, "params": params}, x, train=True, mutable=["batch_stats"])
        return jnp.square(out - target).mean()

    grads = jax.grad(loss)(start["params"])
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert np.isfinite(grad).all(), path
        # The bias of a convolution before a batch norm has gradient zero, but for rounding.
        assert np.any(grad), path


def test_channels_thrown_away_reach_no_output(monkeypatch: pytest.MonkeyPatch) -> None:
    given, asked = variables(8), []  # this deep, it has all three places that overwrite

    def spoiled(x: jax.Array, kernel: jax.Array, overwritten: int = 0) -> jax.Array:
        asked.append(overwritten)
        return conv(x, kernel).at[..., :overwritten].set(jnp.nan)

    monkeypatch.setattr(layers, "conv", spoiled)
    out, updated = run(given, images(2, 16, 16), depth=8)
    assert sorted(number for number in asked if number) == [32, 32, 64]
    assert np.isfinite(out).all()
    spoiled_channels = sum(int(np.isnan(leaf).sum()) for leaf in jax.tree.leaves(updated))
    assert spoiled_channels == 2 * (32 + 32 + 64)  # means and variances, which see all channels


@pytest.mark.slow
def test_channels_thrown_away_change_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    x, asked = images(2, 16, 16), []

    def whole(x: jax.Array, kernel: jax.Array, overwritten: int = 0) -> jax.Array:
        asked.append(overwritten)
        return conv(x, kernel)

    with jax.enable_x64(True):
        wide = {"dtype": jnp.float64, "param_dtype": jnp.float64}
        net = MUnet(depth=8, **wide)  # this deep, it has all three places that overwrite
        given = jax.tree.map(lambda v: v.astype(jnp.float64), variables(8))

        def loss(params: Any) -> jax.Array:
            out, _ = net.apply({**given, "params": params}, x, train=True, mutable=["batch_stats"])
            return jnp.square(out[:, ::2, ::2] - 1).mean()

        ours = jax.tree.leaves(jax.jit(jax.grad(loss))(given["params"]))
        monkeypatch.setattr(layers, "conv", whole)
        plain = jax.tree.leaves(jax.jit(jax.grad(loss))(given["params"]))
    assert sorted(number for number in asked if number) == [32, 32, 64]
    for mine, theirs in zip(ours, plain, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-13)


def test_running_statistics_move_twice_in_the_blocks_used_twice() -> None:
    # With a running mean of 1 and batch means m1, m2, one use gives 0.9 + 0.1 m1; the old value's
    # share, read off by changing it, is 0.9 after one use and 0.81 after two.
    start = variables(8)
    shifted = {**start, "batch_stats": jax.tree.map(lambda leaf: leaf + 1, start["batch_stats"])}
    after = [run(given, images(2, 16, 16), depth=8)[1]["batch_stats"] for given in (start, shifted)]
    kept = jax.tree.map(lambda high, low: np.mean(high - low), after[1], after[0])
    twice = {
        "/".join(str(key.key) for key in path): share
        for path, share in jax.tree_util.tree_leaves_with_path(kept)
        if abs(share - 0.81) < 0.01
    }
    assert set(twice) == {
        f"skip128UP_arr_0/{norm}/{part}" for norm in ("bn1", "bn2") for part in ("mean", "var")
    }
    rest = [share for share in jax.tree.leaves(kept) if abs(share - 0.81) >= 0.01]
    np.testing.assert_allclose(rest, 0.9, atol=0.01)


def count_calls(net: MUnet) -> dict[str, int]:
    calls: dict[str, int] = {}

    def note(following: Any, arguments: Any, keywords: Any, context: Any) -> Any:
        name = context.module.name
        if isinstance(context.module, model.SkipBlock):
            calls[name] = calls.get(name, 0) + 1
        return following(*arguments, **keywords)

    with nn.intercept_methods(note):
        jax.eval_shape(
            functools.partial(net.init, train=False), jax.random.key(0), jnp.zeros((1, 8, 8, 3))
        )
    return calls


@pytest.mark.parametrize("depth", [4, 8, 16])
def test_which_blocks_run_twice(depth: int) -> None:
    half, early = depth // 2, depth // 2 // 4
    calls = count_calls(MUnet(depth=depth))
    twice = {name for name, count in calls.items() if count == 2}
    assert twice == {f"skip128UP_arr_{i}" for i in range(early)}
    assert set(calls.values()) <= {1, 2}
    assert sum(calls.values()) == 3 * half + 2 * early + 6


def test_without_skips_only_the_additions_go() -> None:
    with_them, without = shapes(depth=4), shapes(depth=4, skip_connections=False)
    assert jax.tree.map(lambda leaf: leaf.shape, with_them) == jax.tree.map(
        lambda leaf: leaf.shape, without
    )
    outs = [
        run(variables(), images(1, 16, 16), train=False, skip_connections=skips)[0]
        for skips in (True, False)
    ]
    assert not np.allclose(*outs)


def test_input_scale_multiplies_the_images() -> None:
    x = images(1, 16, 16)
    scaled, _ = run(variables(2), x, train=False, depth=2, input_scale=0.5)
    halves, _ = run(variables(2), x * np.float32(0.5), train=False, depth=2)
    np.testing.assert_array_equal(scaled, halves)


@pytest.mark.parametrize("train", [False, True])
def test_bfloat16_computes_what_float32_does(train: bool) -> None:
    # bfloat16 keeps 8 bits; at depth 4 the rounding of some twenty layers adds up to a few percent.
    x = images(2, 16, 16)
    out, updated = run(variables(), x, train=train, dtype=jnp.bfloat16)
    wide, _ = run(variables(), x, train=train)
    assert out.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(updated)} == {jnp.dtype("float32")}
    error = np.linalg.norm(np.asarray(out, np.float32) - wide) / np.linalg.norm(wide)
    assert 1e-4 < error < 0.1


@pytest.mark.parametrize("computed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_gradients_of_bfloat16_are_float32_and_finite(computed: bool) -> None:
    net = MUnet(depth=2, dtype=jnp.bfloat16)
    start, x = variables(2), images(2, 8, 8)

    def loss(params: Any) -> jax.Array:
        out, _ = net.apply({**start, "params": params}, x, train=True, mutable=["batch_stats"])
        return jnp.square(out.astype(jnp.float32) - 50).mean()

    grads = jax.eval_shape(jax.grad(loss), start["params"])
    assert {leaf.dtype for leaf in jax.tree.leaves(grads)} == {jnp.dtype("float32")}
    if not computed:
        return
    grads = jax.jit(jax.grad(loss))(start["params"])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def test_layers_hold_what_dlstudio_names() -> None:
    found = {
        "/".join(str(key.key) for key in path[:-1])
        for path, _ in jax.tree_util.tree_leaves_with_path(shapes(depth=8)["params"])
    }
    named = {
        layer.name.replace("_arr.", "_arr_").replace(".", "/")
        for layer in layout.layers(layout.Kind(8))
        if layer.runs
    }
    assert found == named


def test_batch_norm_is_pytorchs() -> None:
    assert layers.BATCH_NORM_EPSILON == 1e-5
    assert layers.BATCH_NORM_MOMENTUM == 0.9


@pytest.mark.parametrize("upsampling", ["dlstudio", "dense"])
def test_dlstudios_doubling_leaves_three_pixels_in_four_constant(upsampling: model.Head) -> None:
    block = model.SkipBlock(8, True, resample=True, upsampling=upsampling, skip_connections=False)
    x = jax.random.normal(jax.random.key(0), (1, 6, 6, 8))
    variables = block.init(jax.random.key(1), x, train=False)
    out = np.asarray(block.apply(variables, x, train=False))
    assert out.shape == (1, 12, 12, 8)
    assert np.ptp(out[:, 0::2, 0::2], axis=(0, 1, 2)).min() > 0
    others = np.stack([out[:, 0::2, 1::2], out[:, 1::2, 0::2], out[:, 1::2, 1::2]])
    spread = np.ptp(others, axis=(1, 2, 3))
    assert spread.max() == 0 if upsampling == "dlstudio" else spread.min() > 0


def test_the_dense_doubling_costs_few_parameters() -> None:
    both = [count(depth=4, upsampling=upsampling) for upsampling in model.UPSAMPLERS]
    assert both[1] - both[0] == 3 * (128 * 128 + 64 * 64)
