"""The initial distributions: PyTorch's bounds for each layer, and two samples of one law."""

import functools

import jax
import numpy as np
import pytest
import torch
from scipy import stats

from segjax.dlstudio import layout
from segjax.dlstudio import weights as dlstudio
from segjax.networks.munet import MUnet
from tests.parity import torch_side

DEPTH = 8


@pytest.fixture(scope="module")
def both() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    torch.manual_seed(0)
    net = torch_side.SemanticSegmentation.mUnet(depth=DEPTH)
    init = jax.jit(functools.partial(MUnet(depth=DEPTH).init, train=False))
    variables = init(jax.random.key(0), np.zeros((1, 8, 8, 3), np.float32))
    return dlstudio.to_arrays(variables), torch_side.state_of(net)


@pytest.fixture(scope="module")
def bounds() -> dict[str, float]:
    """1/sqrt(fan_in) of each convolution's tensors, as PyTorch computes fan_in."""
    net = torch_side.SemanticSegmentation.mUnet(depth=DEPTH)
    found = {}
    for layer in layout.layers(layout.Kind(DEPTH)):
        if layer.kind != "norm":
            weight = net.get_submodule(layer.name).weight
            fan_in, _ = torch.nn.init._calculate_fan_in_and_fan_out(weight)
            found |= dict.fromkeys((f"{layer.name}.weight", f"{layer.name}.bias"), fan_in**-0.5)
    return found


def test_bounds_of_each_layer(both, bounds) -> None:
    for name, bound in bounds.items():
        for side in both:
            most = np.abs(side[name]).max()
            assert most <= bound * (1 + 1e-6), name
            # The largest of n uniform draws is below 1 - 20/n once in 5e8 times.
            assert most >= bound * (1 - 20 / side[name].size), name


def test_two_samples_of_one_distribution(both, bounds) -> None:
    least = {n: stats.ks_2samp(*(side[n].ravel() for side in both)).pvalue for n in bounds}
    # Some 130 tests: the least p-value is below 1e-5 once in 800 times; the seeds are fixed.
    assert min(least.values()) > 1e-5, min(least, key=lambda key: least[key])
    # And they spread as p-values of true hypotheses do.
    assert stats.kstest(list(least.values()), "uniform").pvalue > 1e-3


def test_batch_norms_start_alike(both) -> None:
    ours, theirs = both
    for layer in layout.layers(layout.Kind(DEPTH)):
        if layer.kind == "norm":
            for part in layer.shapes():
                key = f"{layer.name}.{part}"
                np.testing.assert_array_equal(ours[key], theirs[key])


def test_no_two_layers_start_with_the_same_numbers(both, bounds) -> None:
    first = [both[0][name].ravel()[0] for name in bounds if name.endswith("weight")]
    assert len(set(first)) == len(first)
