"""A trace of a few training steps by JAX's profiler, for --profile."""

from pathlib import Path
from typing import Any

import jax

from segjax.errors import Say


class StepTrace:
    """Traces some steps of a run, after those in which programs are compiled."""

    def __init__(
        self, folder: Path | None, *, steps: int, after: int, step: int = 0, say: Say
    ) -> None:
        """From ``step`` on, wait to trace the ``steps`` that follow step ``after``; 0: nothing.

        Without a folder (of several processes the first traces) it only pauses where others do.
        """
        self.folder, self.step, self.say = folder, step, say
        self.begin = after
        self.events = (after, after + steps) if steps else ()

    def steps_to_event(self, step: int) -> int | None:
        """Return how many steps from ``step`` to where tracing starts or stops, None for never."""
        return next((at - step for at in self.events if at > step), None)

    def reached(self, step: int, unfinished: Any) -> None:
        """Start or stop if ``step`` is the place; the device does its ``unfinished`` work first."""
        self.step = step
        if step not in self.events:
            return
        jax.block_until_ready(unfinished)
        if step != self.begin:
            self.close()
        elif self.folder is not None:
            jax.profiler.start_trace(str(self.folder), create_perfetto_trace=True)

    def close(self) -> None:
        """Write the trace of the steps so far and say how to look at it, or that there is none."""
        if not self.events:
            return
        self.events = ()
        if self.step >= self.begin and self.folder is not None:
            jax.profiler.stop_trace()
        if self.step <= self.begin:
            self.say(
                f"--profile: nothing to trace, the run ended at step {self.step} with its warm-up"
            )
        elif self.folder is not None:
            file = max(self.folder.glob("plugins/profile/*/perfetto_trace.json.gz"))
            self.say(
                f"profile of steps {self.begin + 1} to {self.step}: open {file} at "
                "https://ui.perfetto.dev, or see all of it with: pip install xprof && "
                f"xprof --logdir={self.folder}"
            )
