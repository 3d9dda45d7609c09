"""The exported folder's README: its code runs, and needs no segjax."""

import re
import subprocess
import sys

import pytest

from segjax.export import formats

WITHOUT_SEGJAX = "import sys; sys.modules['segjax'] = None\n"
PACKAGES = {"jax": "jax", "onnx": "onnxruntime", "safetensors": "safetensors", "dlstudio": "torch"}


@pytest.mark.parametrize("name", PACKAGES)
def test_the_readme_runs_without_segjax(name, request):
    pytest.importorskip(PACKAGES[name])
    fixture = "exported_for_dlstudio" if name == "dlstudio" else "exported"
    exported = request.getfixturevalue(fixture)
    text = (exported / "README.md").read_text().split(f"## {formats.FORMATS[name].file}")[1]
    code = re.search(r"```python\n(.*?)```", text, re.S)[1]
    code += "print(labels.shape, scores.shape)" if name in ("jax", "onnx") else ""
    command = [sys.executable, "-c", WITHOUT_SEGJAX + code]
    done = subprocess.run(command, cwd=exported, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if name in ("jax", "onnx"):
        assert done.stdout == "(3, 32, 40) (3, 32, 40, 5)\n"
        assert "unet 4,8, patch 4" in (exported / "README.md").read_text()
