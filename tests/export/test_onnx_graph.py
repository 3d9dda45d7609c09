"""The ONNX graph is the network, block by block."""

import numpy as np
import pytest

from segjax.export import folder, formats
from segjax.export.folder import export_one, make_reference
from tests.export.untrained import SMALL, untrained


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
    trained = untrained(tmp_path, **settings)
    reference = make_reference(trained, (24, 16))
    form = formats.FORMATS["onnx"]
    found = export_one(form, trained, tmp_path, (24, 16), reference)
    assert found["largest_score"] > 0.1, "a network that says something"
    images = np.zeros((1, 40, 32, 3), np.uint8)
    _, labels = form.run(trained, tmp_path / "network.onnx", images)
    assert labels.shape == (1, 40, 32)
