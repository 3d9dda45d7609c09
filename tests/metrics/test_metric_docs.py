"""The examples of docs/metrics.md give what they say."""

import doctest
import pathlib

DOCS = pathlib.Path(__file__).parents[2] / "docs" / "metrics.md"


def test_examples():
    found = doctest.testfile(str(DOCS), module_relative=False, encoding="utf-8")
    assert found.attempted > 30
    assert found.failed == 0
