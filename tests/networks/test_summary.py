"""The summary against the network itself, and against what XLA counts."""

import jax
import jax.numpy as jnp
import pytest

from segjax.networks import layers
from segjax.networks.munet import MUnet, count_parameters
from segjax.networks.summary import flops_of, layers_of


@pytest.mark.parametrize(("depth", "head"), [(2, "dense"), (8, "dlstudio")])
def test_the_layers_are_the_networks(depth, head):
    model = MUnet(depth=depth, head=head)
    rows = layers_of(model, size=(32, 16))
    images = jax.ShapeDtypeStruct((1, 32, 16, 3), jnp.float32)
    shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), images)
    assert sum(row.parameters for row in rows) == count_parameters(shapes["params"])
    assert rows[0].name == "conv_in"
    assert rows[-1].output == (32, 16, 5)
    twice = [row for row in rows if row.name == "skip128UP_arr_0/convoT1"]
    assert [bool(row.parameters) for row in twice] == ([True, False] if depth == 8 else [])


def test_flops_are_those_that_xla_counts():
    for layer, channels in (
        (layers.Conv(12), 7),
        *((layer(6), 6) for layer in (layers.Downsample, layers.Upsample)),
        *((layer(5), 8) for layer in (layers.DLStudioHead, layers.DenseHead)),
    ):
        x = jnp.zeros((1, 12, 16, channels))
        variables = layer.init(jax.random.key(0), x)
        counted = jax.jit(layer.apply).lower(variables, x).cost_analysis()["flops"]
        out = jax.eval_shape(layer.apply, variables, x)
        ours = flops_of(layer, x.shape[1:], out.shape[1:], padding=False)
        # XLA does not count a bias that it only writes; a dot may move numbers without arithmetic.
        assert ours == pytest.approx(counted, rel=0.02), layer
