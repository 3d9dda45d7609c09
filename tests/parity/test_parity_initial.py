"""The initial distributions: PyTorch's bounds for each layer, and two samples of one law."""

import functools

import jax
import numpy as np
import torch
from scipy import stats

from segjax.dlstudio import layout
from segjax.dlstudio import weights as dlstudio
from segjax.networks.munet import MUnet
from tests.parity import torch_side

DEPTH = 8


def test_both_start_from_one_distribution_within_each_layers_bounds():
    torch.manual_seed(0)
    net = torch_side.SemanticSegmentation.mUnet(depth=DEPTH)
    init = jax.jit(functools.partial(MUnet(depth=DEPTH).init, train=False))
    ours = dlstudio.to_arrays(init(jax.random.key(0), np.zeros((1, 8, 8, 3), np.float32)))
    theirs, least, first = torch_side.state_of(net), {}, []
    for layer in layout.layers(layout.Kind(DEPTH)):
        if layer.kind == "norm":
            for part in layer.shapes():
                name = f"{layer.name}.{part}"
                np.testing.assert_array_equal(ours[name], theirs[name])
            continue
        weight = net.get_submodule(layer.name).weight
        fan_in, _ = torch.nn.init._calculate_fan_in_and_fan_out(weight)
        first.append(ours[f"{layer.name}.weight"].ravel()[0])
        for name in (f"{layer.name}.weight", f"{layer.name}.bias"):
            pair = ours[name].ravel(), theirs[name].ravel()
            for values in pair:
                # The largest of n uniform draws is below 1 - 20/n once in 5e8 times.
                share = np.abs(values).max() * fan_in**0.5
                assert 1 - 20 / values.size <= share <= 1 + 1e-6, name
            least[name] = stats.ks_2samp(*pair).pvalue
    assert len(set(first)) == len(first), "two layers start with the same numbers"
    # Some 130 tests: the least p-value is below 1e-5 once in 800 times; the seeds are fixed.
    assert min(least.values()) > 1e-5, min(least, key=lambda key: least[key])
    # And they spread as p-values of true hypotheses do.
    assert stats.kstest(list(least.values()), "uniform").pvalue > 1e-3
