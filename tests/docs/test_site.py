"""The site: what its pages name is there, and everything public is on one of them."""

import importlib
import re

import pytest
import yaml

import segjax
from tests.docs import pages

SITE = yaml.safe_load(pages.read("mkdocs.yml"))
REFERENCE = sorted((pages.ROOT / "docs" / "api").glob("*.md"))


def files_of(nav):
    for entry in nav:
        [below] = entry.values()
        yield from [below] if isinstance(below, str) else files_of(below)


def documented():
    """Yield the module and the name of all that the reference shows by name, or of a module."""
    for page in REFERENCE:
        parts = re.split(r"^::: (\S+)\n", page.read_text(encoding="utf-8"), flags=re.M)[1:]
        for module, rest in zip(parts[::2], parts[1::2], strict=True):
            indented = re.match(r"(?: {4}.*\n)*", rest)[0]
            options = (yaml.safe_load(indented) or {}).get("options", {})
            of_module = vars(importlib.import_module(module))
            names = options.get("members", [name for name in of_module if name[0] != "_"])
            yield from ((module, name, of_module[name]) for name in names or ())


def test_each_page_is_in_the_menu_once():
    named = list(files_of(SITE["nav"]))
    docs = pages.ROOT / "docs"
    there = [file.relative_to(docs).as_posix() for file in docs.rglob("*") if file.is_file()]
    assert sorted(named) == sorted(name for name in there if name.endswith((".md", ".ipynb")))


@pytest.mark.parametrize("room", ["losses", "metrics", "data", "plots", ""])
def test_everything_public_is_in_the_reference(room):
    module = importlib.import_module(f"segjax.{room}") if room else segjax
    shown = [id(value) for _, _, value in documented()]
    names = module.__all__ if room else segjax._HOMES
    missing = [n for n in names if id(getattr(module, n)) not in shown and n != "kaggle"]
    assert not missing


# Pages whose blocks other tests run; README's commands are .ci/run's, its Python is test_readme's.
RUN = {
    "README.md", "docs/evaluate.md", "docs/export.md", "docs/losses.md", "docs/metrics.md",
    "docs/own-data.md", "docs/predict.md", "docs/training.md", "docs/walkthrough.md",
}  # fmt: skip


def test_each_block_of_the_guides_is_run_or_says_why_not():
    guides = [*(pages.ROOT / "docs").glob("*.md"), *pages.ROOT.glob("*.md")]
    names = {file.relative_to(pages.ROOT).as_posix() for file in guides}
    assert names > RUN
    for name in sorted(names - RUN):
        for block in re.finditer(r"(.*)\n```(?:sh|python)$", pages.read(name), re.M):
            assert re.fullmatch(r"<!-- not run by the tests: .+ -->", block[1]), (name, block[0])
