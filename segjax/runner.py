"""The one host loop: data, state, steps, log, checkpoints; then the test and the figures."""

import contextlib
import dataclasses
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from segjax import backend
from segjax.augment import make_augment
from segjax.checkpoint import Checkpoints
from segjax.class_weights import resolve_class_weights
from segjax.config import Config, settings_that_differ
from segjax.data import Dataset, epoch_order
from segjax.errors import ConfigError, TrainingError
from segjax.evaluate import make_evaluate
from segjax.loss_table import spec
from segjax.model import count_parameters
from segjax.networks import Network, make_network, parameters_dlstudio_counts
from segjax.objective import Objective, make_objective
from segjax.optim import make_optimizer
from segjax.outcome import finish, scores_of
from segjax.rundir import RunFolder, choose_folder, open_run
from segjax.sinks import TensorBoard, check_tensorboard
from segjax.sources import Splits, load_splits
from segjax.train import SCAN_STEPS, Batch, TrainState, init_state, make_steps, make_train_step

CPU_CHUNK_STEPS = 5  # steps between looks at signals and the bar; elsewhere one compiled scan
EVAL_BATCH = 50

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run left: its folder, whether it came to its end, and the content of results.json."""

    folder: Path
    finished: bool
    results: dict[str, Any]


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


def print_now(line: str) -> None:
    """Print a line without holding it back, so that a log file shows where a run is."""
    print(line, flush=True)


def run(config: Config, *, say: Say = print_now) -> Result:
    """Train, test and draw as ``config`` says, in a run folder.

    Raises ConfigError, DataError, CheckpointError or TrainingError, each with one line for the
    user. SIGINT or SIGTERM saves a checkpoint and returns with ``finished`` False.
    """
    backend.prepare()
    if config.cache_dir:
        jax.config.update("jax_compilation_cache_dir", config.cache_dir)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    folder = choose_folder(config)
    if config.resume and (changes := settings_that_differ(folder.config(), config)):
        raise ConfigError(f"--resume cannot change a run's settings: {'; '.join(changes)}")
    splits = load_splits(config, say=say)
    trainer = Trainer(config, splits, folder, say)
    open_run(folder, config)
    state, progress, finished = trainer.train()
    if not finished:
        return Result(folder.path, finished=False, results={})
    if splits.val is not None:
        # Chosen on validation images, so the test images stay unseen until here.
        state, _, best_step = trainer.checkpoints.restore(state, which="best")
        say(f"testing the best checkpoint by validation mIoU, step {best_step}")
    results = finish(
        config,
        folder,
        trainer.model,
        trainer.objective,
        state,
        splits,
        evaluate=trainer.evaluate,
        arrays=device_arrays,
        steps=progress.step,
        train_seconds=progress.seconds,
        say=say,
    )
    return Result(folder.path, finished=True, results=results)


def make_model(config: Config, objective: Objective) -> Network:
    """Return the network that the settings describe."""
    return make_network(config, num_classes=objective.num_outputs)


def eval_batch_size(config: Config) -> int:
    """Return the images per test batch: with batch statistics it changes the numbers."""
    if config.eval_batch_size:
        return config.eval_batch_size
    return config.batch_size if config.eval_stats == "batch" else EVAL_BATCH


def device_arrays(dataset: Dataset) -> Batch:
    """Put a data set's arrays on the device, as they are (uint8)."""
    arrays = {"images": jnp.asarray(dataset.images), "masks": jnp.asarray(dataset.masks)}
    if dataset.ignore is not None:
        arrays["valid"] = jnp.asarray(~dataset.ignore)
    return arrays


class Trainer:
    """The parts of a run, and the loop that moves its state along."""

    def __init__(self, config: Config, splits: Splits, folder: RunFolder, say: Say) -> None:
        self.config, self.splits, self.folder, self.say = config, splits, folder, say
        classes = splits.train.class_values
        self.loss_params = resolve_class_weights(
            config.loss_params,
            splits.train.masks,
            reads=spec(config.loss).reads,
            ignore=splits.train.ignore,
        )
        self.objective = make_objective(
            config.loss,
            class_values=classes,
            targets=config.targets,
            parameters=self.loss_params,
        )
        self.model = make_model(config, self.objective)
        self.steps_per_epoch = len(splits.train) // config.batch_size
        if not self.steps_per_epoch:
            raise ConfigError(
                f"--batch_size={config.batch_size}: more than the {len(splits.train)} training "
                "images"
            )
        self.total_steps = config.epochs * self.steps_per_epoch
        if config.max_steps:
            self.total_steps = min(self.total_steps, config.max_steps)
        self.optimizer = make_optimizer(config, self.total_steps)
        self.scan = jax.default_backend() != "cpu"
        train_step = make_train_step(
            self.model,
            self.optimizer,
            self.objective,
            augment=make_augment(
                config.augment,
                interpolation=config.augment_interpolation,
                outside=config.augment_outside,
            ),
            ema_decay=config.ema_decay,
        )
        self.steps = make_steps(train_step, scan=self.scan)
        self.evaluate = make_evaluate(
            self.model,
            self.objective,
            stats=config.eval_stats,
            batch_size=eval_batch_size(config),
        )
        if config.tensorboard:
            check_tensorboard()
        self.board: TensorBoard | None = None
        self.checkpoints = Checkpoints(folder.checkpoints, keep=config.keep_checkpoints, notify=say)

    def train(self) -> tuple[TrainState, Progress, bool]:
        """Train to the last step; return the state, and False if a signal ended it early."""
        state, progress = self.first_state()
        self.announce(state)
        self.folder.rewind_log(progress.step)
        started = time.perf_counter() - progress.seconds
        arrays = device_arrays(self.splits.train)
        val_arrays = device_arrays(self.splits.val) if self.splits.val else None
        order, order_epoch = None, -1
        unread: list[jax.Array] = []
        in_flight: list[jax.Array] = []
        with (
            caught_signals() as caught,
            self.bar(progress.step) as bar,
            self.open_board(progress.step),
        ):
            while progress.step < self.total_steps and not self.stops_early(progress):
                epoch, at = divmod(progress.step, self.steps_per_epoch)
                if order is None or epoch != order_epoch:
                    order, order_epoch = self.order_of(epoch), epoch
                rows = order[at : at + self.steps_to_next_event(progress.step)]
                state, losses = self.steps(state, arrays, rows)
                unread.extend(losses)
                progress.step += len(rows)
                # Waiting for the chunk before this one keeps the device busy and the bar honest.
                jax.block_until_ready(in_flight)
                in_flight = losses
                bar.update(len(rows))

                ends_epoch = self.ends_epoch(progress.step)
                saves = ends_epoch or self.at_multiple(progress.step, self.config.checkpoint_steps)
                logs = ends_epoch or self.logs_here(progress.step)
                if not (saves or logs or caught):
                    continue
                progress.losses += self.read_losses(unread, progress.step)
                unread = []
                progress.seconds = time.perf_counter() - started
                if logs:
                    self.log_losses(progress)
                score = None
                if ends_epoch and val_arrays is not None:
                    score = self.validate(state, val_arrays, progress)
                if saves or caught:
                    self.save(state, progress, score)
                if caught:
                    bar.close()
                    self.say(
                        f"stopped by {caught[0]} at step {progress.step}, saved; go on with "
                        f"--resume --run_dir={self.folder.path}"
                    )
                    return state, progress, False
        return state, progress, True

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
            return state, Progress()
        if not list(self.folder.checkpoints.glob("step_*")):
            self.say("no checkpoint was saved before the run stopped; starting at step 0")
            return state, Progress()
        state, meta, step = self.checkpoints.restore(state)
        self.say(f"resuming at step {step} of {self.total_steps}")
        return state, Progress(**meta["progress"])

    def announce(self, state: TrainState) -> None:
        """Say what is going to run."""
        config, runs = self.config, count_parameters(state.params)
        device = jax.devices()[0]
        self.say(
            f"{self.splits.train.name}: {len(self.splits.train)} training images, "
            f"{len(self.splits.val or ())} for validation, {len(self.splits.test)} for the test; "
            f"{self.total_steps} steps of {config.batch_size} on {device.device_kind} "
            f"({device.platform})"
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
            SCAN_STEPS if self.scan else CPU_CHUNK_STEPS,
            self.total_steps - step,
            self.steps_per_epoch - at,
            self.config.log_steps - at % self.config.log_steps,
        ]
        if self.config.checkpoint_steps:
            stops.append(self.config.checkpoint_steps - step % self.config.checkpoint_steps)
        return min(stops)

    def ends_epoch(self, step: int) -> bool:
        """Tell whether an epoch, or the run, ends with this step."""
        return step % self.steps_per_epoch == 0 or step == self.total_steps

    def logs_here(self, step: int) -> bool:
        """Tell whether a mean loss is due, counting within the epoch as DLStudio does."""
        return self.at_multiple(step % self.steps_per_epoch, self.config.log_steps)

    @staticmethod
    def at_multiple(step: int, every: int) -> bool:
        """Tell whether ``step`` is a positive multiple of ``every``; never if that is 0."""
        return every > 0 and step > 0 and step % every == 0

    def stops_early(self, progress: Progress) -> bool:
        """Tell whether the validation score has stood still for long enough."""
        patience = self.config.early_stop_epochs
        return patience > 0 and progress.epochs_since_best >= patience

    def read_losses(self, losses: list[jax.Array], step: int) -> list[float]:
        """Fetch losses of the steps up to ``step``; TrainingError if one is not finite."""
        values = [float(x) for chunk in jax.device_get(losses) for x in chunk]
        for index, value in enumerate(values):
            if not math.isfinite(value):
                self.stop_on(f"the loss is {value} at step {step - len(values) + index + 1}")
        return values

    def stop_on(self, trouble: str) -> None:
        """Raise TrainingError about numbers that are not finite, naming what is left to use."""
        saved = self.checkpoints.steps()
        left = f"the last good checkpoint is step {saved[-1]}" if saved else "nothing was saved yet"
        raise TrainingError(
            f"{trouble}; {left} in {self.folder.path}; try a smaller --learning_rate or --clip_norm"
        )

    def log_losses(self, progress: Progress) -> None:
        """Record and print the mean loss since the last record."""
        if not progress.losses:
            return
        config = self.config
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
    def open_board(self, step: int) -> Iterator[None]:
        """Write TensorBoard's curves from ``step`` on while the context lasts, if asked to."""
        if not self.config.tensorboard:
            yield
            return
        self.board = TensorBoard(self.folder.tensorboard, step=step)
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

    def validate(self, state: TrainState, arrays: Batch, progress: Progress) -> float:
        """Measure the validation images and return their mIoU."""
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

    def save(self, state: TrainState, progress: Progress, score: float | None) -> None:
        """Save a checkpoint, unless its weights are not finite."""
        if not bool(all_finite(state.params)):
            self.stop_on(f"the weights are not finite after step {progress.step}")
        meta = {
            "progress": dataclasses.asdict(progress),
            "depth": self.config.depth,
            "head": self.config.head,
            "loss": self.config.loss,
            "optimizer": self.config.optimizer,
            "seed": self.config.seed,
            # What prediction has to know without the data.
            "label_map": dict(self.splits.train.label_map),
            "image_size": list(self.splits.train.images.shape[1:3]),
        }
        self.checkpoints.save(progress.step, state, meta, best_score=score)

    def bar(self, step: int) -> Any:
        """Return a progress bar over the run's steps, with the time left."""
        wanted = {"on": True, "off": False, "auto": sys.stderr.isatty()}[self.config.progress]
        return tqdm(
            total=self.total_steps,
            initial=step,
            disable=not wanted,
            unit="step",
            desc="training",
            dynamic_ncols=True,
            mininterval=0.5,
        )

    def print_line(self, line: str) -> None:
        """Print above the progress bar."""
        with tqdm.external_write_mode():
            self.say(line)


@jax.jit
def all_finite(tree: Any) -> jax.Array:
    """Return whether every number of a tree is finite, bool []."""
    return jnp.all(jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]))


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
