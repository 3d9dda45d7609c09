"""One way to stop: the first signal in training saves, any other ends the command at once.

What is said of it is asked of the disk. An exception, as Python makes of Ctrl-C, would get lost in
a callback of JAX's, and wait for its threads and Orbax's.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

from segjax.runs.lock import HELD


@contextlib.contextmanager
def leave_on_signals() -> Iterator[None]:
    """Let a signal end the process with a line on what is saved, while the context lasts.

    For commands: the caller of a function gets Python's own KeyboardInterrupt.
    """

    def leave(number: int, _frame: Any) -> None:
        line = f"segjax: stopped by {signal.Signals(number).name}; {saved_so_far()}\n"
        with contextlib.suppress(OSError):  # the terminal is gone, too
            os.write(2, line.encode())
        os._exit(128 + number)

    with handled(leave):
        yield


@contextlib.contextmanager
def caught_signals() -> Iterator[list[str]]:
    """Collect the name of a first signal, while the context lasts; a second one does what it did.

    A reader of the output that is gone counts as one: what is trained is worth more.
    """
    caught: list[str] = []

    def note(number: int, _frame: Any) -> None:
        caught.append(signal.Signals(number).name)
        handlers.close()

    with contextlib.ExitStack() as handlers:
        handlers.enter_context(handled(note, "SIGPIPE"))
        yield caught


@contextlib.contextmanager
def handled(handler: Callable[[int, Any], None], *others: str) -> Iterator[None]:
    """Handle Ctrl-C, SIGTERM, a closed terminal, and other signals, while the context lasts."""
    with contextlib.ExitStack() as previous:
        # From another than the main thread, ValueError: signals are the caller's business there.
        with contextlib.suppress(ValueError):
            for name in ("SIGINT", "SIGTERM", "SIGHUP", *others):
                number = getattr(signal, name, None)  # Windows has the first two
                if number is None or (
                    name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN
                ):
                    continue  # started by nohup, say
                previous.callback(signal.signal, number, signal.signal(number, handler))
        yield


def saved_so_far() -> str:
    """Tell what is on the disk of the run that this process holds, and how to go on with it."""
    if not HELD:
        return "no run had begun"
    run = HELD[0]  # of several seeds their parent
    found = [*run.glob("checkpoints/step_*"), *run.glob("seed*/checkpoints/step_*")]
    if not found:
        return f"nothing of {run} was saved yet"
    # As `segjax.runs.storage.parse_step`, which is not to be imported now, with jax.
    step = max(int(path.name.removeprefix("step_").partition(".")[0]) for path in found)
    return f"step {step} is saved; go on with --resume --run_dir={run}"
