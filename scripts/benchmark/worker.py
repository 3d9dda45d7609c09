"""What both sides of the benchmark share: a process that measures what it is told to.

A worker reads one JSON request a line from stdin, {"do": NAME, ...settings}, and answers each with
one JSON line. Between requests it sleeps, so that two workers can take turns on one machine.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Answer = dict[str, Any]
MOMENTUM, LEARNING_RATE = 0.9, 1e-4


def serve(actions: Mapping[str, Callable[..., Answer]]) -> None:
    """Answer requests until stdin ends."""
    # What libraries print must not get between the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        answer = actions[request.pop("do")](**request)
        print(json.dumps(answer), file=answers, flush=True)


def scenes(count: int, size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Return random images [N, size, size, 3] and masks [..., 5]; speed depends on no value."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, size, size, 3), np.uint8)
    masks = (random.random((count, size, size, 5)) < 0.1).astype(np.uint8)
    return images, masks * np.arange(50, 251, 50, dtype=np.uint8)


def clock(call: Callable[[], Any], count: int) -> list[float]:
    """Return the seconds of each of ``count`` calls, which have to wait for their own result."""
    seconds = []
    for _ in range(count):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return seconds


def peak_bytes() -> int | None:
    """Return the most memory that this process has held, or None where the system cannot say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
