"""Comparison with DLStudio itself. Needs the extra [parity] and DLStudio; skipped without them.

SEGJAX_REQUIRE_PARITY=1 turns the skip into a failure. SEGJAX_PARITY_REPORT=docs/parity.md writes
the measured errors there.
"""

import importlib.util
import os
from pathlib import Path

import jax
import pytest

from tests.parity.measurements import Measurements

# PyTorch's threads spin while they wait, which starves everything else on a small machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

MISSING = [name for name in ("torch", "DLStudio") if importlib.util.find_spec(name) is None]
if MISSING and os.environ.get("SEGJAX_REQUIRE_PARITY"):
    raise ModuleNotFoundError(f"the parity suite was asked for, but {MISSING} cannot be imported")
collect_ignore_glob = ["test_*.py"] if MISSING else []
if not MISSING:
    # In float64 and at full size, code that is quick to compile is too slow to run.
    jax.config.update("jax_disable_most_optimizations", False)

# Where a test records each error that it measures; it fails when one is too large.
MEASUREMENTS = Measurements()
measured = pytest.fixture(lambda: MEASUREMENTS, name="measured")


def pytest_sessionfinish():
    if path := os.environ.get("SEGJAX_PARITY_REPORT"):
        if "PYTEST_XDIST_WORKER" in os.environ:
            raise RuntimeError("SEGJAX_PARITY_REPORT needs one process: run without -n")
        MEASUREMENTS.write(Path(path))
