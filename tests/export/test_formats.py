"""What a format needs is asked for before anything is written; ONNX has the network's blocks."""

import importlib.metadata

import numpy as np
import pytest

from segjax.errors import ConfigError
from segjax.export import folder, formats
from tests.export.untrained import SMALL, untrained


def test_a_missing_package_is_named(unet_run, tmp_path, monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    with pytest.raises(ConfigError, match=r"pip install 'segjax\[onnx\]'"):
        folder.export_run(unet_run, tmp_path / "out", formats=["onnx"])


def test_dlstudio_takes_only_its_own_network(tmp_path):
    form = formats.FORMATS["dlstudio"]
    with pytest.raises(ConfigError, match="head=dense"):
        form.refuse(untrained(tmp_path, depth=2, head="dense"))
    with pytest.raises(ConfigError, match="has 5 outputs, this network 3"):
        form.refuse(untrained(tmp_path, depth=2))


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "bce", "head": "dense", "input_range": "unit"},
        {"loss": "ce", "head": "dense", "upsampling": "dense", "skip_connections": False},
        {"loss": "mse", "head": "dlstudio", "targets": "unit"},
        SMALL | {"unet_widths": "4,6,8", "unet_patch": 2, "unet_blocks": 2},
    ],
    ids=["sigmoid", "softmax", "unit", "unet"],
)
def test_onnx_has_every_block_head_and_meaning(tmp_path, settings, monkeypatch):
    pytest.importorskip("onnxruntime")
    # All batch sizes are compared where whole folders are exported.
    monkeypatch.setattr(folder, "CHECK_BATCHES", (2,))
    trained, form = untrained(tmp_path, **settings), formats.FORMATS["onnx"]
    reference = folder.make_reference(trained, (24, 16))
    found = folder.export_one(form, trained, tmp_path, (24, 16), reference)
    assert found["largest_score"] > 0.1, "a network that says something"
    images = np.zeros((1, 40, 32, 3), np.uint8)
    _, labels = form.run(trained, tmp_path / "network.onnx", images)
    assert labels.shape == (1, 40, 32)
