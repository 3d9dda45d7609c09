"""A run in several processes, one for each machine: joining them, and keeping them in agreement.

All run the same program on the same settings, which are process 0's. Only process 0 writes, prints
and decides what depends on the run folder; the others hear of it through the devices' own network,
so they need not see its disk.
"""

import json
import os
import signal
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from segjax import errors
from segjax.errors import ConfigError, SegjaxError

Value = TypeVar("Value")
Tree = TypeVar("Tree")

MESSAGE_BYTES = 2000  # of an error that another process had


def join(*, coordinator: str = "", processes: int = 0, process: int = -1) -> None:
    """Join the run's other processes; before anything else uses JAX.

    What is not given is taken from the environment: JAX_COORDINATOR_ADDRESS, or what SLURM, Open
    MPI, Kubernetes or a TPU pod say. A second call changes nothing.

    Raises:
      ConfigError: the processes cannot be told from the settings, or did not find each other.
    """
    if jax.distributed.is_initialized():
        return
    try:
        jax.distributed.initialize(
            coordinator_address=coordinator or None,
            num_processes=processes or None,
            process_id=process if process >= 0 else None,
        )
    except (ValueError, TypeError, RuntimeError) as error:
        where = coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS", "")
        given = f" at {where}" if where else ""
        raise ConfigError(
            f"--multihost: cannot join the other processes{given}: {_first_line(error)}; give each "
            "--coordinator=HOST:PORT of process 0, --num_processes=N and its --process_id"
        ) from None


def several() -> bool:
    """Tell whether the run has more than one process."""
    return jax.process_count() > 1


def is_first() -> bool:
    """Tell whether this is the process that writes, or the only one."""
    return jax.process_index() == 0


def of_first(work: Callable[[], Value]) -> Value:
    """Do ``work`` in process 0 and return in all what it gave, which JSON has to hold.

    A SegjaxError that it raises is raised in all.
    """
    if not several():
        return work()
    outcome: dict[str, Any] = {}
    if is_first():
        try:
            outcome = {"value": work()}
        except SegjaxError as error:
            outcome = {"error": str(error), "kind": type(error).__name__}
    outcome = json.loads(_broadcast(json.dumps(outcome).encode()))
    if "error" in outcome:
        raise getattr(errors, outcome["kind"])(outcome["error"])
    return outcome["value"]


def in_all(work: Callable[[], Value]) -> Value:
    """Do ``work`` in every process; if it fails in one, with a SegjaxError, it fails in all."""
    if not several():
        return work()
    failure: SegjaxError | None = None
    try:
        value = work()
    except SegjaxError as error:
        failure = error
    text = np.zeros(MESSAGE_BYTES, np.uint8)
    if failure is not None:
        said = str(failure).encode()[:MESSAGE_BYTES]
        text[: len(said)] = np.frombuffer(said, np.uint8)
    heard = multihost_utils.process_allgather(text)
    if failure is not None:
        raise failure
    for number, row in enumerate(heard):
        if row.any():
            said = row.tobytes().rstrip(b"\0").decode(errors="replace")
            raise SegjaxError(f"process {number} cannot go on: {said}")
    return value


def largest(number: int) -> int:
    """Return the largest of the processes' numbers."""
    return number if not several() else int(multihost_utils.process_allgather(number).max())


def agreed_signal(caught: Sequence[str], *, due: bool) -> str | None:
    """Return the signal to stop on, if any. It is read once a step: all runs have to see the same.

    Several processes agree where a log line or a checkpoint is ``due``, as that costs an exchange.
    """
    if not several():
        return caught[0] if caught else None
    if not due:
        return None
    number = largest(signal.Signals[caught[0]].value if caught else 0)
    return signal.Signals(number).name if number else None


def check_same(digest: bytes, what: str) -> None:
    """Raise DataError in all unless every process has the same ``digest`` of ``what``."""
    rows = multihost_utils.process_allgather(np.frombuffer(digest, np.uint8))
    for number, row in enumerate(rows):
        if (row != rows[0]).any():
            raise errors.DataError(f"process {number} has another {what} than process 0")


def share(tree: Tree) -> Tree:
    """Return process 0's arrays in all; every process gives a tree of the same shapes."""
    if not several():
        return tree

    def one(x: Any) -> Any:
        if _is_key(x):
            data = multihost_utils.broadcast_one_to_all(jax.random.key_data(x))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))
        return multihost_utils.broadcast_one_to_all(x)

    return jax.tree.map(one, tree)


def own(tree: Tree) -> Tree:
    """Return this process's copies of arrays that lie whole on every device."""
    if not several():
        return tree

    def one(x: Any) -> Any:
        if isinstance(x, jax.Array) and not x.is_fully_addressable:
            return x.addressable_data(0)
        return x

    return jax.tree.map(one, tree)


def put_everywhere(tree: Tree, sharding: jax.sharding.Sharding) -> Tree:
    """Put arrays that every process has whole onto all devices of ``sharding``, whole."""

    def one(x: Any) -> Any:
        if isinstance(x, jax.Array) and not x.is_fully_addressable:
            return x
        if _is_key(x):
            data = one(np.asarray(jax.random.key_data(x)))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))
        value = np.asarray(x)
        return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])

    return jax.tree.map(one, tree)


def _is_key(x: Any) -> bool:
    return isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)


def _broadcast(text: bytes) -> bytes:
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    buffer = np.zeros(size, np.uint8)
    if is_first():
        buffer[:] = np.frombuffer(text, np.uint8)
    return multihost_utils.broadcast_one_to_all(buffer).tobytes()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
