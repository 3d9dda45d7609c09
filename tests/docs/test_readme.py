"""README.md: its Python runs, its flags exist, its links lead somewhere."""

import re

import pytest

from segjax.config import flag_fields
from segjax.loss_table import PARAMETERS
from tests.docs import pages

TEXT = pages.read("README.md")


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("code", pages.python(TEXT))
def test_its_python_runs(code, compiled):
    if not compiled:  # mUnet's step is traced: compiling it takes ten seconds
        code = code.replace("jax.jit(", "jax.tree_util.Partial(jax.eval_shape, ")
    pages.run(code, "README.md")


def test_its_flags_exist():
    known = {field.name for field in flag_fields()} | {*PARAMETERS, "config", "help", "no"}
    named = set(re.findall(r"--([a-z_]+)", TEXT)) - {"no-deps"}
    assert named <= known, named - known


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(((?!http)[^)]+)\)", TEXT))))
def test_its_links_lead_somewhere(target):
    assert (pages.ROOT / target).exists()
