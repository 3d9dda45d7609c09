"""Folders exported from the runs, once for all tests of the room."""

import pytest

from segjax.export.__main__ import main


def export(factory, run, *flags):
    out = factory.mktemp("exported") / "out"
    assert main([str(run), str(out), *flags]) == 0
    return out


@pytest.fixture(scope="session")
def exported(unet_run, tmp_path_factory):
    """The small run in every format that it has."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("safetensors")
    return export(tmp_path_factory, unet_run, "--format=jax,onnx,safetensors", "--size=32x40")


@pytest.fixture(scope="session")
def exported_for_dlstudio(faithful_run, tmp_path_factory):
    return export(tmp_path_factory, faithful_run, "--format=dlstudio")
