"""README.md: its Python runs, its flags exist, its links lead somewhere."""

import re
from pathlib import Path

import pytest

from segjax.config import flag_fields
from segjax.loss_table import PARAMETERS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", TEXT, re.S))
def test_its_python_runs(code):
    exec(compile(code, "README.md", "exec"), {})


def test_its_flags_exist():
    known = {field.name for field in flag_fields()} | set(PARAMETERS)
    known |= {"config", "help", "no"}
    named = set(re.findall(r"--([a-z_]+)", TEXT)) - {"no-deps"}
    assert named <= known, named - known


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(((?!http)[^)]+)\)", TEXT))))
def test_its_links_lead_somewhere(target):
    assert (ROOT / target).exists()
