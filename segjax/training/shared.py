"""What the processes of a run have in common: its settings, folder, data and checkpoints.

With one process, the usual case, each is what it says and nothing is exchanged.
"""

from typing import Any

import jax

from segjax.config import Config, names_with, settings_that_differ
from segjax.data.splits import Splits, load_splits
from segjax.errors import ConfigError, Say
from segjax.runs.checkpoints import Checkpoints, Restored, Which
from segjax.runs.folder import RunFolder, UnwrittenFolder, choose_folder, open_run
from segjax.training import backend, processes
from segjax.training.devices import Devices
from segjax.training.step import TrainState


def print_now(line: str) -> None:
    """Print a line without holding it back, so that a log file shows where a run is."""
    print(line, flush=True)


def begin(config: Config, say: Say) -> tuple[Config, Say]:
    """Set JAX up, before anything else uses it; return the settings that hold, and who speaks."""
    backend.prepare()
    if config.cache_dir:
        jax.config.update("jax_compilation_cache_dir", config.cache_dir)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    if not config.multihost:
        return config, say
    processes.join(
        coordinator=config.coordinator, processes=config.num_processes, process=config.process_id
    )
    first = Config.from_json(processes.of_first(config.to_json), source="process 0")
    # Each process has the settings that are its own; all others are process 0's.
    config = first.replace(**{name: getattr(config, name) for name in names_with("local")})
    return config, say if processes.is_first() else lambda line: None


def claim_folder(config: Config) -> RunFolder:
    """Choose the folder of a run as `choose_folder`; of several processes the first writes it.

    Raises ConfigError as that, or if --resume would change what its run was trained with.
    """

    def choose() -> str:
        folder = choose_folder(config)
        if config.resume:
            check_resumed(folder, config)
        return str(folder.path)

    path = processes.of_first(choose)
    return RunFolder(path) if processes.is_first() else UnwrittenFolder(path)


def check_resumed(folder: RunFolder, config: Config) -> None:
    """Raise ConfigError if ``config`` would change what the folder's run was trained with."""
    old = folder.config()
    if (old.seeds > 1) != (config.seeds > 1):
        holds = f"runs of {old.seeds} seeds" if old.seeds > 1 else "one run"
        raise ConfigError(f"--resume --seeds={config.seeds}: {folder.path} holds {holds}")
    if changes := settings_that_differ(old, config):
        raise ConfigError(f"--resume cannot change a run's settings: {'; '.join(changes)}")


def make_folder(folder: RunFolder, config: Config) -> None:
    """Create the folder and write the settings as `open_run`; what that raises, all raise."""
    processes.of_first(lambda: open_run(folder, config))


def load_data(config: Config, say: Say) -> Splits:
    """Load the data as `load_splits`; every process needs it, and the same.

    Raises ConfigError or DataError as that, DataError if the processes see different data.
    """
    splits = processes.in_all(lambda: load_splits(config, say=say))
    if processes.several():
        processes.check_same(splits.digest(), "data set")
    return splits


class SharedCheckpoints:
    """A run's `Checkpoints`, which process 0 reads and writes for all."""

    def __init__(self, checkpoints: Checkpoints, devices: Devices) -> None:
        self.checkpoints, self.devices = checkpoints, devices

    def exist(self) -> bool:
        """Tell whether anything was saved, whole or damaged."""
        return processes.of_first(lambda: any(self.checkpoints.folder.glob("step_*")))

    def steps(self) -> list[int]:
        """Return the steps that are saved, in order."""
        return processes.of_first(self.checkpoints.steps)

    def save(
        self, step: int, state: TrainState, meta: dict[str, Any], *, best_score: float | None
    ) -> None:
        """Save a checkpoint as `Checkpoints.save`."""
        own = processes.own(state)

        def write() -> None:
            self.checkpoints.save(step, own, meta, best_score=best_score)

        processes.of_first(write)

    def restore(self, state: TrainState, *, which: Which = "newest") -> Restored:
        """Restore a checkpoint onto the devices; ``state`` is the template.

        Raises CheckpointError as `Checkpoints.restore`.
        """
        state = processes.own(state)

        def read() -> tuple[dict[str, Any], int]:
            nonlocal state
            state, meta, step = self.checkpoints.restore(state, which=which)
            return meta, step

        meta, step = processes.of_first(read)
        return Restored(self.devices.place(processes.share(state)), meta, step)
