"""The page: what the committed numbers give, and its template."""

import re
import shutil
from pathlib import Path

import pytest

from scripts.study import __main__ as command
from scripts.study.figures import FIGURES
from scripts.study.numbers import Numbers
from scripts.study.page import TEMPLATE, fill, page_name, report_of
from segjax.errors import ConfigError

DOCS = Path(__file__).parents[3] / "docs"


def test_committed_page_is_what_the_committed_numbers_give(committed):
    name = page_name(committed["scale"])
    numbers = Numbers(committed)
    text = fill(TEMPLATE.read_text("utf-8"), numbers, report_of(numbers, DOCS), docs=DOCS)
    assert (DOCS / f"{name}.md").read_text(encoding="utf-8") == text
    assert not re.search(r"\{[{%]", text)


def test_template_refuses_names_that_do_not_exist(committed):
    for odd in ("{{ nothing }}", "{{ nothing_rows() }}", "{% if nothing %}x{% endif %}", "{% x %}"):
        with pytest.raises(ConfigError, match=r"template\.md"):
            fill(odd, Numbers(committed), report_of(Numbers(committed), DOCS), docs=DOCS)


def test_page_and_figures_come_from_the_numbers_alone(committed, tmp_path):
    scale = committed["scale"]
    shutil.copytree(DOCS / "results", tmp_path / "results")
    assert command.main([f"--scale={scale}", "--page", f"--docs={tmp_path}"]) == 0
    text = (tmp_path / f"{page_name(scale)}.md").read_text(encoding="utf-8")
    drawn = {path.stem for path in (tmp_path / "figures").rglob("*.png")}
    assert drawn == {*FIGURES, "report-curves"}
    assert text.count("](figures/") == len(drawn)
    assert text.count("*(No figure yet: ") == 3  # they need the runs
    assert command.main(["--scale=full", "--page", f"--docs={tmp_path}"]) == 1
