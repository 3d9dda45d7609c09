"""docs/own-images.ipynb: it is what its text makes, it was run, and it runs."""

import json
import re
import subprocess
import sys

import pytest

from scripts.docs import notebook as script
from tests.docs import pages

NOTEBOOK = json.loads(pages.read("docs/own-images.ipynb"))
CODE = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def test_it_is_what_the_text_makes():
    text = script.TEXT.read_text(encoding="utf-8")
    _, *parts = re.split(r"^# %%( \[markdown\])?\n", text, flags=re.M)
    cells = []
    for words, body in zip(parts[::2], parts[1::2], strict=True):
        source = body.strip().strip('"\n')
        if words and cells:  # the first is a docstring
            source = re.sub("^# ?", "", source, flags=re.M)
        cells.append(("markdown" if words else "code", source))
    assert cells == [(cell["cell_type"], "".join(cell["source"])) for cell in NOTEBOOK["cells"]]
    assert script.NOTEBOOK.stat().st_size <= script.MAX_BYTES


def test_every_cell_was_run_in_order_and_its_outputs_are_fit_to_be_committed():
    source = "\n".join("".join(cell["source"]) for cell in CODE)
    compile(source, "own-images.ipynb", "exec")
    assert [cell["execution_count"] for cell in CODE] == list(range(1, len(CODE) + 1))
    imports = re.findall("^from segjax.*", source, re.M)
    assert len(imports) > 3
    exec("\n".join(imports), {})
    assert script.faults(NOTEBOOK) == []
    assert [cell for cell in CODE if not cell["outputs"]] == CODE[:1]  # the imports
    outputs = [output for cell in CODE for output in cell["outputs"]]
    assert "error" not in {output["output_type"] for output in outputs}
    pictures = [output.get("data", {}).get("image/jpeg", "") for output in outputs]
    assert sum(len(picture) > 5_000 for picture in pictures) == sum(map(bool, pictures)) == 4


def test_what_must_not_be_committed_is_found():
    def faults(**output):
        return script.faults({"cells": [{"id": "cell-07", "outputs": [output]}]})

    for output, told in (
        ({"text": ["a warning"], "name": "stderr"}, ["cell-07: writes to stderr: a warning"]),
        ({"text": ["saved in /tmp/abc/runs, done"]}, ["cell-07: a path: /tmp/abc/runs,"]),
        ({"data": {"text/plain": ["'/home/me/photos'"]}}, ["cell-07: a path: /home/me/photos"]),
        ({"text": ["runs/tissue, docs/home/x, https://x.org/home/y"]}, []),
    ):
        assert faults(**output) == told


@pytest.mark.slow
def test_it_runs_from_scratch(tmp_path):
    for name in ("jupytext", "nbclient", "ipykernel", "skimage"):
        pytest.importorskip(name)
    out = tmp_path / "made.ipynb"
    command = [sys.executable, script.__file__, f"--out={out}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    cells = [c for c in json.loads(out.read_text())["cells"] if c["cell_type"] == "code"]
    told = (text for c in cells for output in c["outputs"] for text in output.get("text", []))
    lines = "".join(told).splitlines()
    (means,) = (line for line in lines if "mean IoU" in line)
    # Predicting the most frequent class everywhere has 0.3; an untrained network less.
    assert float(means.split()[2].rstrip(",")) > 0.55
    (apart,) = (line for line in lines if line.startswith("scores differ by at most "))
    assert float(apart.split()[-1]) < 1e-4
