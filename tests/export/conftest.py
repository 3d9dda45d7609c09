"""Folders exported from the runs, once for all tests of the room."""

import pytest

from segjax.export.__main__ import main


@pytest.fixture(scope="session")
def exported(unet_run, tmp_path_factory):
    """The small run in every format that it has."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("safetensors")
    out = tmp_path_factory.mktemp("exported") / "out"
    assert main([str(unet_run), str(out), "--format=jax,onnx,safetensors", "--size=32x40"]) == 0
    return out


@pytest.fixture(scope="session")
def exported_for_dlstudio(faithful_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "for-dlstudio"
    assert main([str(faithful_run), str(out), "--format=dlstudio"]) == 0
    return out
