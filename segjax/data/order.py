"""The order of an epoch, as a pure function of seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from segjax.errors import ConfigError


def epoch_order(n: int, *, seed: int, epoch: int) -> np.ndarray:
    """Returns the order in which epoch ``epoch`` visits ``n`` examples.

    The order depends on nothing but the arguments, so a resumed run goes on where it was and no
    random state has to be saved. Epochs of one seed are independent streams (Philox keyed by
    seed and epoch).

    Returns:
      int32 [n], a permutation of 0..n-1.

    Raises:
      ConfigError: if an argument is negative, or ``n`` is above 2**31 - 1.
    """
    if not 0 <= n < 2**31 or not 0 <= seed < 2**64 or not 0 <= epoch < 2**64:
        raise ConfigError(f"epoch_order needs n, seed, epoch of at least 0: {n}, {seed}, {epoch}")
    key = np.array([seed, epoch], np.uint64)
    rng = np.random.Generator(np.random.Philox(key=key))
    return rng.permutation(np.arange(n, dtype=np.int32))


def batches(order: np.ndarray, *, batch_size: int, drop_last: bool = False) -> Iterator[np.ndarray]:
    """Yields the consecutive batches of ``order``; the last may be short, as in DLStudio.

    Raises:
      ConfigError: if ``batch_size`` is not at least 1.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
    stop = len(order) - len(order) % batch_size if drop_last else len(order)
    for start in range(0, stop, batch_size):
        yield order[start : start + batch_size]
