"""What a format needs is asked for before anything is written."""

import importlib.metadata

import pytest

from segjax.errors import ConfigError
from segjax.export import formats
from segjax.export.folder import export_run
from tests.export.untrained import untrained


def test_a_missing_package_is_named(unet_run, tmp_path, monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    with pytest.raises(ConfigError, match=r"pip install 'segjax\[onnx\]'"):
        export_run(unet_run, tmp_path / "out", formats=["onnx"])


def test_dlstudio_takes_only_its_own_network(tmp_path):
    form = formats.FORMATS["dlstudio"]
    with pytest.raises(ConfigError, match="head=dense"):
        form.refuse(untrained(tmp_path, depth=2, head="dense"))
    with pytest.raises(ConfigError, match="has 5 outputs, this network 3"):
        form.refuse(untrained(tmp_path, depth=2))
