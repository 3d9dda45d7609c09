"""README.md: its Python runs, its flags exist, its links lead somewhere."""

import re

import pytest

from segjax.config import flag_fields
from segjax.loss_table import PARAMETERS
from segjax.networks import munet
from tests.docs import pages
from tests.small_net import SmallNet

TEXT = pages.read("README.md")


@pytest.mark.parametrize("code", pages.python(TEXT))
def test_its_python_runs(code, monkeypatch):
    def small(**settings):  # mUnet is built as it says; the step is of what compiles in a second
        whole(**settings)
        return SmallNet()

    whole = munet.MUnet
    monkeypatch.setattr(munet, "MUnet", small)
    pages.run(code, "README.md")


def test_its_flags_exist():
    known = {field.name for field in flag_fields()} | set(PARAMETERS)
    known |= {"config", "help", "no"}
    named = set(re.findall(r"--([a-z_]+)", TEXT)) - {"no-deps"}
    assert named <= known, named - known


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(((?!http)[^)]+)\)", TEXT))))
def test_its_links_lead_somewhere(target):
    assert (pages.ROOT / target).exists()
