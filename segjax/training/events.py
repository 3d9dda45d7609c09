"""When something is due in a run: a logged mean, the end of an epoch, a checkpoint."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The steps of a run and where the loop has to look up.

    Attributes:
      steps_per_epoch, total_steps: batches of an epoch and of the run.
      log_steps: a mean loss is due every so many steps of an epoch.
      checkpoint_steps: a checkpoint is due every so many steps, beside every epoch; 0: no more.
      chunk_steps: the most steps between two looks at signals and the bar.
      warm_up_steps: in so many steps every program of a step has been compiled and run.
    """

    steps_per_epoch: int
    total_steps: int
    log_steps: int
    checkpoint_steps: int
    chunk_steps: int
    warm_up_steps: int

    def steps_to_next(self, step: int) -> int:
        """Return how many steps to run from ``step`` before the loop has to look up."""
        at = step % self.steps_per_epoch
        stops = [
            self.chunk_steps,
            self.total_steps - step,
            self.steps_per_epoch - at,
            self.log_steps - at % self.log_steps,
        ]
        if self.checkpoint_steps:
            stops.append(self.checkpoint_steps - step % self.checkpoint_steps)
        return min(stops)

    def ends_epoch(self, step: int) -> bool:
        """Tell whether an epoch, or the run, ends with this step."""
        return step % self.steps_per_epoch == 0 or step == self.total_steps

    def logs(self, step: int) -> bool:
        """Tell whether a mean loss is due, counting within the epoch as DLStudio does."""
        return self.ends_epoch(step) or _at_multiple(step % self.steps_per_epoch, self.log_steps)

    def saves(self, step: int) -> bool:
        """Tell whether a checkpoint is due."""
        return self.ends_epoch(step) or _at_multiple(step, self.checkpoint_steps)


def _at_multiple(step: int, every: int) -> bool:
    """Tell whether ``step`` is a positive multiple of ``every``; never if that is 0."""
    return every > 0 and step > 0 and step % every == 0
