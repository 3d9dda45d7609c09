"""What a setting is: its default and all that is known of it, in the metadata of its field."""

import dataclasses
import difflib
import functools
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from segjax.errors import ConfigError, check_choice

Group = Literal["data", "network", "loss", "optimisation", "test", "run", "devices"]

MOST = 2**31 - 1  # of a setting that is a whole number; more does not fit an int32
SIZE_MULTIPLE = 8  # all networks take images with sides that are multiples of this

# The headings of --help, in its order.
GROUPS: dict[Group, str] = {
    "data": "Data",
    "network": "Network",
    "loss": "Loss",
    "optimisation": "Optimisation",
    "test": "Test",
    "run": "Run",
    "devices": "Devices and processes",
}


def shows_progress(choice: str) -> bool:
    """Tell whether a --progress of auto, on or off means a bar here; auto asks for a terminal."""
    return choice == "on" or (choice == "auto" and sys.stderr.isatty())


def setting(
    default: Any,
    help: str,
    *,
    group: Group,
    choices: tuple[str, ...] = (),
    low: float | None = None,
    high: float | None = None,
    first: bool = False,
    fixed: bool = True,
    tested: bool = False,
    together: bool = False,
    local: bool = False,
    compared: bool = True,
    of_data: tuple[str, ...] = (),
) -> Any:
    """Declare a setting, a field of `segjax.Config` and a flag of the same name.

    Args:
      default: its default, which also gives its type.
      help: the sentence that explains it.
      group: the heading under which --help shows it.
      choices: the values that it may have; empty: all of its type.
      low, high: the range of its values, both included.
      first: it is one of those that matter first.
      fixed: a resumed run must keep the value that it was started with.
      tested: it may change in a resumed run, and what is measured in the end depends on it.
      together: runs that are trained together may differ in it.
      local: of several processes each has its own.
      compared: it says what was trained, so that tables of runs show where it differs.
      of_data: the kinds of data that have it, of 'purdue', 'synthetic' and 'own'; empty: all.
    """
    return dataclasses.field(default=default, metadata=locals())


def of_group(group: Group, **usual: Any) -> Any:
    """Return `setting` for one group, with what is usual there."""
    return functools.partial(setting, group=group, **usual)


def check_value(
    name: str,
    value: Any,
    *,
    default: Any,
    choices: Sequence[str] = (),
    low: float | None = None,
    high: float | None = None,
) -> None:
    """Raise ConfigError unless ``value`` has the type of ``default`` and lies in its range."""
    kind = type(default)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise ConfigError(f"--{name}={value!r}: must be a {kind.__name__}")
    if choices:
        check_choice(f"--{name}={value}", value, choices)
    if kind is float and not math.isfinite(value):
        raise ConfigError(f"--{name}={value}: must be a finite number")
    if kind is int and high is None:
        high = MOST
    if low is not None and value < low:
        raise ConfigError(f"--{name}={value}: must be at least {low}")
    if high is not None and value > high:
        raise ConfigError(f"--{name}={value}: must be at most {high}")


def close_to(name: str, names: Iterable[str]) -> str:
    """Return a hint at the name that was meant, or at all there are."""
    names = list(names)
    close = difflib.get_close_matches(name, names, n=1)
    return f" did you mean {close[0]!r}?" if close else f" there are {', '.join(names)}"
