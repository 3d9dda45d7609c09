"""The study from its runs to its page, at the smallest scale."""

import json
import sys

import pytest

from scripts.study import __main__ as command
from scripts.study.page import results_file


def run_study(folder, docs, *flags):
    return command.main(["--scale=smoke", f"--runs={folder}", f"--docs={docs}", *flags])


def test_what_the_page_needs_is_asked_for_before_anything_is_trained(tmp_path, monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "scripts.study.page", raising=False)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.delattr("scripts.study.page", raising=False)
    assert run_study(tmp_path / "runs", tmp_path / "docs") == 1
    assert "pip install -e '.[study]'" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_part_of_the_study_from_runs_to_page_several_in_one_program(tmp_path, capsys):
    runs, docs = tmp_path / "runs", tmp_path / "docs"
    # Stops after one, goes on with the rest, then finds nothing left.
    assert run_study(runs, docs, "--only=^mse-dlstudio-seed", "--max_runs=1") == 3
    assert run_study(runs, docs, "--only=^mse-dlstudio-seed") == 0
    assert run_study(runs, docs, "--only=^mse-dlstudio-seed", "--list") == 0
    assert "2 of 2 runs done; left: nothing" in capsys.readouterr().out
    first = (docs / "study-smoke.md").read_text(encoding="utf-8")
    assert "2 of" in first
    # The page again from the numbers alone.
    (docs / "study-smoke.md").unlink()
    assert run_study(tmp_path / "nowhere", docs, "--page") == 0
    assert (docs / "study-smoke.md").read_text(encoding="utf-8") == first
    summary = json.loads(results_file(docs, "smoke").read_text(encoding="utf-8"))
    run = summary["runs"]["mse-dlstudio-seed1"]
    assert run["measured"]["outputs"]["constant_range"] == [0.0] * 5
    assert run["last_loss"] > run["floor"] > 0
    flags = ("--only=^dice-dlstudio-seed", "--vectorised")
    assert run_study(runs, docs, *flags, "--max_runs=2") == 0
    assert "dice-dlstudio-seed1, dice-dlstudio-seed2: starting" in capsys.readouterr().out
    assert run_study(runs, docs, *flags, "--list") == 0
    assert "2 of 2 runs done; left: nothing" in capsys.readouterr().out


@pytest.mark.slow
def test_the_whole_study_at_the_smallest_scale(tmp_path):
    assert run_study(tmp_path / "runs", tmp_path) == 0
    text = (tmp_path / "study-smoke.md").read_text(encoding="utf-8")
    for gap in ("not run yet", "No figure yet", "not done at this scale"):
        assert gap not in text
