"""docs/walkthrough.md: what it imports is there, and its code shows what it says."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "walkthrough.md"
WALK = PAGE.read_text(encoding="utf-8")


def walk(steps, folder, monkeypatch):
    monkeypatch.chdir(folder)
    code = "\n".join(re.findall(r"```python\n(.*?)```", WALK, re.S))
    assert "STEPS = 150 " in code
    scope = {}
    code = code.replace("STEPS = 150 ", f"STEPS = {steps} ")
    exec(compile(code, "walkthrough.md", "exec"), scope)
    assert (folder / "compare.png").exists()
    assert (folder / "look.png").exists()
    return scope


def test_walkthrough_imports_what_there_is():
    code = "\n".join(re.findall(r"```python\n(.*?)```", WALK, re.S))
    exec("\n".join(re.findall(r"^(?:from|import) .*$", code, re.M)), {})
    compile(code, "walkthrough.md", "exec")


@pytest.mark.slow
def test_walkthrough_shows_what_it_says(tmp_path, monkeypatch, capsys):
    scope = walk(150, tmp_path, monkeypatch)
    assert "range over all others:          [0. 0. 0. 0. 0.]" in capsys.readouterr().out
    assert scope["filled"][:, ~scope["computed"]].std() > 0
    assert scope["mean_iou"](scope["original"]) < scope["mean_iou"](scope["repaired"])
