"""What a run's settings describe: the network, the objective, and the jitted steps and test."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from segjax.config import Config
from segjax.data import Dataset
from segjax.data.splits import Splits
from segjax.errors import ConfigError
from segjax.loss_table import Value, spec
from segjax.networks.build import Network, make_network
from segjax.training.augment import Augment, Batch, make_augment
from segjax.training.class_weights import resolve_class_weights
from segjax.training.devices import Devices, choose_devices
from segjax.training.evaluate import Evaluation, make_evaluate
from segjax.training.objective import Objective, make_objective
from segjax.training.optim import make_optimizer
from segjax.training.step import SCAN_STEPS, TrainState, init_state, make_steps, make_train_step
from segjax.training.vmapped import Member, make_many_step

CPU_CHUNK_STEPS = 5  # steps between looks at signals and the bar; elsewhere one compiled scan
EVAL_BATCH = 50

Steps = Callable[[TrainState, Batch, Any], tuple[TrainState, list[jax.Array]]]


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The steps of a run and where the loop has to look up."""

    steps_per_epoch: int
    total_steps: int
    log_steps: int  # a mean loss is due every so many steps of an epoch
    checkpoint_steps: int  # a checkpoint is due as often, beside every epoch; 0: no more
    chunk_steps: int  # the most steps between two looks at signals and the bar
    warm_up_steps: int  # in so many steps every program of a step has been compiled and run

    def steps_to_next(self, step: int) -> int:
        """Return how many steps to run from ``step`` before the loop has to look up."""
        ahead = range(1, self.chunk_steps + 1)
        due = (n for n in ahead if self.logs(step + n) or self.saves(step + n))
        return next(due, self.chunk_steps)

    def ends_epoch(self, step: int) -> bool:
        """Tell whether an epoch, or the run, ends with this step."""
        return step % self.steps_per_epoch == 0 or step == self.total_steps

    def logs(self, step: int) -> bool:
        """Tell whether a mean loss is due, counting within the epoch as DLStudio does."""
        return self.ends_epoch(step) or step % self.steps_per_epoch % self.log_steps == 0

    def saves(self, step: int) -> bool:
        """Tell whether a checkpoint is due after ``step``, 1 or more."""
        every = self.checkpoint_steps
        return self.ends_epoch(step) or (every > 0 and step % every == 0)


@dataclasses.dataclass(frozen=True)
class Program:
    """What runs share whose settings differ in no more than seed and folder."""

    loss_params: Mapping[str, Value]  # with class weights taken from the data
    objective: Objective
    model: Network
    optimizer: Any
    augment: Augment | None
    steps: Steps  # of a run by itself
    evaluate: Callable[[Any, Batch], Evaluation]
    schedule: Schedule
    devices: Devices

    def initial_state(self, config: Config, image_shape: tuple[int, int, int]) -> TrainState:
        """Return the state of step 0, drawn from the run's seed."""
        seed, ema = config.seed, config.ema_decay > 0
        return init_state(self.model, self.optimizer, seed=seed, image_shape=image_shape, ema=ema)

    def place(self, dataset: Dataset) -> Batch:
        """Put a data set's arrays on the devices, whole and as they are (uint8)."""
        arrays = {"images": dataset.images, "masks": dataset.masks}
        if dataset.ignore is not None:
            arrays["valid"] = ~dataset.ignore
        return jax.tree.map(jnp.asarray, self.devices.place(arrays))


def make_program(config: Config, splits: Splits) -> Program:
    """Build what the settings describe; nothing is compiled before it is used.

    Raises ConfigError if the data has not one batch or the devices cannot share it.
    """
    devices = choose_devices(config.devices, config.batch_size)
    train, reads = splits.train, spec(config.loss).reads
    loss_params = resolve_class_weights(
        config.loss_params, train.masks, reads=reads, ignore=train.ignore
    )
    objective = make_objective(
        config.loss, class_values=train.class_values, targets=config.targets, parameters=loss_params
    )
    _try_loss(objective, config, train)
    schedule = make_schedule(config, len(train))
    model = make_network(config, num_classes=objective.num_outputs)
    optimizer = make_optimizer(config, schedule.total_steps)
    outside, interpolation = config.augment_outside, config.augment_interpolation
    augment = make_augment(config.augment, interpolation=interpolation, outside=outside)
    step = make_train_step(model, optimizer, objective, augment=augment, ema_decay=config.ema_decay)
    steps = make_steps(step, scan=scans(), devices=devices)
    size = eval_batch_size(config)
    evaluate = make_evaluate(
        model, objective, stats=config.eval_stats, batch_size=size, devices=devices
    )
    return Program(
        loss_params=loss_params,
        objective=objective,
        model=model,
        optimizer=optimizer,
        augment=augment,
        steps=steps,
        evaluate=evaluate,
        schedule=schedule,
        devices=devices,
    )


def _try_loss(objective: Objective, config: Config, data: Dataset) -> None:
    """Raise ConfigError if the loss refuses one of its settings, which it does when it is used."""
    shape = (config.batch_size, *data.masks.shape[1:])
    outputs = jax.ShapeDtypeStruct((*shape[:-1], objective.num_outputs), jnp.float32)
    try:
        jax.eval_shape(objective.loss, outputs, jax.ShapeDtypeStruct(shape, data.masks.dtype))
    except ConfigError as error:
        raise ConfigError(f"--loss={config.loss}: {error}") from None


def make_schedule(config: Config, images: int) -> Schedule:
    """Return when what is due of a run on so many images; ConfigError if they are not one batch."""
    steps_per_epoch = images // config.batch_size
    if not steps_per_epoch:
        raise ConfigError(
            f"--batch_size={config.batch_size}: more than the {images} training images"
        )
    total_steps = config.epochs * steps_per_epoch
    total_steps = min(total_steps, config.max_steps or total_steps)
    if config.accumulate_steps > total_steps:
        raise ConfigError(
            f"--accumulate_steps={config.accumulate_steps}: the run has {total_steps} steps, so no "
            "weight would change"
        )
    updates = -(-total_steps // config.accumulate_steps)
    if config.warmup_steps > updates:
        raise ConfigError(
            f"--warmup_steps={config.warmup_steps}: the run has {updates} updates of its weights, "
            "so the learning rate would never be reached"
        )
    return Schedule(
        steps_per_epoch=steps_per_epoch,
        total_steps=total_steps,
        log_steps=config.log_steps,
        checkpoint_steps=config.checkpoint_steps,
        chunk_steps=SCAN_STEPS if scans() else CPU_CHUNK_STEPS,
        warm_up_steps=SCAN_STEPS + 1 if scans() else CPU_CHUNK_STEPS,
    )


def make_joint_steps(runs: Sequence[tuple[Program, Config]]) -> Steps:
    """Return the jitted steps of several runs in one program; see `segjax.training.vmapped`."""
    lead, config = runs[0]

    def optimizer_of(rate: Any) -> Any:
        return make_optimizer(config, lead.schedule.total_steps, learning_rate=rate)

    members = [Member(program.objective, own.learning_rate) for program, own in runs]
    step = make_many_step(
        lead.model, optimizer_of, members, augment=lead.augment, ema_decay=config.ema_decay
    )
    return make_steps(step, scan=scans(), devices=lead.devices)


def scans() -> bool:
    """Tell whether steps run faster as one compiled loop: everywhere but on XLA:CPU."""
    return jax.default_backend() != "cpu"


def eval_batch_size(config: Config) -> int:
    """Return the images per test batch: with batch statistics it changes the numbers."""
    if config.eval_batch_size:
        return config.eval_batch_size
    return config.batch_size if config.eval_stats == "batch" else EVAL_BATCH
