"""The examples of pages and of docstrings give what they say."""

import doctest
import importlib

import pytest

from tests.docs.pages import ROOT

MODULES = {
    "losses": "regression entropy overlap compound lovasz distance topology",
    "metrics": "counts boundary objects panoptic",
}
NAMES = [f"{room}.{name}" for room, names in MODULES.items() for name in names.split()]


@pytest.mark.parametrize(("page", "counts"), [("losses", [19]), ("metrics", range(31, 100))])
def test_the_page(page, counts):
    file = str(ROOT / "docs" / f"{page}.md")
    found = doctest.testfile(file, module_relative=False, encoding="utf-8")
    assert found.attempted in counts
    assert found.failed == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_docstrings(name):
    found = doctest.testmod(importlib.import_module(f"segjax.{name}"))
    assert found.attempted >= (4 if name.startswith("metrics") else 2)
    assert found.failed == 0
