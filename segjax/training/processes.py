"""What a run's processes, one for each machine, have in common, and how they stay in agreement.

All run the same program on the same settings, which are process 0's. Only process 0 writes, prints
and decides what depends on the run folder; the others hear of it through the devices' own network,
so they need not see its disk. With one process, the usual case, each function is what it says and
nothing is exchanged.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from segjax import errors
from segjax.config import Config, names_with, settings_that_differ
from segjax.data.splits import Splits, load_splits
from segjax.errors import ConfigError, DataError, Say, SegjaxError, one_line, to_stderr
from segjax.runs.claim import claimed
from segjax.runs.folder import RunFolder
from segjax.training import backend
from segjax.training.devices import several

Value = TypeVar("Value")

JOIN_S = 120
ROOM_BYTES = 4096  # for what a process has to say, or a multiple


def print_now(line: str) -> None:
    """Print a line without holding it back, so that a log file shows where a run is.

    Where the output is gone, or its disk is full, stderr gets it: no run ends of that.
    """
    try:
        print(line, flush=True)
    except OSError:
        with contextlib.suppress(OSError):
            to_stderr(line)


def begin(config: Config, say: Say) -> tuple[Config, Say]:
    """Set JAX up, before anything else uses it; return the settings that hold, and who speaks."""
    backend.prepare()
    if config.cache_dir:
        jax.config.update("jax_compilation_cache_dir", config.cache_dir)
    if not config.multihost:
        return config, say
    join(config.coordinator, config.num_processes, config.process_id)
    first = Config.from_json(of_first(config.to_json), source="process 0")
    # Each process has the settings that are its own; all others are process 0's.
    config = first.replace(**{name: getattr(config, name) for name in names_with("local")})
    return config, say if is_first() else lambda line: None


def join(coordinator: str, processes: int, process: int) -> None:
    """Join the run's other processes; before anything else uses JAX.

    What is not given ("", 0 or -1) is taken from the environment: JAX_COORDINATOR_ADDRESS, or what
    SLURM, Open MPI, Kubernetes or a TPU pod say. A second call changes nothing.

    Raises ConfigError if the processes cannot be told from the settings, or do not find each other.
    """
    if jax.distributed.is_initialized():
        return
    # A process that is gone is an error of the next exchange, not the end of this one.
    jax.config.update("jax_enable_recoverability", True)
    failures: list[Exception] = []

    def initialize() -> None:
        try:
            jax.distributed.initialize(
                coordinator_address=coordinator or None,
                num_processes=processes or None,
                process_id=process if process >= 0 else None,
            )
        except Exception as error:
            failures.append(error)

    # While JAX waits for the others, this thread hears of signals and of the time.
    joining = threading.Thread(target=initialize, daemon=True)
    joining.start()
    latest = time.monotonic() + JOIN_S
    while joining.is_alive() and time.monotonic() < latest:
        joining.join(0.1)
    if not joining.is_alive() and not failures:
        return
    told = one_line(failures[0]) if failures else f"not all have come within {JOIN_S} s"
    where = coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS", "")
    given = f" at {where}" if where else ""
    raise ConfigError(
        f"--multihost: cannot join the other processes{given}: {told}; give each "
        "--coordinator=HOST:PORT of process 0, --num_processes=N and its own --process_id"
    )


@contextlib.contextmanager
def claim_folder(config: Config) -> Iterator[RunFolder]:
    """Hold the folder of a run as `claimed`; of several processes the first holds and writes it.

    Raises ConfigError as that, or if --resume would change what its run was trained with.
    """
    hold = contextlib.ExitStack()

    def choose() -> str:
        folder = hold.enter_context(claimed(config))
        if config.resume:
            old = folder.config()
            if (old.seeds > 1) != (config.seeds > 1):
                holds = f"runs of {old.seeds} seeds" if old.seeds > 1 else "one run"
                raise ConfigError(f"--resume --seeds={config.seeds}: {folder.path} holds {holds}")
            if changes := settings_that_differ(old, config):
                raise ConfigError(f"--resume cannot change a run's settings: {'; '.join(changes)}")
        return str(folder.path)

    with hold:
        yield RunFolder(of_first(choose), writes=is_first())


def load_data(config: Config, say: Say) -> Splits:
    """Load the data as `load_splits`; every process needs it, and the same.

    Raises ConfigError or DataError as that, DataError if the processes see different data. If it
    fails in one, it fails in all.
    """
    if not several():
        return load_splits(config, say=say)
    told, failure = {}, None
    try:
        splits = load_splits(config, say=say)
        told["digest"] = splits.digest
    except SegjaxError as error:
        told["error"], failure = str(error), error
    heard = told_by_all(told)
    if failure is not None:
        raise failure
    for number, found in enumerate(heard):
        if "error" in found:
            raise SegjaxError(f"process {number} cannot go on: {found['error']}")
    for number, found in enumerate(heard):
        if found != heard[0]:
            raise DataError(f"process {number} has another data set than process 0")
    return splits


def is_first() -> bool:
    """Tell whether this is the process that writes, or the only one."""
    return jax.process_index() == 0


def told_by_all(said: Any) -> list[Any]:
    """Return in every process what each has to say, in their order; JSON has to hold it."""
    text = np.frombuffer(json.dumps(said).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.int32(len(text)))
    # Each size is a program to compile, so there are few.
    room = -(-int(sizes.max()) // ROOM_BYTES) * ROOM_BYTES
    heard = multihost_utils.process_allgather(np.resize(text, room))
    return [json.loads(row[:size].tobytes()) for row, size in zip(heard, sizes, strict=True)]


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
    outcome = told_by_all(outcome)[0]
    if "error" in outcome:
        raise getattr(errors, outcome["kind"])(outcome["error"])
    return outcome["value"]


def agreed_signal(caught: Sequence[str], *, due: bool) -> str | None:
    """Return the signal to stop on, if any. It is read once a step: all runs have to see the same.

    Several processes agree where a log line or a checkpoint is ``due``, as that costs an exchange.
    """
    if not several():
        return caught[0] if caught else None
    heard = [name for names in told_by_all(caught[:1]) for name in names] if due else []
    return max(heard, default=None)  # SIGTERM before SIGINT
