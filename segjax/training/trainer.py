"""One run's side of training: its parts, and its own log, validation scores and checkpoints.

The loop that moves runs along is in `segjax.training.run`. Runs that differ in nothing but the
seed share their parts, so that each program is compiled once.
"""

import contextlib
import dataclasses
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from segjax.config import Config
from segjax.data import Dataset, epoch_order
from segjax.data.splits import Splits
from segjax.errors import ConfigError, TrainingError
from segjax.loss_table import Value, spec
from segjax.networks.build import Network, make_network, parameters_dlstudio_counts
from segjax.networks.munet import count_parameters
from segjax.runs.checkpoints import Checkpoints, Restored, Which
from segjax.runs.folder import RunFolder
from segjax.runs.logs import TensorBoard, check_tensorboard
from segjax.training import processes
from segjax.training.augment import make_augment
from segjax.training.class_weights import resolve_class_weights
from segjax.training.devices import Devices, choose_devices
from segjax.training.evaluate import Evaluation, make_evaluate
from segjax.training.objective import Objective, make_objective
from segjax.training.optim import make_optimizer
from segjax.training.results import scores_of
from segjax.training.step import (
    SCAN_STEPS,
    Augment,
    Batch,
    TrainState,
    init_state,
    make_steps,
    make_train_step,
)

CPU_CHUNK_STEPS = 5  # steps between looks at signals and the bar; elsewhere one compiled scan
EVAL_BATCH = 50

Say = Callable[[str], None]


@dataclasses.dataclass
class Progress:
    """Where a run is, apart from its arrays. Saved with each checkpoint.

    Attributes:
      step: steps taken.
      seconds: time spent training, in all sessions of the run.
      losses: losses of the steps since the last logged mean.
      best_score: highest validation mIoU so far, or None.
      epochs_since_best: epochs that ended without a new best.
    """

    step: int = 0
    seconds: float = 0.0
    losses: list[float] = dataclasses.field(default_factory=list)
    best_score: float | None = None
    epochs_since_best: int = 0


@dataclasses.dataclass(frozen=True)
class Parts:
    """What runs share whose settings differ in no more than seed and folder.

    Attributes:
      loss_params: the loss's settings, with class weights taken from the data.
      objective, model, optimizer, augment: what the settings describe.
      steps: the jitted steps of a run by itself.
      evaluate: the jitted pass over a data set.
      steps_per_epoch, total_steps: batches of an epoch and of the run.
      devices: what shares a batch.
    """

    loss_params: Mapping[str, Value]
    objective: Objective
    model: Network
    optimizer: Any
    augment: Augment | None
    steps: Callable[[TrainState, Batch, Any], tuple[TrainState, list[jax.Array]]]
    evaluate: Callable[[Any, Batch], Evaluation]
    steps_per_epoch: int
    total_steps: int
    devices: Devices


def make_parts(config: Config, splits: Splits) -> Parts:
    """Build what the settings describe.

    Raises ConfigError if the data has not one batch or the devices cannot share it.
    """
    devices = choose_devices(config.devices, config.batch_size)
    loss_params = resolve_class_weights(
        config.loss_params,
        splits.train.masks,
        reads=spec(config.loss).reads,
        ignore=splits.train.ignore,
    )
    objective = make_objective(
        config.loss,
        class_values=splits.train.class_values,
        targets=config.targets,
        parameters=loss_params,
    )
    model = make_model(config, objective)
    steps_per_epoch = len(splits.train) // config.batch_size
    if not steps_per_epoch:
        raise ConfigError(
            f"--batch_size={config.batch_size}: more than the {len(splits.train)} training images"
        )
    total_steps = config.epochs * steps_per_epoch
    if config.max_steps:
        total_steps = min(total_steps, config.max_steps)
    optimizer = make_optimizer(config, total_steps)
    augment = make_augment(
        config.augment,
        interpolation=config.augment_interpolation,
        outside=config.augment_outside,
    )
    train_step = make_train_step(
        model, optimizer, objective, augment=augment, ema_decay=config.ema_decay
    )
    return Parts(
        loss_params=loss_params,
        objective=objective,
        model=model,
        optimizer=optimizer,
        augment=augment,
        steps=make_steps(train_step, scan=scans(), devices=devices),
        evaluate=make_evaluate(
            model,
            objective,
            stats=config.eval_stats,
            batch_size=eval_batch_size(config),
            devices=devices,
        ),
        steps_per_epoch=steps_per_epoch,
        total_steps=total_steps,
        devices=devices,
    )


def scans() -> bool:
    """Tell whether steps run faster as one compiled loop: everywhere but on XLA:CPU."""
    return jax.default_backend() != "cpu"


def make_model(config: Config, objective: Objective) -> Network:
    """Return the network that the settings describe."""
    return make_network(config, num_classes=objective.num_outputs)


def eval_batch_size(config: Config) -> int:
    """Return the images per test batch: with batch statistics it changes the numbers."""
    if config.eval_batch_size:
        return config.eval_batch_size
    return config.batch_size if config.eval_stats == "batch" else EVAL_BATCH


def device_arrays(dataset: Dataset, devices: Devices | None = None) -> Batch:
    """Put a data set's arrays on the devices (default: one), whole and as they are (uint8)."""
    arrays = {"images": dataset.images, "masks": dataset.masks}
    if dataset.ignore is not None:
        arrays["valid"] = ~dataset.ignore
    return jax.tree.map(jnp.asarray, (devices or Devices()).place(arrays))


class Trainer:
    """A run: its parts, where it stands, and what it writes."""

    def __init__(
        self,
        config: Config,
        splits: Splits,
        folder: RunFolder,
        say: Say,
        *,
        parts: Parts | None = None,
    ) -> None:
        """Check the settings and build the parts, unless another run of them shares its own."""
        self.config, self.splits, self.folder, self.say = config, splits, folder, say
        self.parts = parts or make_parts(config, splits)
        self.loss_params, self.objective = self.parts.loss_params, self.parts.objective
        self.model, self.optimizer = self.parts.model, self.parts.optimizer
        self.steps, self.evaluate = self.parts.steps, self.parts.evaluate
        self.steps_per_epoch, self.total_steps = self.parts.steps_per_epoch, self.parts.total_steps
        if config.tensorboard:
            check_tensorboard()
        self.board: TensorBoard | None = None
        self.checkpoints = Checkpoints(folder.checkpoints, keep=config.keep_checkpoints, notify=say)
        self.progress = Progress()
        self.error: TrainingError | None = None

    def first_state(self) -> tuple[TrainState, Progress]:
        """Return the initial state, or with --resume the newest good checkpoint's."""
        config = self.config
        state = init_state(
            self.model,
            self.optimizer,
            seed=config.seed,
            image_shape=self.splits.train.images.shape[1:],
            ema=config.ema_decay > 0,
        )
        if not config.resume:
            return state, self.progress
        if not processes.of_first(lambda: any(self.folder.checkpoints.glob("step_*"))):
            self.say("no checkpoint was saved before the run stopped; starting at step 0")
            return state, self.progress
        state, meta, step = self.restore(state)
        self.say(f"resuming at step {step} of {self.total_steps}")
        self.progress = Progress(**meta["progress"])
        return state, self.progress

    def restore(self, state: TrainState, *, which: Which = "newest") -> Restored:
        """Restore a checkpoint, which process 0 reads; ``state`` is the template.

        Raises CheckpointError as `Checkpoints.restore`.
        """
        if not processes.several():
            return self.checkpoints.restore(state, which=which)
        state = processes.own(state)

        def read() -> tuple[dict[str, Any], int]:
            nonlocal state
            state, meta, step = self.checkpoints.restore(state, which=which)
            return meta, step

        meta, step = processes.of_first(read)
        return Restored(self.parts.devices.place(processes.share(state)), meta, step)

    def announce(self, state: TrainState, *, runs_at_once: int = 1) -> None:
        """Say what is going to run."""
        config, runs = self.config, count_parameters(state.params)
        self.say(
            f"{self.splits.train.name}: {len(self.splits.train)} training images, "
            f"{len(self.splits.val or ())} for validation, {len(self.splits.test)} for the test; "
            f"{self.total_steps} steps of {config.batch_size} on {self.devices_in_words()}"
            + (f", {runs_at_once} runs in one program" if runs_at_once > 1 else "")
        )
        counted = parameters_dlstudio_counts(config, self.objective.num_outputs)
        if counted is None:
            self.say(f"{config.network_name()}: {runs:,} parameters")
        else:
            self.say(
                f"{config.network_name()}: {runs:,} parameters. DLStudio "
                f"counts {counted:,}: it also builds layers that its forward pass never calls"
                + ("." if config.head == "dlstudio" else ", and has another output layer.")
            )
        if config.head == "dlstudio":
            self.say(
                "head=dlstudio computes one output pixel in four, the rest is a constant per class "
                "(as in the original); --head=dense computes all of them"
            )
        if self.loss_params != dict(config.loss_params):
            weights = self.loss_params["loss_class_weights"]
            self.say(f"class weights of the training masks: {weights}")
        self.say(f"results go to {self.folder.path}")

    def devices_in_words(self) -> str:
        """Return what runs it, and what stands by because it would not share a batch evenly."""
        device, used = jax.devices()[0], self.parts.devices.count
        words = f"{used} x " if used > 1 else ""
        words += f"{device.device_kind} ({device.platform})"
        if processes.several():
            words += f" of {jax.process_count()} processes"
        if device.platform != "cpu" and used < jax.device_count() and not self.config.devices:
            words += f", {jax.device_count() - used} more cannot share such a batch evenly"
        return words

    def order_of(self, epoch: int) -> np.ndarray:
        """Return the image indices of an epoch's steps, int32 [steps_per_epoch, batch_size]."""
        order = epoch_order(len(self.splits.train), seed=self.config.seed, epoch=epoch)
        return order[: self.steps_per_epoch * self.config.batch_size].reshape(
            self.steps_per_epoch, self.config.batch_size
        )

    def steps_to_next_event(self, step: int) -> int:
        """Return how many steps to run before the loop has to look up."""
        at = step % self.steps_per_epoch
        stops = [
            SCAN_STEPS if scans() else CPU_CHUNK_STEPS,
            self.total_steps - step,
            self.steps_per_epoch - at,
            self.config.log_steps - at % self.config.log_steps,
        ]
        if self.config.checkpoint_steps:
            stops.append(self.config.checkpoint_steps - step % self.config.checkpoint_steps)
        return min(stops)

    def warm_up_steps(self) -> int:
        """Return in how many steps every program of a step has been compiled and run."""
        return SCAN_STEPS + 1 if scans() else CPU_CHUNK_STEPS

    def ends_epoch(self, step: int) -> bool:
        """Tell whether an epoch, or the run, ends with this step."""
        return step % self.steps_per_epoch == 0 or step == self.total_steps

    def logs(self, step: int) -> bool:
        """Tell whether a mean loss is due, counting within the epoch as DLStudio does."""
        at = step % self.steps_per_epoch
        return self.ends_epoch(step) or _at_multiple(at, self.config.log_steps)

    def saves(self, step: int) -> bool:
        """Tell whether a checkpoint is due."""
        return self.ends_epoch(step) or _at_multiple(step, self.config.checkpoint_steps)

    def goes_on(self) -> bool:
        """Tell whether there is something left to train."""
        patience = self.config.early_stop_epochs
        stood_still = patience > 0 and self.progress.epochs_since_best >= patience
        return self.progress.step < self.total_steps and not stood_still and self.error is None

    def take_stock(
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
        for index, value in enumerate(losses):
            if not math.isfinite(value):
                self.stop_on(f"the loss is {value} at step {progress.step + index + 1}")
        progress.losses += losses
        progress.step += len(losses)
        progress.seconds = seconds
        if self.logs(progress.step):
            self.log_losses()
        score = None
        if self.ends_epoch(progress.step) and val_arrays is not None:
            score = self.validate(state(), val_arrays)
        if stopping or self.saves(progress.step):
            self.save(state(), score)

    def stop_on(self, trouble: str) -> None:
        """Raise TrainingError about numbers that are not finite, naming what is left to use."""
        saved = self.checkpoints.steps()
        left = f"the last good checkpoint is step {saved[-1]}" if saved else "nothing was saved yet"
        raise TrainingError(
            f"{trouble}; {left} in {self.folder.path}; try a smaller --learning_rate or --clip_norm"
        )

    def log_losses(self) -> None:
        """Record and print the mean loss since the last record."""
        config, progress = self.config, self.progress
        if not progress.losses:
            return
        epoch, at = divmod(progress.step - 1, self.steps_per_epoch)
        mean = float(np.mean(np.asarray(progress.losses, np.float64)))
        self.record(
            {
                "kind": "train",
                "epoch": epoch + 1,
                "iter": at + 1,
                "step": progress.step,
                "loss": mean,
                "mean_over": len(progress.losses),
                "seconds": round(progress.seconds, 3),
            }
        )
        self.folder.write_performance_numbers(config.epochs, config.log_steps)
        self.print_line(
            f"[epoch={epoch + 1}/{config.epochs}, iter={at + 1:4d}  "
            f"elapsed_time={progress.seconds:3.0f} secs]   {config.loss.upper()} loss: {mean:.3f}"
        )
        progress.losses = []

    @contextlib.contextmanager
    def open_board(self) -> Iterator[None]:
        """Write TensorBoard's curves from here on while the context lasts, if asked to."""
        if not self.config.tensorboard or not processes.is_first():
            yield
            return
        self.board = TensorBoard(self.folder.tensorboard, step=self.progress.step)
        try:
            yield
        finally:
            self.board.close()
            self.board = None

    def record(self, record: dict[str, Any]) -> None:
        """Write one record to the log and its companions."""
        self.folder.log(record)
        if self.board is not None:
            self.board.add(record)

    def validate(self, state: TrainState, arrays: Batch) -> float:
        """Measure the validation images and return their mIoU."""
        progress = self.progress
        evaluation = self.evaluate(state.variables(), arrays)
        miou = scores_of(evaluation.counts["half"])["mean"]["iou"]
        is_best = progress.best_score is None or miou > progress.best_score
        progress.best_score = miou if is_best else progress.best_score
        progress.epochs_since_best = 0 if is_best else progress.epochs_since_best + 1
        epoch = -(-progress.step // self.steps_per_epoch)
        self.record(
            {
                "kind": "validation",
                "epoch": epoch,
                "step": progress.step,
                "val_loss": evaluation.loss,
                "val_miou": miou,
                "seconds": round(progress.seconds, 3),
            }
        )
        mark = "  (best so far)" if is_best else ""
        self.print_line(
            f"[epoch={epoch}/{self.config.epochs}]   validation loss: {evaluation.loss:.4g}   "
            f"mIoU: {miou:.4f}{mark}"
        )
        return miou

    def save(self, state: TrainState, score: float | None) -> None:
        """Save a checkpoint, unless its weights are not finite."""
        if not bool(all_finite(state.params)):
            self.stop_on(f"the weights are not finite after step {self.progress.step}")
        meta = {
            "progress": dataclasses.asdict(self.progress),
            "depth": self.config.depth,
            "head": self.config.head,
            "loss": self.config.loss,
            "optimizer": self.config.optimizer,
            "seed": self.config.seed,
            # What prediction has to know without the data.
            "label_map": dict(self.splits.train.label_map),
            "image_size": list(self.splits.train.images.shape[1:3]),
        }
        own = processes.own(state)

        def write() -> None:
            self.checkpoints.save(self.progress.step, own, meta, best_score=score)

        processes.of_first(write)

    def bar(self) -> Any:
        """Return a progress bar over the run's steps, with the time left."""
        wanted = {"on": True, "off": False, "auto": sys.stderr.isatty()}[self.config.progress]
        return tqdm(
            total=self.total_steps,
            initial=self.progress.step,
            disable=not (wanted and processes.is_first()),
            unit="step",
            desc="training",
            dynamic_ncols=True,
            mininterval=0.5,
        )

    def print_line(self, line: str) -> None:
        """Print above the progress bar."""
        with tqdm.external_write_mode():
            self.say(line)


def _at_multiple(step: int, every: int) -> bool:
    """Tell whether ``step`` is a positive multiple of ``every``; never if that is 0."""
    return every > 0 and step > 0 and step % every == 0


@jax.jit
def all_finite(tree: Any) -> jax.Array:
    """Return whether every number of a tree is finite, bool []."""
    return jnp.all(jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]))
