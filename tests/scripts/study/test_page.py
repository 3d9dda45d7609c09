"""The page: what the committed numbers give, its template, its HTML."""

import re
from pathlib import Path

import pytest

from scripts.study import __main__ as command
from scripts.study.figures import FIGURES
from scripts.study.numbers import Numbers
from scripts.study.page import TEMPLATE, fill, page_name, results_file, to_html
from scripts.study.tables import means_of
from segjax.errors import ConfigError

DOCS = Path(__file__).parents[3] / "docs"


def test_committed_page_is_what_the_committed_numbers_give(committed):
    name = page_name(committed["scale"])
    text = fill(TEMPLATE.read_text(encoding="utf-8"), Numbers(committed), docs=DOCS)
    assert (DOCS / f"{name}.md").read_text(encoding="utf-8") == text
    assert (DOCS / f"{name}.html").read_text(encoding="utf-8") == to_html(text, folder=DOCS)
    assert "{{" not in text
    assert "{%" not in text


@pytest.mark.parametrize(
    "text", ["{{ nothing }}", "{{ nothing_rows() }}", "{% if nothing %}x{% endif %}", "{% odd %}"]
)
def test_template_refuses_names_that_do_not_exist(committed, text):
    with pytest.raises(ConfigError, match=r"template\.md"):
        fill(text, Numbers(committed), docs=DOCS)


def test_html_has_tables_lists_code_and_escapes(tmp_path):
    text = (
        "# A < B\n\nSome *odd* `x < 1`.\n\n| a | b |\n|---|---:|\n| 1 | **2** |\n\n"
        "- one\n- two\n\n```sh\na  # x\n\nb\n```\n"
    )
    page = to_html(text, folder=tmp_path)
    assert "<title>A &lt; B</title>" in page
    assert "<em>odd</em> <code>x &lt; 1</code>" in page
    assert "<td>1</td>" in page
    assert '<td style="text-align:right"><strong>2</strong></td>' in page
    assert "<li>one</li>\n<li>two</li>" in page
    assert re.search(r"<pre><code[^>]*>a  # x\n\nb\n</code></pre>", page)


def test_means_over_steps_are_whole_ones():
    curve = {"step": [2, 4, 6, 8, 10], "loss": [1.0, 3.0, 5.0, 7.0, 9.0]}
    assert means_of(curve, 4) == [2.0, 6.0]


def test_page_and_figures_come_from_the_numbers_alone(committed, tmp_path):
    scale = committed["scale"]
    file = results_file(tmp_path, scale)
    file.parent.mkdir()
    file.write_bytes(results_file(DOCS, scale).read_bytes())
    assert command.main([f"--scale={scale}", "--page", f"--docs={tmp_path}"]) == 0
    text = (tmp_path / f"{page_name(scale)}.md").read_text(encoding="utf-8")
    drawn = {path.stem for path in (tmp_path / "figures").rglob("*.png")}
    assert drawn == set(FIGURES)
    assert text.count("](figures/") == len(FIGURES)
    assert text.count("*(No figure yet: ") == 3  # they need the runs
    assert command.main(["--scale=full", "--page", f"--docs={tmp_path}"]) == 1
