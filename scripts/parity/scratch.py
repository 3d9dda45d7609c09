"""A scratch copy of the checkout in which the code is changed, and its tests run."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scripts.docs.markdown import ROOT

COUNTED = re.compile(r"(\d+) (?:passed|failed|error)")
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


def copy_tree(target: Path) -> None:
    """Copy all files that git knows or would take."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)


class Outcome(NamedTuple):
    """How a run of pytest ended."""

    code: int | None  # its exit code; None if it was stopped at the time limit
    ran: int  # tests that ran to an end
    failed: tuple[str, ...]  # names of those that failed, as far as they were listed
    output: str


def run_tests(
    tree: Path, selection: Sequence[str], *, cache: Path, limit_s: float | None = None
) -> Outcome:
    """Run tests of the copy in ``tree``, stopping them and all that they started at the limit.

    ``selection``: pytest's arguments; ``cache``: a folder of compiled programs, of which a change
    leaves many as they were; ``limit_s``: in seconds, or None.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": str(tree),
        "PYTHONDONTWRITEBYTECODE": "1",  # files of one size and second pass for the same one
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3",
    }
    environment.pop("SEGJAX_PARITY_REPORT", None)
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider", *selection]
    piped: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    how: dict[str, Any] = {"cwd": tree, "env": environment, "start_new_session": True, **piped}
    code, output = None, ""
    with subprocess.Popen(command, **how) as process:
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                output, _ = process.communicate(timeout=limit_s)
                code = process.returncode
        finally:
            if code is None:
                os.killpg(process.pid, signal.SIGKILL)
    ran = sum(map(int, COUNTED.findall(output)))
    return Outcome(code, ran, tuple(FAILED.findall(output)), output)
