"""What both sides of the benchmark share: a process of their own, and how they measure in it."""

import multiprocessing
import os
import sys
import timeit
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

Answer = dict[str, Any]
MOMENTUM, LEARNING_RATE = 0.9, 1e-4


class Side(ProcessPoolExecutor):
    """A process that does what it is asked to; between requests it sleeps, so two can take turns.

    Args:
      environment: variables, set before the process imports what measures.
    """

    def __init__(self, **environment: str) -> None:
        given = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **environment}
        spawned = multiprocessing.get_context("spawn")
        super().__init__(1, spawned, initializer=_set, initargs=(given,))

    def ask(self, do: Callable[..., Answer], **settings: Any) -> Answer:
        """Return what ``do`` returns in the process; exits with its error if it fails."""
        try:
            return self.submit(do, **settings).result()
        except Exception as error:
            sys.exit(f"{do.__name__} {settings} failed:\n{error.__cause__ or error}")


def _set(environment: dict[str, str]) -> None:
    os.environ.update(environment)


def ask_once(do: Callable[..., Answer], **settings: Any) -> Answer:
    """Ask a new process, so that its memory and its start are its own."""
    with Side() as side:
        return side.ask(do, **settings)


def scenes(count: int, size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Return random images [N, size, size, 3] and masks [..., 5]; speed depends on no value."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, size, size, 3), np.uint8)
    masks = (random.random((count, size, size, 5)) < 0.1).astype(np.uint8)
    return images, masks * np.arange(50, 251, 50, dtype=np.uint8)


def clocked(call: Callable[[], Any], count: int, per_call: int) -> Answer:
    """Return seconds a step, one number a call of ``per_call`` steps, and the peak memory."""
    seconds = [taken / per_call for taken in timeit.repeat(call, repeat=count, number=1)]
    return {"seconds": seconds, "peak_bytes": peak_bytes()}


def peak_bytes() -> int | None:
    """Return the most memory that this process has held, or None where the system cannot say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
