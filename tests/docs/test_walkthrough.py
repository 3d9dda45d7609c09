"""docs/walkthrough.md: what it imports is there, and its code shows what it says."""

import re

import pytest

from tests.docs import pages

CODE = "\n".join(pages.python(pages.read("docs/walkthrough.md")))


def test_walkthrough_imports_what_there_is():
    assert "STEPS = 150 " in CODE
    exec("\n".join(re.findall(r"^(?:from|import) .*$", CODE, re.M)), {})
    compile(CODE, "walkthrough.md", "exec")


@pytest.mark.slow
def test_walkthrough_shows_what_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scope = pages.run(CODE, "walkthrough.md")
    assert {"compare.png", "look.png"} <= {file.name for file in tmp_path.iterdir()}
    assert "range over all others:          [0. 0. 0. 0. 0.]" in capsys.readouterr().out
    assert scope["filled"][:, ~scope["computed"]].std() > 0
    assert scope["mean_iou"](scope["original"]) < scope["mean_iou"](scope["repaired"])
