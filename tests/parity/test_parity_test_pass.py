"""DLStudio's own test pass, driven, against segjax's decoding and batch statistics."""

import numpy as np
import pytest
import torch

from segjax.training.objective import dlstudio_windows
from tests.goldens import recipe
from tests.parity import jax_side, torch_side
from tests.parity.measurements import relative

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def class_rows(picture, batch):
    """Return what DLStudio shows of each class as [B, H, W, 5]: 255 on, 50 off."""
    rows = picture[2 * batch :, 0].reshape(5, batch, *picture.shape[2:])
    return rows.transpose(1, 2, 3, 0)


def test_value_windows_bit_for_bit(tmp_path, measured):
    # On, and one step either side of, each border.
    borders = np.array([25, 85, 65, 135, 115, 185, 165, 230, 210, 0, 50, 255], np.float32)
    values = np.concatenate([borders, np.nextafter(borders, 0), np.nextafter(borders, 999)])
    outputs = np.random.default_rng(0).uniform(-50, 300, (2, 64, 64, 5)).astype(np.float32)
    outputs[:, : len(values)] = values[:, None, None]
    given = torch.nn.Identity()  # a network without weights, whose outputs are given
    given.register_forward_hook(lambda *_: torch_side.nchw(outputs))
    torch.save(given.state_dict(), tmp_path / "saved_model")
    [batch] = recipe.batches(size=2, count=1)
    [picture] = torch_side.run_testing(given, [batch], tmp_path)
    shown = class_rows(picture, 2)
    assert set(np.unique(shown)) == {50, 255}
    differing = float(np.sum(np.asarray(dlstudio_windows(outputs)) != (shown == 255)))
    told = "pixels that the value windows decode otherwise"
    measured.check(told, differing, limit=0.0, precision="float32")


def test_test_pass_normalises_by_batch_statistics(tmp_path, measured):
    state = recipe.random_state_dict(depth=4)
    [batch] = recipe.batches(size=2, count=1)
    kinds = {"skip": True, "depth": 4, "dtype": "float32"}
    net, ours = torch_side.build(state, **kinds), jax_side.Network(state, **kinds)
    torch.save(net.state_dict(), tmp_path / "saved_model")
    seen = []
    net.register_forward_hook(lambda _m, _i, output: seen.append(output.clone()))
    [picture] = torch_side.run_testing(net, [batch], tmp_path)
    theirs = torch_side.nhwc(seen[0])
    running = ours.forward(batch, train=False)
    error = relative(ours.forward(batch, train=True), theirs)
    how = {"limit": 1e-5, "network": "depth 4, skips", "precision": "float32"}
    measured.check("outputs of the test pass", error, **how)
    assert relative(running, theirs) > 0.01, "running statistics would show"
    moved = torch_side.state_of(net)["bn1DN.running_mean"]
    assert relative(ours.state()["bn1DN.running_mean"], moved) < 1e-5
    # The same outputs are decoded the same way, to the last pixel.
    shown = class_rows(picture, 2) == 255
    assert shown.any()
    np.testing.assert_array_equal(np.asarray(dlstudio_windows(theirs)), shown)
