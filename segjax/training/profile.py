"""A trace of a few training steps by JAX's profiler, for --profile."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from segjax.errors import Say
from segjax.training.trainer import Trainer


@contextlib.contextmanager
def traced(trainer: Trainer) -> Iterator["StepTrace"]:
    """Trace the steps that a run's --profile asks for, while the context lasts."""
    folder, step = trainer.folder, trainer.progress.step
    trace = StepTrace(
        folder.profile if folder.writes else None,
        steps=trainer.config.profile,
        after=step + trainer.schedule.warm_up_steps,
        say=trainer.print_line,
    )
    trace.step = step
    try:
        yield trace
    finally:
        trace.close()


class StepTrace:
    """Traces ``steps`` steps of a run, after those in which programs are compiled.

    The loop asks `steps_to_event`, so that no chunk of steps goes past the trace's ends, and tells
    with `reached` where it is. Without a folder (of several processes the first traces) it only
    pauses where the others do.
    """

    def __init__(self, folder: Path | None, *, steps: int, after: int, say: Say) -> None:
        """Trace the ``steps`` steps that follow step ``after``; 0 steps: nothing."""
        self.folder, self.say, self.step = folder, say, 0
        self.begin, self.end = after, after + steps
        self.state = "waiting" if steps else "off"

    def steps_to_event(self, step: int) -> int | None:
        """Return how many steps from ``step`` to where tracing starts or stops, None for never."""
        ahead = [at - step for at in (self.begin, self.end) if at > step]
        return ahead[0] if ahead and self.state != "off" else None

    def reached(self, step: int, unfinished: Any) -> None:
        """Start or stop if ``step`` is the place; the device does its ``unfinished`` work first."""
        self.step = step
        if self.state == "waiting" and step == self.begin:
            jax.block_until_ready(unfinished)
            if self.folder is not None:
                jax.profiler.start_trace(str(self.folder), create_perfetto_trace=True)
            self.state = "tracing"
        elif self.state == "tracing" and step == self.end:
            jax.block_until_ready(unfinished)
            self.stop()

    def stop(self) -> None:
        """Write the trace of the steps so far and say how to look at it."""
        self.state = "off"
        if self.folder is None:
            return
        jax.profiler.stop_trace()
        file = max(self.folder.glob("plugins/profile/*/perfetto_trace.json.gz"))
        self.say(
            f"profile of steps {self.begin + 1} to {self.step}: open {file} at "
            "https://ui.perfetto.dev, or see all of it with: pip install xprof && "
            f"xprof --logdir={self.folder}"
        )

    def close(self) -> None:
        """Stop where the run ends, or say that it was too short."""
        if self.state == "tracing" and self.step > self.begin:
            self.stop()
        elif self.state != "off":
            if self.state == "tracing" and self.folder is not None:
                jax.profiler.stop_trace()
            self.say(
                f"--profile: nothing to trace, the run ended at step {self.step} with its warm-up"
            )
