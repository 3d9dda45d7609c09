"""The examples in the docstrings of the losses give what they say."""

import doctest
import importlib

import pytest

FAMILIES = ("regression", "entropy", "overlap", "compound", "lovasz", "distance", "topology")


@pytest.mark.parametrize("name", FAMILIES)
def test_the_docstrings(name):
    found = doctest.testmod(importlib.import_module(f"segjax.losses.{name}"))
    assert found.attempted >= 2
    assert found.failed == 0
