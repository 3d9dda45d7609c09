"""From settings to results: the one host loop, for one run or several, and the test at the end."""

import contextlib
import dataclasses
import functools
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from segjax.config import Config, flag_fields, settings_that_differ
from segjax.data.splits import load_splits
from segjax.errors import ConfigError, TrainingError
from segjax.runs import seeds
from segjax.runs.folder import RunFolder, UnwrittenFolder, choose_folder, open_run
from segjax.training import backend, processes
from segjax.training.optim import make_optimizer
from segjax.training.profile import StepTrace
from segjax.training.results import environment, finish
from segjax.training.step import TrainState, make_steps
from segjax.training.trainer import (
    Parts,
    Say,
    Trainer,
    device_arrays,
    eval_batch_size,
    make_model,
    make_parts,
    scans,
)
from segjax.training.vmapped import Member, make_many_step, member_state, stack_states

__all__ = [
    "Result",
    "Trainer",
    "device_arrays",
    "eval_batch_size",
    "make_model",
    "print_now",
    "run",
    "run_many",
    "train_together",
]

# Settings that each process of --multihost has for itself; all others are process 0's.
OF_EACH_PROCESS = ("process_id", "dataroot", "cache_dir")
# What runs may differ in that share a data set, and a program if they train at once.
MAY_DIFFER = ("loss", "seed", "learning_rate", "run_dir", "resume", "overwrite")


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run left: its folder, whether it came to its end, and the content of results.json.

    Of several runs, ``error`` is why this one failed; the others went on.
    """

    folder: Path
    finished: bool
    results: dict[str, Any]
    error: TrainingError | None = None


def print_now(line: str) -> None:
    """Print a line without holding it back, so that a log file shows where a run is."""
    print(line, flush=True)


def run(config: Config, *, say: Say = print_now) -> Result:
    """Train, test and draw as ``config`` says, in a run folder.

    Raises ConfigError, DataError, CheckpointError or TrainingError, each with one line for the
    user. SIGINT or SIGTERM saves a checkpoint and returns with ``finished`` False.
    """
    config, say = begin(config, say)
    if config.seeds > 1:
        return run_seeds(config, say=say)
    (result,) = run_trainers(make_trainers([config], say=say, headed=False), say=say)
    if result.error is not None:
        raise result.error
    return result


def run_many(
    configs: Sequence[Config], *, at_once: bool | None = None, say: Say = print_now
) -> list[Result]:
    """Train, test and draw several runs on one data set, each in its own folder.

    Args:
      configs: may differ in loss, its parameters, seed, learning rate and folder, and in no other
        setting. Give each its --run_dir. Synthetic images are the first one's.
      at_once: train them in one program; None: where that is faster, on an accelerator.
      say: gets what is to be told, each line headed by the name of its run's folder.

    Returns:
      A result for each, in order. A run whose numbers are no longer finite has its ``error``, and
      the others go on. After SIGINT or SIGTERM those that did not finish can be resumed.

    Raises:
      ConfigError, DataError, CheckpointError: as `run`, before anything has been trained.
    """
    if configs[0].multihost:
        raise ConfigError("--multihost: run_many has no part for several processes; use run")
    if any(config.seeds > 1 for config in configs):
        raise ConfigError("--seeds: of many runs each has one; give each its --seed")
    _, say = begin(configs[0], say)
    drawn = seeds.drawn_from(configs[0])
    configs = [config.replace(synthetic_seed=drawn) for config in configs]
    return run_trainers(make_trainers(configs, say=say), at_once=at_once, say=say)


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
    config = first.replace(**{name: getattr(config, name) for name in OF_EACH_PROCESS})
    return config, say if processes.is_first() else lambda line: None


def run_seeds(config: Config, *, say: Say) -> Result:
    """Train --seeds runs inside one folder and sum their test scores up."""
    parent = claim_folder(config)
    members = seeds.member_configs(config, parent.path)
    done = processes.of_first(lambda: [seeds.is_finished(member) for member in members])
    waiting = [
        member for member, over in zip(members, done, strict=True) if not (config.resume and over)
    ]
    if over := len(members) - len(waiting):
        say(f"{over} of {len(members)} seeds are finished")
    trainers = make_trainers(waiting, say=say) if waiting else []
    processes.of_first(lambda: open_run(parent, config))
    at_once = {"auto": None, "on": True, "off": False}[config.seeds_at_once]
    ended = run_trainers(trainers, at_once=at_once, resume=parent.path, say=say)
    failed = {
        trainer.config.seed: result.error
        for trainer, result in zip(trainers, ended, strict=True)
        if result.error is not None
    }
    if not all(result.finished or result.error for result in ended):
        return Result(parent.path, finished=False, results={})
    results = {
        "config": config.to_dict(),
        **processes.of_first(
            lambda: seeds.summarise([member for member in members if member.seed not in failed])
        ),
        "failed": {str(seed): str(error) for seed, error in failed.items()},
        "environment": environment(),
    }
    parent.write_results(results)
    say(seeds.summary_line(results))
    if failed:
        seed, error = next(iter(failed.items()))
        raise TrainingError(f"{len(failed)} of {len(members)} seeds failed; seed {seed}: {error}")
    say(f"done: {parent.path / 'results.json'}; see them with python -m segjax.show {parent.path}")
    return Result(parent.path, finished=True, results=results)


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


def make_trainers(configs: Sequence[Config], *, say: Say, headed: bool = True) -> list[Trainer]:
    """Choose the folders, load the data and build the parts of runs; writes nothing.

    What a run says is ``headed`` by its folder's name.
    """
    first = configs[0]
    for name in (field.name for field in flag_fields()):
        if name not in MAY_DIFFER and len({str(getattr(config, name)) for config in configs}) > 1:
            raise ConfigError(f"runs that are trained together cannot differ in --{name}")
    folders = [claim_folder(config) for config in configs]
    if len({folder.path.resolve() for folder in folders}) < len(folders):
        raise ConfigError("runs that are trained together need a --run_dir each")
    splits = processes.in_all(lambda: load_splits(first, say=say))
    if processes.several():
        processes.check_same(splits.digest(), "data set")
    shared: dict[str, Parts] = {}
    trainers = []
    for config, folder in zip(configs, folders, strict=True):
        key = str((config.loss, sorted(config.loss_params.items()), config.learning_rate))
        shared[key] = shared.get(key) or make_parts(config, splits)
        told = _headed(folder.path.name, say) if headed else say
        trainers.append(Trainer(config, splits, folder, told, parts=shared[key]))
    return trainers


def _headed(name: str, say: Say) -> Say:
    return lambda line: say(f"{name}: {line}")


def run_trainers(
    trainers: Sequence[Trainer],
    *,
    at_once: bool | None = None,
    resume: Path | None = None,
    say: Say,
) -> list[Result]:
    """Train and test runs, one after another or at once; ``resume`` is what goes on after a signal.

    A TrainingError ends its run and is in its result; the other runs go on.
    """
    if at_once is None:
        at_once = scans() and not processes.several()
    results: dict[Path, Result] = {}
    for group, first_states in groups_of(trainers, at_once=at_once):
        states, stopped = train_together(group, first_states, resume=resume, say=say)
        if stopped:
            break
        for trainer, state in zip(group, states, strict=True):
            if trainer.error is None:
                results[trainer.folder.path] = test_run(trainer, state, runs_at_once=len(group))
    return [
        results.get(
            trainer.folder.path,
            Result(trainer.folder.path, finished=False, results={}, error=trainer.error),
        )
        for trainer in trainers
    ]


def groups_of(
    trainers: Sequence[Trainer], *, at_once: bool
) -> Iterator[tuple[list[Trainer], list[TrainState]]]:
    """Yield the runs to train next, with their first states; their folders are made.

    One by one, or at once those that stand at the same step. Resumed runs need not: a crash may
    come between their checkpoints.
    """

    def begun(trainer: Trainer) -> TrainState:
        processes.of_first(lambda: open_run(trainer.folder, trainer.config))
        return trainer.first_state()[0]

    if not at_once:
        for trainer in trainers:
            yield [trainer], [begun(trainer)]
        return
    groups: dict[int, tuple[list[Trainer], list[TrainState]]] = {}
    for trainer in trainers:
        state = begun(trainer)
        group = groups.setdefault(trainer.progress.step, ([], []))
        group[0].append(trainer)
        group[1].append(state)
    yield from groups.values()


def train_together(
    trainers: Sequence[Trainer],
    states: Sequence[TrainState],
    *,
    resume: Path | None = None,
    say: Say,
) -> tuple[list[TrainState], bool]:
    """Move runs that stand at the same step to their ends, several as one program.

    Returns their states and False, or nothing and True if a signal stopped them early, saved.
    The states given are donated.
    """
    lead, count = trainers[0], len(trainers)
    splits, step = lead.splits, lead.progress.step
    devices = lead.parts.devices
    state = devices.place(states[0] if count == 1 else stack_states(states))
    steps = lead.steps if count == 1 else many_steps(trainers)
    lead.announce(states[0], runs_at_once=count)
    for trainer in trainers:
        trainer.folder.rewind_log(step)
    started = time.perf_counter()
    before = [trainer.progress.seconds for trainer in trainers]
    arrays = device_arrays(splits.train, devices)
    val_arrays = device_arrays(splits.val, devices) if splits.val else None
    order, order_epoch = np.empty(0), -1
    unread: list[jax.Array] = []
    in_flight: list[jax.Array] = []
    trace = StepTrace(
        lead.folder.profile,
        steps=lead.config.profile,
        after=step + lead.warm_up_steps(),
        say=lead.print_line,
    )

    def state_of(index: int) -> TrainState:
        return state if count == 1 else member_state(state, index)

    with (
        caught_signals() as caught,
        lead.bar() as bar,
        contextlib.ExitStack() as closing,
    ):
        for trainer in trainers:
            closing.enter_context(trainer.open_board())
        closing.callback(lambda: trace.close(step))
        while any(trainer.goes_on() for trainer in trainers):
            epoch, at = divmod(step, lead.steps_per_epoch)
            if epoch != order_epoch:
                orders = [trainer.order_of(epoch) for trainer in trainers]
                order = orders[0] if count == 1 else np.stack(orders, axis=1)
                order_epoch = epoch
            chunk = lead.steps_to_next_event(step)
            rows = order[at : at + min(chunk, trace.steps_to_event(step) or chunk)]
            state, losses = steps(state, arrays, rows)
            unread.extend(losses)
            step += len(rows)
            # Waiting for the chunk before this one keeps the device busy and the bar honest.
            jax.block_until_ready(in_flight)
            in_flight = losses
            bar.update(len(rows))
            trace.reached(step, in_flight)
            due = lead.logs(step) or lead.saves(step)
            signalled = agreed_signal(caught, due=due)
            if not (due or signalled):
                continue
            table = np.concatenate(jax.device_get(unread)).reshape(-1, count)
            unread = []
            elapsed = time.perf_counter() - started
            for index, trainer in enumerate(trainers):
                if not trainer.goes_on():
                    continue  # it stopped early or failed: the program carries it along
                try:
                    trainer.take_stock(
                        functools.partial(state_of, index),
                        table[:, index].tolist(),
                        seconds=before[index] + elapsed,
                        val_arrays=val_arrays,
                        stopping=signalled is not None,
                    )
                except TrainingError as error:
                    trainer.error = error
                    if count > 1:
                        trainer.print_line(str(error))
            if signalled:
                bar.close()
                say(
                    f"stopped by {signalled} at step {step}, saved; go on with "
                    f"--resume --run_dir={resume or lead.folder.path}"
                )
                return [], True
    return [state_of(index) for index in range(count)], False


def many_steps(trainers: Sequence[Trainer]) -> Any:
    """Return the jitted steps of several runs in one program; see `segjax.training.vmapped`."""
    lead = trainers[0]

    def optimizer_of(rate: Any) -> Any:
        return make_optimizer(lead.config, lead.total_steps, learning_rate=rate)

    step = make_many_step(
        lead.model,
        optimizer_of,
        [Member(trainer.objective, trainer.config.learning_rate) for trainer in trainers],
        augment=lead.parts.augment,
        ema_decay=lead.config.ema_decay,
    )
    return make_steps(step, scan=scans(), devices=lead.parts.devices)


def test_run(trainer: Trainer, state: TrainState, *, runs_at_once: int) -> Result:
    """Test a trained run, write its results and its figures."""
    if trainer.splits.val is not None:
        # Chosen on validation images, so the test images stay unseen until here.
        state, _, best_step = trainer.restore(state, which="best")
        trainer.say(f"testing the best checkpoint by validation mIoU, step {best_step}")
    results = finish(
        trainer.config,
        trainer.folder,
        trainer.model,
        trainer.objective,
        state,
        trainer.splits,
        evaluate=trainer.evaluate,
        arrays=lambda dataset: device_arrays(dataset, trainer.parts.devices),
        steps=trainer.progress.step,
        train_seconds=trainer.progress.seconds,
        runs_at_once=runs_at_once,
        devices_used=trainer.parts.devices.count,
        say=trainer.say,
    )
    return Result(trainer.folder.path, finished=True, results=results)


def agreed_signal(caught: Sequence[str], *, due: bool) -> str | None:
    """Return the signal to stop on, if any. It is read once a step: all runs have to see the same.

    Several processes agree where a log line or a checkpoint is due, as that costs an exchange.
    """
    if not processes.several():
        return caught[0] if caught else None
    if not due:
        return None
    number = processes.largest(signal.Signals[caught[0]].value if caught else 0)
    return signal.Signals(number).name if number else None


@contextlib.contextmanager
def caught_signals() -> Iterator[list[str]]:
    """Collect the names of SIGINT and SIGTERM instead of dying; a second one does kill."""
    caught: list[str] = []
    previous: dict[int, Any] = {}

    def note(number: int, _frame: Any) -> None:
        caught.append(signal.Signals(number).name)
        for known, handler in previous.items():
            signal.signal(known, handler)

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, note)
    except ValueError:  # not the main thread: signals are the caller's business
        previous.clear()
    try:
        yield caught
    finally:
        for known, handler in previous.items():
            signal.signal(known, handler)
