"""DLStudio's state_dict to segjax variables and back, without PyTorch."""

import functools

import jax
import numpy as np
import pytest

from segjax.dlstudio import layout
from segjax.dlstudio import weights as dlstudio
from segjax.errors import CheckpointError
from segjax.networks.munet import MUnet
from tests.dlstudio.states import assert_same, fresh
from tests.goldens import recipe


def shapes_of(net):
    init = functools.partial(net.init, train=False)
    return jax.eval_shape(init, jax.random.key(0), np.zeros((1, 8, 8, 3), np.float32))


def imported(depth):
    return dlstudio.from_state_dict(recipe.random_state_dict(depth=depth), skip_connections=True)


@pytest.mark.parametrize("depth", [2, 4, 8, 16])
def test_round_trip_is_exact_through_the_networks_own_variables(depth):
    state = recipe.random_state_dict(depth=depth)
    found = dlstudio.from_state_dict(state, skip_connections=False)
    kind = found.depth, found.head, found.num_classes, found.skip_connections
    assert kind == (depth, "dlstudio", 5, False)
    assert_same(dlstudio.to_arrays(found.variables, extra=found.extra), state)
    if depth in (4, 8):
        own = jax.tree.map(lambda leaf: leaf.shape, shapes_of(MUnet(depth=depth)))
        assert jax.tree.map(np.shape, found.variables) == own
    # The result owns its memory.
    found.variables["params"]["bn1DN"]["scale"][:] = 9
    found.variables["params"]["skip64usUP"]["upsampler"]["kernel"][:] = 9
    found.extra["skip64to128DN.convo2.bias"][:] = 9
    assert_same(state, recipe.random_state_dict(depth=depth))


@pytest.mark.parametrize("upsampling", ["dlstudio", "dense"])
@pytest.mark.parametrize("head", ["dlstudio", "dense"])
def test_variables_to_arrays_and_back(head, upsampling):
    net = MUnet(depth=2, head=head, upsampling=upsampling, num_classes=3)
    random = np.random.default_rng(0)
    start = jax.tree.map(lambda x: random.standard_normal(x.shape, x.dtype), shapes_of(net))
    arrays = dlstudio.to_arrays(start)
    found = dlstudio.from_state_dict(arrays, skip_connections=True)
    kind = found.depth, found.head, found.upsampling, found.num_classes
    assert kind == (2, head, upsampling, 3)
    jax.tree.map(np.testing.assert_array_equal, found.variables, dict(start))


def test_tensors_that_never_run_get_pytorchs_initial_values_where_none_came_along():
    variables = imported(8).variables
    made = dlstudio.to_arrays(variables, seed=3)
    assert set(made) == set(recipe.random_state_dict(depth=8))
    for tensor in layout.tensors(layout.Kind(8)):
        layer, value = tensor.layer, made[tensor.name]
        if not layer.runs and layer.kind == "norm":
            assert (value == (tensor.part in ("weight", "running_var"))).all()
        elif not layer.runs:
            fan_in = 9 * (layer.inputs if layer.kind == "conv" else layer.outputs)
            assert 0.9 < np.abs(value).max() * np.sqrt(fan_in) <= 1
    assert_same(dlstudio.to_arrays(variables, seed=3), made)
    name = "skip64to128DN.convo2.weight"
    assert not np.array_equal(dlstudio.to_arrays(variables, seed=4)[name], made[name])


def test_other_weights_and_other_variables_are_refused():
    whole, bias = recipe.random_state_dict(depth=4), "bn1DN.bias"
    without = {name: value for name, value in whole.items() if name != bias}
    for state, told in (
        ({}, "not the weights of DLStudio's mUnet"),
        ({"fc.weight": np.zeros((2, 2))}, "not the weights of DLStudio's mUnet"),
        ({"module.conv_in.bias": np.zeros(64)}, r"save net\.module\.state_dict\(\)"),
        (without, "1 tensor.* missing, the first is 'bn1DN.bias'"),
        (whole | {"extra.weight": np.zeros(3)}, "unknown, the first is 'extra.weight'"),
        (whole | {bias: np.zeros(65)}, r"bn1DN.bias has shape \(65,\) instead of \(64,\)"),
        (whole | {bias: np.zeros(64, int)}, "bn1DN.bias has dtype int64"),
        (whole | {bias: np.full(64, np.nan)}, "bn1DN.bias holds values that are not finite"),
        (whole | {"conv_out.weight": np.zeros((64, 5, 5, 5))}, "conv_out.weight has shape"),
    ):
        with pytest.raises(CheckpointError, match=told) as caught:
            dlstudio.from_state_dict(state, skip_connections=True)
        assert "\n" not in str(caught.value)
    found = imported(4)
    with pytest.raises(CheckpointError, match=r"not the variables of a segjax\.MUnet"):
        dlstudio.to_arrays({"params": {"conv": 1}})
    with pytest.raises(CheckpointError, match="has no place in a depth-4 mUnet"):
        dlstudio.to_arrays(found.variables, extra=imported(8).extra)
    del found.variables["batch_stats"]["bn1DN"]
    with pytest.raises(CheckpointError, match="batch_stats/bn1DN/mean is missing"):
        dlstudio.to_arrays(found.variables)


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("depth", [2, *(pytest.param(d, marks=pytest.mark.slow) for d in (4, 8))])
def test_skip_setting_is_recognised_after_a_few_passes(depth, skip):
    net = MUnet(depth=depth, skip_connections=skip)
    one_pass = jax.jit(lambda v, x: net.apply(v, x, train=True, mutable=["batch_stats"])[1])
    for scale in (1, 1 / 255):
        variables = dlstudio.from_state_dict(fresh(depth), skip_connections=skip).variables
        for images, _ in recipe.batches(size=4, count=20):
            middle = np.float32(scale) * images[:, 24:40, 24:40].astype(np.float32)
            variables |= one_pass(variables, middle)
        assert dlstudio.from_state_dict(dlstudio.to_arrays(variables)).skip_connections is skip


BEFORE = {
    2: ("skip64DN_arr.0.bn2", "skip64to128DN.bn1", "skip64UP_arr.0.bn2"),
    8: ("skip64DN_arr.3.bn2", "skip128DN_arr.0.bn2", "skip64UP_arr.3.bn2"),
    16: ("skip64DN_arr.7.bn2", "skip128DN_arr.1.bn2", "skip64UP_arr.7.bn2"),
}


@pytest.mark.parametrize(("depth", "before"), BEFORE.items())
def test_statistics_are_held_against_the_layer_before(depth, before):
    state = fresh(depth)
    with pytest.raises(CheckpointError, match="say skip_connections=True or False"):
        dlstudio.from_state_dict(state)  # untrained, it does not tell
    for name, value in state.items():
        if name.endswith((".bn1.bias", ".bn2.bias")):
            value[:] = -5  # a relu that lets nothing through, but for the three that matter
    outputs = np.maximum(1.5 * np.random.default_rng(0).standard_normal(10_000) + 0.5, 0)
    for norm, layer in zip(("bn1DN", "bn2DN", "bn2UP"), before, strict=True):
        state[f"{layer}.weight"][:], state[f"{layer}.bias"][:] = 1.5, 0.5
        state[f"{norm}.running_mean"][:] = outputs.mean()
        state[f"{norm}.running_var"][:] = outputs.var()
    assert dlstudio.recognise_skip_connections(state, depth=depth) is False
    for layer in before:
        shut = {**state, f"{layer}.bias": np.full_like(state[f"{layer}.bias"], -5)}
        assert dlstudio.recognise_skip_connections(shut, depth=depth) is not False
