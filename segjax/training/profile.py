"""A trace of a few training steps by JAX's profiler, for --profile."""

from pathlib import Path
from typing import Any

import jax

from segjax.training import processes
from segjax.training.trainer import Say


class StepTrace:
    """Traces ``steps`` steps of a run, after those in which programs are compiled.

    The loop asks `steps_to_event`, so that no chunk of steps goes past the trace's ends, and tells
    with `reached` where it is.
    """

    def __init__(self, folder: Path, *, steps: int, after: int, say: Say) -> None:
        """Trace the ``steps`` steps that follow step ``after``; 0 steps: nothing."""
        self.folder, self.say = folder, say
        self.begin, self.end = after, after + steps
        self.state = "waiting" if steps else "off"

    def steps_to_event(self, step: int) -> int | None:
        """Return how many steps from ``step`` to where tracing starts or stops, None for never."""
        ahead = [at - step for at in (self.begin, self.end) if at > step]
        return ahead[0] if ahead and self.state != "off" else None

    def reached(self, step: int, unfinished: Any) -> None:
        """Start or stop if ``step`` is the place; the device does its ``unfinished`` work first."""
        if self.state == "waiting" and step == self.begin:
            jax.block_until_ready(unfinished)
            # Of several processes the first traces; the others only pause with it.
            if processes.is_first():
                jax.profiler.start_trace(str(self.folder), create_perfetto_trace=True)
            self.state = "tracing"
        elif self.state == "tracing" and step == self.end:
            jax.block_until_ready(unfinished)
            self.stop(step)

    def stop(self, step: int) -> None:
        """Write the trace of the steps up to ``step`` and say how to look at it."""
        self.state = "off"
        if not processes.is_first():
            return
        jax.profiler.stop_trace()
        file = max(self.folder.glob("plugins/profile/*/perfetto_trace.json.gz"))
        self.say(
            f"profile of steps {self.begin + 1} to {step}: open {file} at https://ui.perfetto.dev, "
            f"or see all of it with: pip install xprof && xprof --logdir={self.folder}"
        )

    def close(self, step: int) -> None:
        """Stop where the run ends, or say that it was too short."""
        if self.state == "tracing" and step > self.begin:
            self.stop(step)
        elif self.state != "off":
            if self.state == "tracing" and processes.is_first():
                jax.profiler.stop_trace()
            self.say(f"--profile: nothing to trace, the run ended at step {step} with its warm-up")
