"""How a command ends: its exit code, and one line on stderr for what went wrong."""

import argparse
import subprocess
import sys
import warnings
from unittest import mock

import pytest
from jax.errors import JaxRuntimeError

from segjax.errors import CheckpointError, ConfigError, check_choice, exit_code, leave


def raising(error):
    return mock.Mock(side_effect=error)


def test_an_error_is_a_code_and_one_line_also_in_a_commands_own_way(capsys):
    told = {ConfigError: (1, "{error}!"), MemoryError: (1, "out of memory"), OSError: (2, "{file}")}
    own = {"prefix": "error", "told": told}
    gone = "segjax: another process of the run has gone, or cannot be reached"
    for error, how, code, line in (
        (ConfigError("--fit=x: no"), {}, 2, "segjax: --fit=x: no"),
        (CheckpointError("a\n  b"), {}, 1, "segjax: a b"),
        (OSError(28, "No space left", "out.png"), {}, 1, "segjax: out.png: No space left"),
        (OSError(5, "Input/output error"), {}, 1, "segjax: a file: Input/output error"),
        (OSError("cannot write"), {}, 1, "segjax: a file: cannot write"),
        (KeyboardInterrupt(), {}, 130, "segjax: stopped"),
        (ValueError("Gloo failed\nx"), {}, 1, f"{gone}; --resume goes on (Gloo failed)"),
        (JaxRuntimeError("INTERNAL: a\nb"), {}, 1, "segjax: the device failed: INTERNAL: a"),
        (JaxRuntimeError("RESOURCE_EXHAUSTED: x"), {"told": told}, 1, "segjax: out of memory"),
        (MemoryError(), {}, 1, "segjax: out of memory: try smaller batches or smaller images"),
        (ConfigError("no"), own, 1, "error: no!"),
        (MemoryError(), {"told": told}, 1, "segjax: out of memory"),
        (OSError(28, "full", "a  b.png"), {"told": told}, 2, "segjax: a  b.png"),
    ):
        assert exit_code(raising(error), **how) == code
        assert capsys.readouterr() == ("", line + "\n")
    with pytest.raises(KeyError):  # others are not hidden
        exit_code(raising(KeyError("bug")))
    with pytest.raises(ConfigError, match=r"^--fit=x: choose one of crop, pad$"):
        check_choice("--fit=x", "x", ("crop", "pad"))
    check_choice("--fit=pad", "pad", ("crop", "pad"))


def test_the_code_is_that_of_the_work_or_of_argparse(capsys):
    parser = argparse.ArgumentParser(prog="tool")
    assert exit_code(lambda: None) == 0
    assert exit_code(lambda: 1) == 1
    assert exit_code(lambda: parser.parse_args(["--help"]) and 1) == 0
    assert exit_code(lambda: parser.parse_args(["--no"]) and 1) == 2
    assert "unrecognized arguments: --no" in capsys.readouterr().err


def test_a_reader_that_leaves_ends_the_command_quietly():
    code = (
        "import sys; from segjax.errors import exit_code\n"
        "sys.exit(exit_code(lambda: [print('line') for _ in range(100_000)] and 0))"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as command:
        assert command.stdout.readline() == b"line\n"
        command.stdout.close()
        assert command.stderr.read() == b""
        assert command.wait() == 141


def test_a_librarys_warning_is_a_line(capsys):
    def work():
        warnings.simplefilter("always")
        warnings.warn("the cache is damaged\nin many ways", stacklevel=1)

    assert exit_code(work) == 0
    assert capsys.readouterr().err == "segjax: warning: the cache is damaged\n"


def test_after_a_failure_nothing_of_a_library_is_waited_for():
    for code, told in ((1, ""), (2, "and then\n"), (0, "and then\n")):
        program = f"import atexit, sys\nfrom {leave.__module__} import leave\n"
        program += f"atexit.register(print, 'and then')\nprint('done')\nleave({code})"
        found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert (found.returncode, found.stdout) == (code, f"done\n{told}")
