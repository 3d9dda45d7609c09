"""One run's side of training: where it stands, its log, validation scores and checkpoints.

The loop that moves runs along is in `segjax.training.loop`.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from segjax.config import Config
from segjax.data import epoch_order
from segjax.data.splits import Splits
from segjax.errors import CheckpointError, Say, TrainingError
from segjax.networks.build import parameters_dlstudio_counts
from segjax.networks.munet import count_parameters
from segjax.runs import storage
from segjax.runs.checkpoints import Checkpoints, Restored, Which
from segjax.runs.claim import open_run
from segjax.runs.folder import CONFIG_FILE, RESULTS_FILE, RunFolder
from segjax.runs.identity import Identity
from segjax.runs.logs import TensorBoard, check_tensorboard
from segjax.settings import shows_progress
from segjax.training.augment import Batch
from segjax.training.devices import own, share
from segjax.training.evaluate import scores_of
from segjax.training.processes import of_first
from segjax.training.profile import StepTrace
from segjax.training.program import Program
from segjax.training.step import TrainState


@dataclasses.dataclass
class Progress:
    """Where a run is, apart from its arrays. Saved with each checkpoint."""

    step: int = 0  # steps taken
    seconds: float = 0.0  # of training, in all sessions of the run
    losses: list[float] = dataclasses.field(default_factory=list)  # since the last logged mean
    best_score: float | None = None  # highest validation mIoU so far
    epochs_since_best: int = 0  # epochs that ended without a new best


class Trainer:
    """A run: its settings, data and program, where it stands, and what it writes."""

    def __init__(
        self, config: Config, splits: Splits, program: Program, folder: RunFolder, *, say: Say
    ) -> None:
        self.config, self.splits, self.program = config, splits, program
        self.folder, self.schedule = folder, program.schedule
        self.say: Say = tqdm.external_write_mode()(say)  # above the progress bar
        if config.tensorboard:
            check_tensorboard()
        self.board: TensorBoard | None = None
        # Of several processes the first reads and writes them.
        self.checkpoints = Checkpoints(folder.checkpoints, keep=config.keep_checkpoints, notify=say)
        self.identity: Identity | None = None  # of the process that writes
        self.progress = Progress()
        self.records = 0  # in the log when the checkpoint was saved that the run goes on from
        self.error: TrainingError | None = None

    def first_state(self) -> TrainState:
        """Make the folder and return the initial state, or with --resume the newest good one.

        Raises ConfigError if the folder cannot be written, CheckpointError if no checkpoint of it
        can be used.
        """
        of_first(self._open)
        state = self.program.initial_state(self.config, self.splits.train.images.shape[1:])
        if not self.config.resume:
            return state
        if not of_first(self._has_checkpoints):
            self.say("no checkpoint was saved before the run stopped; starting at step 0")
            return state
        state, meta, step = self.restored(state)
        if meta.get("run") is None:
            self.say(f"the checkpoint of step {step} does not say which run it belongs to")
        self.say(f"resuming at step {step} of {self.schedule.total_steps}")
        try:
            self.progress, self.records = Progress(**meta["progress"]), int(meta.get("records", 0))
        except (KeyError, TypeError, ValueError):
            told = f"the checkpoint of step {step} does not say how far the run was"
            raise CheckpointError(f"{self.folder.checkpoints}: {told}") from None
        return state

    def _open(self) -> None:
        self.identity = open_run(self.folder, self.config, data=self.splits.digest)

    def _has_checkpoints(self) -> bool:
        """Tell whether there are any; CheckpointError if the log says that some are gone."""
        if storage.step_folders(self.folder.checkpoints):
            return True
        logged = max((record.get("step", 0) for record in self.folder.records()), default=0)
        ended = (self.folder.path / RESULTS_FILE).exists()
        if ended or any(self.schedule.saves(step) for step in range(1, logged)):
            raise CheckpointError(
                f"{self.folder.checkpoints}: holds no checkpoint, though the log reaches step "
                f"{logged}; put them back, or start anew with --overwrite"
            )
        return False

    def restored(self, state: TrainState, *, which: Which = "newest") -> Restored:
        """Restore as `Checkpoints.restore`; of several processes the first reads for all."""
        found = own(state)

        def read() -> tuple[dict[str, Any], int]:
            nonlocal found
            objection = self.identity.difference if self.identity else lambda meta: None
            found, meta, step = self.checkpoints.restore(found, which=which, objection=objection)
            return meta, step

        meta, step = of_first(read)
        return Restored(self.program.devices.place(share(found)), meta, step)

    def announce(self, state: TrainState, *, runs_at_once: int = 1) -> None:
        """Say what is going to run."""
        config, parameters = self.config, count_parameters(state.params)
        self.say(
            f"{self.splits.train.name}: {len(self.splits.train)} training images, "
            f"{len(self.splits.val or ())} for validation, {len(self.splits.test)} for the test; "
            f"{self.schedule.total_steps} steps of {config.batch_size} on {self.devices_in_words()}"
            + (f", {runs_at_once} runs in one program" if runs_at_once > 1 else "")
        )
        line = f"{config.network_name()}: {parameters:,} parameters"
        counted = parameters_dlstudio_counts(config, self.program.objective.num_outputs)
        if counted is not None:
            line += (
                f". DLStudio counts {counted:,}: it also builds layers that its forward pass never "
                "calls" + ("." if config.head == "dlstudio" else ", and has another output layer.")
            )
        self.say(line)
        if config.head == "dlstudio":
            self.say(
                "head=dlstudio computes one output pixel in four, the rest is a constant per class "
                "(as in the original); --head=dense computes all of them"
            )
        if self.program.loss_params != dict(config.loss_params):
            weights = self.program.loss_params["loss_class_weights"]
            self.say(f"class weights of the training masks: {weights}")
        self.say(f"results go to {self.folder.path}")

    def devices_in_words(self) -> str:
        """Return what runs it, and what stands by because it would not share a batch evenly."""
        device, used = jax.devices()[0], self.program.devices.count
        words = f"{used} x " if used > 1 else ""
        words += f"{device.device_kind} ({device.platform})"
        if jax.process_count() > 1:
            words += f" of {jax.process_count()} processes"
        if device.platform != "cpu" and used < jax.device_count() and not self.config.devices:
            words += f", {jax.device_count() - used} more cannot share such a batch evenly"
        return words

    def order_of(self, epoch: int) -> np.ndarray:
        """Return the image indices of an epoch's steps, int32 [steps_per_epoch, batch_size]."""
        order = epoch_order(len(self.splits.train), seed=self.config.seed, epoch=epoch)
        steps, batch_size = self.schedule.steps_per_epoch, self.config.batch_size
        return order[: steps * batch_size].reshape(steps, batch_size)

    def goes_on(self) -> bool:
        """Tell whether there is something left to train."""
        patience = self.config.early_stop_epochs or math.inf
        return (
            self.progress.step < self.schedule.total_steps
            and self.progress.epochs_since_best < patience
            and self.error is None
        )

    def log_and_save(
        self,
        state: Callable[[], TrainState],
        losses: Sequence[float],
        *,
        seconds: float,
        val_arrays: Batch | None,
        stopping: bool,
    ) -> None:
        """Log, validate and save what is due after the steps that had these ``losses``.

        Raises TrainingError if a loss or a weight is not finite.
        """
        progress = self.progress
        progress.losses += losses
        progress.step += len(losses)
        for step, value in enumerate(losses, progress.step - len(losses) + 1):
            if not math.isfinite(value):
                self.stop_on(f"the loss is {value} at step {step}")
        progress.seconds += seconds
        if self.schedule.logs(progress.step):
            self.log_losses()
        score = None
        if self.schedule.ends_epoch(progress.step) and val_arrays is not None:
            score = self.validate(state(), val_arrays)
        if stopping or self.schedule.saves(progress.step):
            self.save(state(), score)

    def stop_on(self, trouble: str) -> None:
        """Raise TrainingError about numbers that are not finite, naming what is left to use.

        A checkpoint is good if it was saved before the loss passed ten times its first value.
        """
        saved, logged = of_first(self.checkpoints.steps), of_first(self.folder.records)
        means = [row for row in logged if row["kind"] == "train"]
        losses = [(row["step"] - row["mean_over"], row["loss"]) for row in means]
        losses += enumerate(self.progress.losses, self.progress.step - len(self.progress.losses))
        limit = 10 * abs(losses[0][1])
        ruined = min((step for step, loss in losses if not loss <= limit), default=math.inf)
        good = [step for step in saved if step <= ruined]
        left = f"the last good checkpoint is step {good[-1]}" if good else "nothing was saved yet"
        if saved and not good:
            left = f"no checkpoint is good: the loss passed ten times its first value at {ruined}"
        raise TrainingError(
            f"{trouble}; {left} in {self.folder.path}; try a smaller --learning_rate or --clip_norm"
        )

    def log_losses(self) -> None:
        """Record and print the mean loss since the last record."""
        config, losses, step = self.config, self.progress.losses, self.progress.step
        if not losses:
            return
        epoch, at = (1 + number for number in divmod(step - 1, self.schedule.steps_per_epoch))
        mean = float(np.mean(np.asarray(losses, np.float64)))
        self.record("train", epoch=epoch, iter=at, step=step, loss=mean, mean_over=len(losses))
        self.folder.write_performance_numbers(config.epochs, config.log_steps)
        self.say(
            f"[epoch={epoch}/{config.epochs}, iter={at:4d}  elapsed_time="
            f"{self.progress.seconds:3.0f} secs]   {config.loss.upper()} loss: {mean:.3f}"
        )
        self.progress.losses = []

    def open_logs(self) -> contextlib.AbstractContextManager[Any]:
        """Write the log, and TensorBoard's curves if asked to, anew while the context lasts."""
        self.folder.rewind_log(self.progress.step, expected=self.records, say=self.say)
        if not (self.config.tensorboard and self.folder.writes):
            return contextlib.nullcontext()
        self.board = TensorBoard(self.folder.tensorboard, step=self.progress.step)
        return contextlib.closing(self.board)

    def trace(self) -> contextlib.closing[StepTrace]:
        """Trace the steps that --profile asks for from here on while the context lasts."""
        folder = self.folder.profile if self.folder.writes else None
        steps, step, say = self.config.profile, self.progress.step, self.say
        after = step + self.schedule.warm_up_steps
        return contextlib.closing(StepTrace(folder, steps=steps, after=after, step=step, say=say))

    def record(self, kind: str, **values: float) -> None:
        """Write one record to the log and its companions."""
        record = {"kind": kind, **values, "seconds": round(self.progress.seconds, 3)}
        self.folder.log(record)
        if self.board is not None:
            self.board.add(record)

    def validate(self, state: TrainState, arrays: Batch) -> float:
        """Measure the validation images and return their mIoU."""
        progress, step = self.progress, self.progress.step
        loss, counts = self.program.evaluate(state.variables(), arrays)
        miou = scores_of(counts["half"])["mean"]["iou"]
        is_best = progress.best_score is None or miou > progress.best_score
        progress.best_score = miou if is_best else progress.best_score
        progress.epochs_since_best = 0 if is_best else progress.epochs_since_best + 1
        epoch = -(-step // self.schedule.steps_per_epoch)
        self.record("validation", epoch=epoch, step=step, val_loss=loss, val_miou=miou)
        self.say(
            f"[epoch={epoch}/{self.config.epochs}]   validation loss: {loss:.4g}   "
            f"mIoU: {miou:.4f}{'  (best so far)' if is_best else ''}"
        )
        return miou

    def save(self, state: TrainState, score: float | None) -> None:
        """Save a checkpoint, unless its weights are not finite."""
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(own(state.params))):
            self.stop_on(f"the weights are not finite after step {self.progress.step}")
        meta = {
            "progress": dataclasses.asdict(self.progress),
            **self.config.telling(),
            "run": self.identity.to_dict() if self.identity else None,
            "records": self.folder.sync_log(),
            # What prediction has to know without the data.
            "label_map": dict(self.splits.train.label_map),
            "image_size": list(self.splits.train.images.shape[1:3]),
        }
        step, own_state = self.progress.step, own(state)

        def save() -> str:
            if not (self.folder.path / CONFIG_FILE).exists():
                raise TrainingError(
                    f"{self.folder.path}: was moved or deleted while it was trained"
                )
            return str(self.checkpoints.save(step, own_state, meta, best_score=score))

        of_first(save)

    def bar(self) -> Any:
        """Return a progress bar over the run's steps, with the time left."""
        return tqdm(
            total=self.schedule.total_steps,
            initial=self.progress.step,
            disable=not (shows_progress(self.config.progress) and self.folder.writes),
            unit="step",
            desc="training",
            dynamic_ncols=True,
            mininterval=0.5,
        )
