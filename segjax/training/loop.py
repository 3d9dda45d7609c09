"""The host loop: runs that stand at the same step, moved to their ends; several are one program."""

import contextlib
import functools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import numpy as np

from segjax.errors import Say, TrainingError
from segjax.runs.stopping import caught_signals
from segjax.training import backend
from segjax.training.processes import agreed_signal
from segjax.training.profile import StepTrace
from segjax.training.program import make_joint_steps
from segjax.training.step import TrainState
from segjax.training.trainer import Trainer
from segjax.training.vmapped import member_state, stack_states


def train(
    trainers: Sequence[Trainer],
    states: Sequence[TrainState],
    *,
    resume: Path | None = None,
    say: Say,
) -> list[TrainState] | None:
    """Move runs that stand at the same step to their ends, several as one program.

    The states given are donated. ``resume`` is the folder that goes on after a signal, the run's
    own by default. Returns the trained states, or None if a signal stopped the runs early, saved.
    A TrainingError of one run by itself is raised; of several, it ends its run alone.
    """
    backend.keep_memory()  # the data is loaded by now
    lead = trainers[0]
    lead.announce(states[0], runs_at_once=len(trainers))
    group = Group(trainers, states)
    logs = contextlib.ExitStack()
    with caught_signals() as caught, lead.bar() as bar, logs, lead.trace() as trace:
        for trainer in trainers:
            logs.enter_context(trainer.open_logs())
        for rows in group.batches(trace):
            group.take_steps(rows)
            bar.update(len(rows))
            trace.reached(group.step, group.in_flight)
            due = lead.schedule.logs(group.step) or lead.schedule.saves(group.step)
            signalled = agreed_signal(caught, due=due)
            if due or signalled:
                group.log_and_save(stopping=signalled is not None)
            if signalled:
                bar.close()
                say(
                    f"stopped by {signalled} at step {group.step}, saved; go on with "
                    f"--resume --run_dir={resume or lead.folder.path}"
                )
                return None
    return [group.state_of(index) for index in range(len(trainers))]


class Group:
    """Runs that go in step: their joint state, and what they have not read of their losses."""

    def __init__(self, trainers: Sequence[Trainer], states: Sequence[TrainState]) -> None:
        self.trainers, self.alone = trainers, len(trainers) == 1
        lead = trainers[0]
        program, splits = lead.program, lead.splits
        self.state = program.devices.place(states[0] if self.alone else stack_states(states))
        self.steps = program.steps
        if not self.alone:
            self.steps = make_joint_steps([(one.program, one.config) for one in trainers])
        self.started = time.perf_counter()
        self.arrays = program.place(splits.train)
        self.val_arrays = program.place(splits.val) if splits.val else None
        self.step = lead.progress.step
        self.unread: list[jax.Array] = []  # losses
        self.in_flight: list[jax.Array] = []  # the newest, which the device may be working on

    def batches(self, trace: StepTrace) -> Iterator[np.ndarray]:
        """Yield the image indices of the next steps, [K, B] or [K, R, B], up to what is due."""
        schedule, order, order_epoch = self.trainers[0].schedule, np.empty(0), -1
        while any(trainer.goes_on() for trainer in self.trainers):
            epoch, at = divmod(self.step, schedule.steps_per_epoch)
            if epoch != order_epoch:
                orders = [trainer.order_of(epoch) for trainer in self.trainers]
                order, order_epoch = orders[0] if self.alone else np.stack(orders, axis=1), epoch
            chunk = schedule.steps_to_next(self.step)
            yield order[at : at + min(chunk, trace.steps_to_event(self.step) or chunk)]

    def take_steps(self, rows: np.ndarray) -> None:
        """Take a step for each of the ``rows``; returns while the device is still at them."""
        self.state, losses = self.steps(self.state, self.arrays, rows)
        self.unread.extend(losses)
        self.step += len(rows)
        # Waiting for the steps before these keeps the device busy and the bar honest.
        jax.block_until_ready(self.in_flight)
        self.in_flight = losses

    def log_and_save(self, *, stopping: bool) -> None:
        """Have each run do what is due after the steps whose losses it has not read yet."""
        losses = np.concatenate(jax.device_get(self.unread)).reshape(-1, len(self.trainers))
        self.unread = []
        now = time.perf_counter()
        seconds, self.started = now - self.started, now
        for index, trainer in enumerate(self.trainers):
            if not trainer.goes_on():
                continue  # it stopped early or failed: the program carries it along
            try:
                trainer.log_and_save(
                    functools.partial(self.state_of, index),
                    losses[:, index].tolist(),
                    seconds=seconds,
                    val_arrays=self.val_arrays,
                    stopping=stopping,
                )
            except TrainingError as error:
                if self.alone:
                    raise
                trainer.error = error
                trainer.say(str(error))

    def state_of(self, index: int) -> TrainState:
        """Return the state of one of the runs."""
        return self.state if self.alone else member_state(self.state, index)
