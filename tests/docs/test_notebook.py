"""The notebooks in docs/: each is what its text makes, was run, and runs."""

import importlib.util
import json
import os
import re
import subprocess
import sys

import pytest

from scripts.docs import notebook as script
from segjax.data.fetch import fetch
from segjax.errors import SegjaxError

NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e-\d+)?")
ASSIGNMENT = next(text for text in script.TEXTS if text.stem == "assignment")
every = pytest.mark.parametrize("text", script.TEXTS, ids=lambda text: text.stem)


def read(file):
    return json.loads(file.read_text(encoding="utf-8"))


def code_of(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def lines_of(cells):
    told = (part for cell in cells for output in cell["outputs"] for part in output.get("text", []))
    return "".join(told).splitlines()


def numbers(line):
    return [float(number) for number in NUMBER.findall(line)]


def untrained(notebook):
    """Return what the cells say that no training comes before."""
    trained = re.compile(r"train_with\(|\b(results|filled|history)\b")
    return lines_of(c for c in code_of(notebook) if not trained.search("".join(c["source"])))


@every
def test_it_is_what_the_text_makes(text):
    _, *parts = re.split(r"^# %%( \[markdown\])?\n", text.read_text(encoding="utf-8"), flags=re.M)
    cells = []
    for words, body in zip(parts[::2], parts[1::2], strict=True):
        source = body.strip()
        if words:  # the first is a docstring, the others are comments
            source = re.sub("^# ?", "", source, flags=re.M) if cells else source.strip('"\n')
        cells.append(("markdown" if words else "code", source))
    file = script.notebook_of(text)
    assert cells == [(cell["cell_type"], "".join(cell["source"])) for cell in read(file)["cells"]]
    assert file.stat().st_size <= script.MAX_BYTES


@every
def test_every_cell_was_run_in_order_and_its_outputs_are_fit_to_be_committed(text):
    notebook = read(script.notebook_of(text))
    code = code_of(notebook)
    source = "\n".join("".join(cell["source"]) for cell in code)
    compile(source, text.name, "exec")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    imports = re.findall("^from segjax.*", source, re.M)
    assert len(imports) > 2
    exec("\n".join(imports), {})
    assert script.faults(notebook) == []
    assert [cell for cell in code if not cell["outputs"]] == code[:1]  # the imports
    outputs = [output for cell in code for output in cell["outputs"]]
    assert "error" not in {output["output_type"] for output in outputs}
    kind = "image/png" if text.stem == "assignment" else "image/jpeg"
    pictures = [output.get("data", {}).get(kind, "") for output in outputs]
    number = {"own_images": 4, "side_by_side": 1, "assignment": 4}[text.stem]
    assert sum(len(picture) > 5_000 for picture in pictures) == sum(map(bool, pictures)) == number


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


def test_the_assignment_ends_as_its_text_says():
    lines = lines_of(code_of(read(script.notebook_of(ASSIGNMENT))))
    table = lines.index("mean IoU         DLStudio's layers   dense layers") + 1
    dots, filled = zip(*(numbers(line)[-2:] for line in lines[table : table + 3]), strict=True)
    assert max(dots) < 0.26
    assert min(filled) > 0.35


@pytest.mark.slow
@every
def test_it_runs_from_scratch(text, tmp_path):
    for name in ("jupytext", "nbclient", "ipykernel", "skimage"):
        pytest.importorskip(name)
    if text.stem == "side_by_side" and not importlib.util.find_spec("DLStudio"):
        pytest.skip("needs PyTorch and DLStudio")
    kept = text
    if text == ASSIGNMENT:
        try:
            fetch()
        except SegjaxError as error:
            pytest.skip(f"the real data files are not here and cannot be fetched: {error}")
        whole, short = text.read_text(encoding="utf-8"), "STEPS = 1000, 4, 15\n"
        text = tmp_path / text.name
        text.write_text(re.sub("STEPS = 1000, 4, .*\n", short, whole), encoding="utf-8")
    out = tmp_path / "made.ipynb"
    command = [sys.executable, script.__file__, str(text), f"--out={out}"]
    # As a reader runs it: the suite leaves optimisations out, and its sums round more.
    how = {"cwd": tmp_path, "env": {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}}
    done = subprocess.run(command, capture_output=True, text=True, check=False, **how)
    assert done.returncode == 0, done.stderr
    lines = lines_of(code_of(read(out)))
    if kept == ASSIGNMENT:
        before, again = untrained(read(script.notebook_of(kept))), untrained(read(out))
        assert [NUMBER.sub("", line) for line in again] == [NUMBER.sub("", line) for line in before]
        assert len(before) > 40
        for line, same in zip(again, before, strict=True):
            small = 1e-3 if "differ" in line else 1e-9
            assert numbers(line) == pytest.approx(numbers(same), rel=1e-3, abs=small), same
        assert sum("even pixels" in line and line.endswith(" 0.0") for line in lines) == 4
        ends = [numbers(line)[-4:-2] for line in lines if " ends at " in line]
        assert len(ends) == 3
        assert all(end > floor for end, floor in ends)
        return
    if text.stem == "side_by_side":
        differences = [float(line.split()[-1]) for line in lines if " by " in line and "e-" in line]
        assert len(differences) == 7
        assert max(differences) < 1e-4
        steps = [row.split() for row in lines if re.match(r" +\d+ +[\d.]+ +[\d.]+$", row)]
        assert len(steps) == 10
        for _, ours, theirs in steps:
            assert float(ours) == pytest.approx(float(theirs), rel=1e-5)
        return
    (means,) = (line for line in lines if "mean IoU" in line)
    # Predicting the most frequent class everywhere has 0.3; an untrained network less.
    assert float(means.split()[2].rstrip(",")) > 0.55
    (apart,) = (line for line in lines if line.startswith("scores differ by at most "))
    assert float(apart.split()[-1]) < 1e-4
