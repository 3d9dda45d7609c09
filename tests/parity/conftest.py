"""Comparison with DLStudio itself. Needs the extra [parity] and DLStudio; skipped without them.

SEGJAX_REQUIRE_PARITY=1 turns the skip into a failure. SEGJAX_PARITY_REPORT=docs/parity.md writes
the measured errors there.
"""

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parity.measurements import Measurements

MISSING = [name for name in ("torch", "DLStudio") if importlib.util.find_spec(name) is None]
if MISSING and os.environ.get("SEGJAX_REQUIRE_PARITY"):
    raise ModuleNotFoundError(f"the parity suite was asked for, but {MISSING} cannot be imported")
collect_ignore_glob = ["test_*.py"] if MISSING else []

MEASUREMENTS = pytest.StashKey[Measurements]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[MEASUREMENTS] = Measurements()


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Measurements:
    """Where a test records each error that it measures; it fails when one is too large."""
    return request.config.stash[MEASUREMENTS]


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    """Torch's threads wait actively; more than two only slow each other down on small machines."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(min(2, before))
    yield
    torch.set_num_threads(before)


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = os.environ.get("SEGJAX_PARITY_REPORT")
    if path:
        session.config.stash[MEASUREMENTS].write(Path(path))
