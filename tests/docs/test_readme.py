"""README.md runs, its flags and links exist; docs/walkthrough.md shows what it says."""

import re

import pytest

from segjax.config import flag_fields
from segjax.loss_table import PARAMETERS
from tests.docs import pages

TEXT = pages.read("README.md")
WALKTHROUGH = "\n".join(pages.python(pages.read("docs/walkthrough.md")))


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("code", pages.python(TEXT))
def test_its_python_runs(code, compiled):
    if not compiled:  # mUnet's step is traced: compiling it takes ten seconds
        code = code.replace("jax.jit(", "jax.tree_util.Partial(jax.eval_shape, ")
    pages.run(code, "README.md")


def test_its_flags_exist_and_its_links_lead_somewhere():
    known = {field.name for field in flag_fields()} | {*PARAMETERS, "config", "help", "no"}
    named = set(re.findall(r"--([a-z_]+)", TEXT)) - {"strict"}  # mkdocs's
    assert named <= known, named - known
    links = re.findall(r"\]\(((?!http)[^)]+)\)", TEXT)
    assert links
    assert [link for link in links if not (pages.ROOT / link).exists()] == []


def test_walkthrough_imports_what_there_is():
    assert "STEPS = 150 " in WALKTHROUGH
    exec("\n".join(re.findall(r"^(?:from|import) .*$", WALKTHROUGH, re.M)), {})
    compile(WALKTHROUGH, "walkthrough.md", "exec")


@pytest.mark.slow
def test_walkthrough_shows_what_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scope = pages.run(WALKTHROUGH, "walkthrough.md")
    assert {"compare.png", "look.png"} <= {file.name for file in tmp_path.iterdir()}
    assert "range over all others:          [0. 0. 0. 0. 0.]" in capsys.readouterr().out
    assert scope["filled"][:, ~scope["computed"]].std() > 0
    assert scope["mean_iou"](scope["original"]) < scope["mean_iou"](scope["repaired"])
