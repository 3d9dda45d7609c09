"""Weights exchanged with DLStudio through PyTorch itself."""

import jax
import numpy as np
import pytest
import torch

from segjax.dlstudio import layout
from segjax.dlstudio import weights as dlstudio
from segjax.dlstudio.torchfile import read_torch_file, write_torch_file
from segjax.networks.munet import MUnet
from tests.dlstudio.states import assert_same
from tests.goldens import recipe
from tests.parity import torch_side

dlstudio_net = torch_side.SemanticSegmentation.mUnet


def arrays(tensors):
    return {name: value.numpy() for name, value in tensors.items()}


@pytest.mark.parametrize("depth", [2, 4, 8, 16])
def test_the_exchange_is_exact_through_files_and_without(depth, tmp_path):
    net, path, again = dlstudio_net(depth=depth), tmp_path / "saved_model", tmp_path / "again"
    state = torch_side.state_of(net)
    listed = [(tensor.name, tensor.shape) for tensor in layout.tensors(layout.Kind(depth))]
    assert listed == [(name, value.shape) for name, value in state.items()]
    torch.save(net.state_dict(), path)
    assert_same(read_torch_file(path), arrays(torch.load(path, weights_only=True)))
    for source, skip in ((path, True), (net.state_dict(), False)):
        found = dlstudio.from_state_dict(source, skip_connections=skip)
        assert (found.depth, found.skip_connections) == (depth, skip)
        back = dlstudio.to_arrays(found.variables, extra=found.extra)
        assert_same(back, state)
    # A file written without PyTorch is loaded by it, in the end as DLStudio's test pass does.
    write_torch_file(again, back)
    for mapped in (False, True):
        assert_same(arrays(torch.load(again, weights_only=True, mmap=mapped)), state)
    net = dlstudio_net(depth=depth)
    net.load_state_dict(torch.load(again), strict=True)
    # Tensors that never run are loadable where none came along.
    made = dlstudio.to_arrays(found.variables)
    net.load_state_dict({name: torch.from_numpy(made[name]) for name in made}, strict=True)
    [batch] = recipe.batches(size=1, count=1)
    assert np.isfinite(torch_side.forward(net, batch, train=False)).all()


def with_dense_layers(net):
    net.conv_out = torch.nn.ConvTranspose2d(64, 5, 2, stride=2)
    net.skip64usUP.upsampler = torch.nn.ConvTranspose2d(64, 64, 2, stride=2)
    net.skip128usUP.upsampler = torch.nn.ConvTranspose2d(128, 128, 2, stride=2)
    return net


@pytest.mark.parametrize("layers", ["dlstudio", "dense"])
@pytest.mark.parametrize("depth", [2, 4, 8, 16])
def test_a_network_that_segjax_made_and_moved_is_loaded_there(depth, layers, tmp_path):
    [batch] = recipe.batches(size=2, count=1)
    model = MUnet(depth=depth, head=layers, upsampling=layers)
    start = model.init(jax.random.key(3), batch[0], train=False)
    rng = np.random.default_rng(0)  # in the place of training: each weight moves
    params = jax.tree.map(
        lambda leaf: leaf + rng.normal(size=leaf.shape).astype(np.float32) * 0.01, start["params"]
    )
    _, moved = model.apply({**start, "params": params}, batch[0], train=True, mutable="batch_stats")
    variables = {"params": params, **moved}
    write_torch_file(tmp_path / "saved_model", dlstudio.to_arrays(variables))
    net = dlstudio_net(depth=depth)
    net = with_dense_layers(net) if layers == "dense" else net
    net.load_state_dict(torch.load(tmp_path / "saved_model"), strict=True)
    theirs = torch_side.forward(net, batch, train=False)
    ours = model.apply(variables, batch[0], train=False)
    assert np.linalg.norm(ours - theirs) < 1e-5 * np.linalg.norm(theirs)


def test_layers_that_write_every_pixel_put_in_their_place():
    torch.manual_seed(0)
    net = with_dense_layers(dlstudio_net(depth=4).eval())
    found = dlstudio.from_state_dict(net.state_dict(), skip_connections=True)
    assert (found.head, found.upsampling) == ("dense", "dense")

    [batch] = recipe.batches(size=1, count=1)
    theirs = torch_side.forward(net, batch, train=False)
    model = MUnet(depth=4, head="dense", upsampling="dense")
    ours = model.apply(found.variables, batch[0], train=False)
    assert np.linalg.norm(ours - theirs) < 1e-5 * np.linalg.norm(theirs)
