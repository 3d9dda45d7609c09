"""--cache_dir: what one run compiles, the next one finds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_second_run_compiles_nothing_anew(tmp_path):
    """In processes of their own, without this test run's cache."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        environment.pop(name, None)
    cache = tmp_path / "compiled"
    found = []
    for number in (1, 2):
        command = (
            "--data=synthetic --synthetic_train=8 --synthetic_test=4 --depth=2 --epochs=1 "
            f"--progress=off --run_dir={tmp_path / str(number)} --cache_dir={cache}"
        )
        subprocess.run(
            [sys.executable, "-m", "segjax.main", *command.split()],
            check=True,
            capture_output=True,
            env=environment,
        )
        found.append({path.name for path in cache.iterdir() if not path.name.endswith("-atime")})
    assert found[0]
    assert found[1] == found[0]
