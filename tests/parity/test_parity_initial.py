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
def start():
    """Both sides' state_dicts, and 1/sqrt(fan_in), PyTorch's, of each convolution's tensors."""
    torch.manual_seed(0)
    net = torch_side.SemanticSegmentation.mUnet(depth=DEPTH)
    init = jax.jit(functools.partial(MUnet(depth=DEPTH).init, train=False))
    variables = init(jax.random.key(0), np.zeros((1, 8, 8, 3), np.float32))
    bounds = {}
    for layer in layout.layers(layout.Kind(DEPTH)):
        if layer.kind != "norm":
            weight = net.get_submodule(layer.name).weight
            fan_in, _ = torch.nn.init._calculate_fan_in_and_fan_out(weight)
            bounds |= dict.fromkeys((f"{layer.name}.weight", f"{layer.name}.bias"), fan_in**-0.5)
    return dlstudio.to_arrays(variables), torch_side.state_of(net), bounds


def test_each_layer_starts_within_its_bounds_and_batch_norms_alike(start) -> None:
    *both, bounds = start
    for name, bound in bounds.items():
        for side in both:
            most = np.abs(side[name]).max()
            assert most <= bound * (1 + 1e-6), name
            # The largest of n uniform draws is below 1 - 20/n once in 5e8 times.
            assert most >= bound * (1 - 20 / side[name].size), name
    ours, theirs = both
    first = [ours[name].ravel()[0] for name in bounds if name.endswith("weight")]
    assert len(set(first)) == len(first), "two layers start with the same numbers"
    for name in ours.keys() - bounds.keys():
        np.testing.assert_array_equal(ours[name], theirs[name])


def test_two_samples_of_one_distribution(start) -> None:
    *both, bounds = start
    least = {n: stats.ks_2samp(*(side[n].ravel() for side in both)).pvalue for n in bounds}
    # Some 130 tests: the least p-value is below 1e-5 once in 800 times; the seeds are fixed.
    assert min(least.values()) > 1e-5, min(least, key=lambda key: least[key])
    # And they spread as p-values of true hypotheses do.
    assert stats.kstest(list(least.values()), "uniform").pvalue > 1e-3
