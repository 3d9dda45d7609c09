"""The benchmark's end of a worker process."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Side:
    """One worker process; ``ask`` sends it a request and waits for the answer."""

    def __init__(self, module: str, **environment: str) -> None:
        self.errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 - closed by __exit__
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"scripts.benchmark.{module}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            cwd=ROOT,
            env={**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false", **environment},
        )

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()

    def ask(self, do: str, **settings: Any) -> dict[str, Any]:
        """Return the worker's answer; exits with its last lines if it fails."""
        assert self.process.stdin
        assert self.process.stdout
        try:
            print(json.dumps({"do": do, **settings}), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.errors.seek(0)
            sys.exit(f"{do} {settings} failed:\n" + "".join(self.errors.readlines()[-8:]))
        answer: dict[str, Any] = json.loads(line)
        return answer
