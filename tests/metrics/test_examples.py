"""The examples of docs/metrics.md and of the docstrings give what they say."""

import doctest
import importlib
import pathlib

import pytest

DOCS = pathlib.Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_page():
    found = doctest.testfile(str(DOCS), module_relative=False, encoding="utf-8")
    assert found.attempted > 30
    assert found.failed == 0


@pytest.mark.parametrize("name", ["counts", "boundary", "objects", "panoptic"])
def test_the_docstrings(name):
    found = doctest.testmod(importlib.import_module(f"segjax.metrics.{name}"))
    assert found.attempted >= 4
    assert found.failed == 0
