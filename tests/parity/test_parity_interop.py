"""Weights exchanged with DLStudio through PyTorch itself."""

from pathlib import Path

import numpy as np
import pytest
import torch

from segjax.dlstudio import layout
from segjax.dlstudio import weights as dlstudio
from segjax.dlstudio.torchfile import read_torch_file, write_torch_file
from segjax.networks.munet import MUnet
from tests.goldens import recipe
from tests.parity import torch_side

dlstudio_net = torch_side.SemanticSegmentation.mUnet


def assert_same(found, expected) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize("depth", [2, 4, 8, 16])
def test_names_shapes_and_order_are_dlstudios(depth: int) -> None:
    listed = [(tensor.name, tensor.shape) for tensor in layout.tensors(layout.Kind(depth))]
    state = dlstudio_net(depth=depth).state_dict()
    assert listed == [(name, tuple(value.shape)) for name, value in state.items()]


def tensors(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(value) for name, value in arrays.items()}


@pytest.mark.parametrize("depth", [4, 8, 16])
def test_round_trip_is_exact_through_a_file_and_without(depth: int, tmp_path: Path) -> None:
    net, path = dlstudio_net(depth=depth), tmp_path / "saved_model"
    state = {name: value.clone() for name, value in net.state_dict().items()}
    torch.save(net.state_dict(), path)
    assert_same(tensors(read_torch_file(path)), torch.load(path, weights_only=True))
    for source, skip in ((path, True), (net.state_dict(), False)):
        found = dlstudio.from_state_dict(source, skip_connections=skip)
        assert (found.depth, found.skip_connections) == (depth, skip)
        back = tensors(dlstudio.to_arrays(found.variables, extra=found.extra))
        assert_same(back, state)
    dlstudio_net(depth=depth).load_state_dict(back, strict=True)


def test_a_file_written_without_pytorch_is_loaded_by_it(tmp_path: Path) -> None:
    net = dlstudio_net(depth=4)
    found = dlstudio.from_state_dict(net.state_dict(), skip_connections=True)
    path = tmp_path / "saved_model"
    write_torch_file(path, dlstudio.to_arrays(found.variables, extra=found.extra))
    assert_same(torch.load(path, weights_only=True), net.state_dict())
    assert_same(torch.load(path, weights_only=True, mmap=True), net.state_dict())
    # as DLStudio's test pass does
    dlstudio_net(depth=4).load_state_dict(torch.load(path), strict=True)


def test_never_run_tensors_are_loadable_where_none_came_along() -> None:
    found = dlstudio.from_state_dict(dlstudio_net(depth=8).state_dict(), skip_connections=True)
    net = dlstudio_net(depth=8)
    net.load_state_dict(tensors(dlstudio.to_arrays(found.variables)), strict=True)
    [batch] = recipe.batches(size=1, count=1)
    assert np.isfinite(torch_side.forward(net, batch, train=False)).all()


def test_layers_that_write_every_pixel_put_in_their_place() -> None:
    torch.manual_seed(0)
    net = dlstudio_net(depth=4).eval()
    net.conv_out = torch.nn.ConvTranspose2d(64, 5, 2, stride=2)
    net.skip64usUP.upsampler = torch.nn.ConvTranspose2d(64, 64, 2, stride=2)
    net.skip128usUP.upsampler = torch.nn.ConvTranspose2d(128, 128, 2, stride=2)
    found = dlstudio.from_state_dict(net.state_dict(), skip_connections=True)
    assert (found.head, found.upsampling) == ("dense", "dense")

    [batch] = recipe.batches(size=1, count=1)
    theirs = torch_side.forward(net, batch, train=False)
    model = MUnet(depth=4, head="dense", upsampling="dense")
    ours = model.apply(found.variables, batch[0], train=False)
    assert np.linalg.norm(ours - theirs) < 1e-5 * np.linalg.norm(theirs)
