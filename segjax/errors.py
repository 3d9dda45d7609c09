"""What goes wrong for a user: every error carries one line that says what and what to do."""

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NoReturn

Say = Callable[[str], None]  # hears one line for the user


class SegjaxError(Exception):
    """Base of all errors that a user can cause or mend; the command line prints it as one line."""


class ConfigError(SegjaxError, ValueError):
    """A setting, flag or argument has a value that cannot work."""


class DataError(SegjaxError):
    """A data file or image is missing, damaged, hostile or not what it should be."""


class CheckpointError(SegjaxError):
    """A checkpoint is missing, damaged, or belongs to another network or setting."""


class TrainingError(SegjaxError):
    """Training cannot go on, for instance because the loss is not finite any more."""


class Parser(argparse.ArgumentParser):
    """The parser of a command, for which wrong usage is one line as other errors are."""

    def error(self, message: str) -> NoReturn:
        """End the command with exit code 2."""
        self.exit(2, f"segjax: {message} ({self.prog} --help)\n")


def to_stderr(line: str) -> None:
    """Tell the user a line where a program's output does not go."""
    print(line, file=sys.stderr, flush=True)


def check_choice(given: str, value: object, choices: Collection[str]) -> None:
    """Raise ConfigError unless ``value`` is one of ``choices``; ``given`` shows it as it was given.

    ``check_choice(f"--fit={fit}", fit, FITS)`` says "--fit=bend: choose one of resize, crop, pad".
    """
    if value not in choices:
        raise ConfigError(f"{given}: choose one of {', '.join(choices)}")


def one_line(error: BaseException | str) -> str:
    """Return the first line of an error's text, for errors whose text runs over many."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


# Exit code and line for each kind of error, the first that fits.
_TOLD: dict[type[BaseException], tuple[int, str]] = {
    ConfigError: (2, "{error}"),
    SegjaxError: (1, "{error}"),
    OSError: (1, "{file}: {reason}"),
    MemoryError: (1, "out of memory: try smaller batches or smaller images"),
    KeyboardInterrupt: (130, "stopped"),
}


def exit_code(
    work: Callable[[], int | None],
    *,
    prefix: str = "segjax",
    told: Mapping[Any, tuple[int, str]] | None = None,
) -> int:
    """Run a command's work, from its arguments on, and return the command's exit code.

    An error of a user becomes one line on stderr. A reader of stdout that has seen enough, as in
    ``--help | head``, ends the command without a word.

    Args:
      work: returns the exit code, or None for 0; argparse may end it with SystemExit.
      prefix: what the line of an error begins with.
      told: exit code and line of kinds of errors that the command tells in its own way; in the
        line ``{error}``, ``{file}`` and ``{reason}`` stand for the error, the file that it names
        and the system's words. A device that is out of memory is a MemoryError.

    Returns:
      What ``work`` returned, or 2 for a ConfigError, 1 for other errors of a user, 130 after
      Ctrl-C, 141 after a closed stdout, as the shell counts signals.
    """
    # XLA's own log lines would drown the one line that a user needs.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        try:
            with _warnings_in_lines(prefix):
                code = work() or 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Python flushes once more at its end, which would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except BaseException as error:
        error = _of_device(error)
        for kind, (code, line) in [*(told or {}).items(), *_TOLD.items()]:
            if isinstance(error, kind):
                file = getattr(error, "filename", None) or "a file"
                reason = getattr(error, "strerror", None) or error
                lines = line.format(error=error, file=file, reason=reason).splitlines()
                sys.stderr.write(f"{prefix}: {' '.join(part.strip() for part in lines)}\n")
                return code
        raise


def leave(code: int) -> NoReturn:
    """End the process; after a failure at once: threads of libraries may still wait or complain."""
    if code == 1:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


@contextlib.contextmanager
def _warnings_in_lines(prefix: str) -> Iterator[None]:
    """Let a library's warning be a line, without the code that gave it, while the context lasts."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        sys.stderr.write(f"{prefix}: warning: {one_line(message)}\n")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _of_device(error: BaseException) -> BaseException:
    """Turn what JAX raises when a device fails into errors that are told; others stay."""
    if isinstance(error, ValueError | RuntimeError) and "Gloo" in str(error):
        gone = "another process of the run has gone, or cannot be reached"
        return SegjaxError(f"{gone}; --resume goes on ({one_line(error)})")
    if type(error).__name__ not in ("JaxRuntimeError", "XlaRuntimeError"):  # without importing it
        return error
    if "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower():
        return MemoryError(one_line(error))
    return SegjaxError(f"the device failed: {one_line(error)}")
