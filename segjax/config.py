"""Every setting of a run, once: its default, what it may be, and the sentence that explains it.

The defaults are DLStudio's recipe. Each field of ``Config`` is a command-line flag of the same
name, and what is known of it is its metadata; this module imports nothing heavy, so ``--help`` is
quick.
"""

import argparse
import csv
import dataclasses
import functools
import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from segjax.augment_table import INTERPOLATION, OUTSIDE
from segjax.checks import NAMED_DATA, check_settings
from segjax.errors import ConfigError
from segjax.loss_table import Value
from segjax.settings import check_value, close_to, of_group

TRAIN_FILE = "PurdueShapes5MultiObject-10000-train.gz"
MOST_CHANNELS = 4096
TEST_FILE = "PurdueShapes5MultiObject-1000-test.gz"

_data, _network = of_group("data"), of_group("network")
_purdue, _drawn, _own = (of_group("data", of_data=(k,)) for k in ("purdue", "synthetic", "own"))
_loss, _optimisation = of_group("loss"), of_group("optimisation")
_length = functools.partial(_optimisation, fixed=False, tested=True)
_test = of_group("test", fixed=False, tested=True)
_run = of_group("run", fixed=False)
_folder = functools.partial(_run, together=True, compared=False)
_devices = of_group("devices", fixed=False, compared=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of one run. Construction checks every value and raises ConfigError."""

    # fmt: off
    data: str = _data(
        "purdue",
        "What to train on: 'purdue' (PurdueShapes5MultiObject, fetched from PyPI the first time), "
        "'synthetic' (drawn here in the same style), or your own: 'folder:PATH', "
        "'coco:ANNOTATIONS.json' or a file.npz; see docs/own-data.md.", first=True)
    dataroot: str = _purdue(
        "", "Folder of the data files; empty: a cache folder of the user's.",
        fixed=False, local=True, compared=False)
    train_file: str = _purdue(TRAIN_FILE, "File of training images, in --dataroot or a path.")
    test_file: str = _purdue(TEST_FILE, "File of test images, in --dataroot or a path.")
    train_images: int = _data(0, "Train on the first N images only; 0: all.", low=0)
    val_images: int = _data(
        0,
        "Set the last N training images aside for validation after each epoch; 0, as in DLStudio: "
        "none, and no best checkpoint.", low=0, first=True, of_data=("purdue", "synthetic"))
    test_images: int = _data(0, "Test on the first N images only; 0: all.", low=0)
    composed_scenes: int = _data(
        0, "Train on N new scenes put together of the training images' objects; 0: on those.",
        low=0, high=10**7, of_data=("purdue", "synthetic"))
    synthetic_train: int = _drawn(
        2000, "Training images to draw for --data=synthetic.", low=1, high=10**7)
    synthetic_test: int = _drawn(
        500, "Test images to draw for --data=synthetic.", low=1, high=10**7)
    synthetic_seed: int = _drawn(
        -1, "Seed of the synthetic images; -1: --seed. With --seeds all see the same.", low=-1)
    image_size: int = _data(
        0, "Side in pixels of synthetic images (0: 64) and of your own (0: chosen by their sizes).",
        low=0, of_data=("synthetic", "own"))
    fit: str = _own(
        "resize", "How your own images get that size.", choices=("resize", "crop", "pad"))
    classes: str = _own(
        "", "Comma-separated classes of your own data to use, in channel order; empty: all.")
    ignore_value: int = _own(
        255, "Mask value of pixels without a truth in your own masks; -1: there is none.", low=-1)
    val_share: float = _own(
        0.1, "Share of your own images for validation, unless they come split.", low=0, high=1)
    test_share: float = _own(
        0.2, "Share of your own images for the test, unless they come split.", low=0, high=1)
    images_dir: str = _own("", "Folder of the pictures that COCO annotations name.")
    val_annotations: str = _own("", "COCO file of the validation pictures.")
    test_annotations: str = _own("", "COCO file of the test pictures.")
    min_object_area: float = _own(0.0, "Ignore COCO objects of fewer pixels.", low=0)
    single_object: bool = _own(False, "Use only pictures with exactly one COCO object.")
    keep_empty: bool = _own(False, "Use pictures without any COCO object, too.")

    network: str = _network(
        "munet",
        "'munet' is DLStudio's; 'unet' a small U-Net that is quick on CPUs (needs --head=dense).",
        choices=("munet", "unet"))
    unet_widths: str = _network(
        "32,64,128", "Channels of the unet's levels, from the finest down; each halves the size.")
    unet_patch: int = _network(
        2, "The unet's finest level has one pixel for each patch of N x N.", low=1, high=8)
    unet_blocks: int = _network(
        1, "3x3 convolutions of a unet's level on each arm; twice as many at the bottom.", low=1,
        high=64)
    head: str = _network(
        "dlstudio",
        "Output layer: 'dlstudio' writes one pixel in four as the original does, 'dense' all.",
        choices=("dlstudio", "dense"), first=True)
    upsampling: str = _network(
        "dlstudio",
        "The two doublings inside the network: 'dlstudio' fills one pixel in four, 'dense' all.",
        choices=("dlstudio", "dense"), first=True)
    depth: int = _network(
        16, "DLStudio's depth: depth // 2 blocks a stage.", low=2, high=64, first=True)
    skip_connections: bool = _network(True, "Keep the additions inside the blocks.")
    input_range: str = _network(
        "raw", "What the network reads: 'raw' 0..255 as in DLStudio, or 'unit' 0..1.",
        choices=("raw", "unit"))
    dtype: str = _network(
        "float32", "Compute dtype; parameters, batch-norm statistics and losses stay float32.",
        choices=("float32", "bfloat16"))

    loss: str = _loss(
        "mse", "Loss by name; see docs/losses.md. Terms may be added: bce+dice.",
        first=True, together=True)
    # Settings of the loss by name, each also a flag; segjax.loss_table lists them.
    loss_params: Mapping[str, Value] = dataclasses.field(default_factory=dict)
    targets: str = _loss(
        "values",
        "What mse, dice and combo regress to: 'values' is 0 or the class's mask value (50 to 250), "
        "'unit' is 0 or 1. Losses on probabilities always use 0 and 1.", choices=("values", "unit"))

    optimizer: str = _optimisation(
        "sgd", "Optimizer, from optax.",
        choices=("sgd", "adam", "adamw", "lamb", "lion", "muon", "rmsprop"), first=True)
    learning_rate: float = _optimisation(
        1e-4, "Learning rate (the peak, with a schedule).", low=0, first=True, together=True)
    momentum: float = _optimisation(0.9, "Momentum of sgd and rmsprop.", low=0, high=1)
    weight_decay: float = _optimisation(
        0.0, "Weight decay of the kernels: decoupled in adamw, lamb, lion and muon, L2 in sgd.",
        low=0)
    schedule: str = _optimisation(
        "constant", "Learning-rate schedule over the whole run.",
        choices=("constant", "cosine", "linear", "onecycle"))
    warmup_steps: int = _optimisation(0, "Raise the learning rate linearly over N steps.", low=0)
    clip_norm: float = _optimisation(0.0, "Clip the gradient's global norm; 0: no clipping.", low=0)
    accumulate_steps: int = _optimisation(1, "Average gradients over N batches a step.", low=1)
    ema_decay: float = _optimisation(
        0.0, "Test with an exponential moving average of the weights; 0: off.", low=0, high=1)
    batch_size: int = _optimisation(4, "Images a step, over all devices.", low=1, first=True)
    epochs: int = _length(6, "Passes over the training images.", low=1, first=True)
    max_steps: int = _length(0, "Stop after N steps in all; 0: after --epochs.", low=0)
    early_stop_epochs: int = _length(
        0, "Stop when validation mIoU has not risen for N epochs; 0: never.", low=0)
    augment: str = _optimisation(
        "", "Augmentations of the training images, with an optional strength, such as "
        "'flip,rotate:15,colour'; see docs/training.md.", first=True)
    augment_interpolation: str = _optimisation(
        "bilinear",
        "How augmented images are read between pixels; 'nearest' keeps flat colours flat.",
        choices=INTERPOLATION)
    augment_outside: str = _optimisation(
        "ignore",
        "What augmentation shows from beyond the border: pixels that do not count, background, or "
        "the mirrored image.", choices=OUTSIDE)
    seed: int = _optimisation(
        1234, "Seed of weights, order and augmentation.", low=0, first=True, together=True)

    eval_stats: str = _test(
        "batch",
        "Batch norm at test time: 'batch' statistics as in DLStudio, or the 'running' ones.",
        choices=("batch", "running"))
    eval_batch_size: int = _test(
        0, "Images a test batch; 0: --batch_size with batch statistics, else 50.", low=0)

    run_dir: str = _folder("", "Folder for the results; empty: a new one under runs/.", first=True)
    resume: bool = _folder(
        False, "Go on with the run in --run_dir (or the newest of this name).", first=True)
    overwrite: bool = _folder(False, "Delete the run that --run_dir holds and start anew.")
    seeds: int = _run(
        1,
        "Train N runs with the seeds seed, seed + 1, ... inside one folder, and report the mean "
        "and standard deviation of their test scores.", low=1, high=10_000)
    seeds_at_once: str = _run(
        "auto",
        "Train the seeds in one program: 'auto' does on an accelerator; on a CPU they are faster "
        "one after another.", choices=("auto", "on", "off"), compared=False)
    log_steps: int = _run(500, "Report the mean loss of every N steps.", low=1, fixed=True)
    checkpoint_steps: int = _run(
        0, "Save a checkpoint every N steps as well as every epoch; 0: epochs only.", low=0)
    keep_checkpoints: int = _run(2, "Keep the newest N checkpoints.", low=1)
    progress: str = _run(
        "auto", "Progress bar with the time left: 'auto' shows it on a terminal.",
        choices=("auto", "on", "off"), compared=False)
    tensorboard: bool = _run(
        False, "Write the curves for TensorBoard too (pip install 'segjax[tensorboard]').")
    test: bool = _run(True, "Measure the test images at the end.", tested=True)
    profile: int = _run(
        0, "Trace N steps, after those that compile, into the run folder's profile/; 0: none.",
        low=0, compared=False)
    cache_dir: str = _run(
        "", "Folder for compiled programs, so that later runs start faster.",
        local=True, compared=False)

    devices: int = _devices(
        0, "Share each batch out among N devices; 0: as many as divide it (of CPUs, one).", low=0)
    multihost: bool = _devices(
        False, "Run as one of several processes, one on each machine, that share each batch.")
    coordinator: str = _devices(
        "",
        "HOST:PORT at which the process 0 of --multihost is reached; empty: from the environment.")
    num_processes: int = _devices(
        0, "How many processes --multihost has; 0: from the environment.", low=0)
    process_id: int = _devices(
        -1, "The number of this process, from 0, of --multihost; -1: from the environment.",
        low=-1, local=True)
    # fmt: on

    def __post_init__(self) -> None:
        for field in flag_fields():
            limits = {key: field.metadata[key] for key in ("choices", "low", "high")}
            check_value(field.name, getattr(self, field.name), default=field.default, **limits)
        check_settings(self)

    def replace(self, **changes: Any) -> "Config":
        """Return a copy with ``changes``; unknown names raise ConfigError."""
        names = [field.name for field in dataclasses.fields(self)]
        if unknown := [name for name in changes if name not in names]:
            name = unknown[0]
            raise ConfigError(f"Config has no setting {name!r};{close_to(name, names)}")
        return dataclasses.replace(self, **changes)

    def widths(self) -> tuple[int, ...]:
        """Return the channels of the unet's levels; ConfigError if they are no such list."""
        try:
            found = tuple(int(width) for width in self.unet_widths.split(","))
        except ValueError:
            found = ()
        if not found or not 1 <= min(found) <= max(found) <= MOST_CHANNELS:
            raise ConfigError(
                f"--unet_widths={self.unet_widths}: give channels per level, such as 32,64,128, at "
                f"most {MOST_CHANNELS}"
            )
        return found

    def class_choice(self) -> tuple[str, ...]:
        """Return the classes of own data to use, in channel order; empty: all.

        A name that holds a comma stands in double quotes.
        """
        names = next(csv.reader([self.classes], skipinitialspace=True), [])
        return tuple(name.strip() for name in names if name.strip())

    def scenes_seed(self) -> int:
        """Return the seed of a run's synthetic images; of other data the setting as it stands."""
        drawn = self.data == "synthetic" and self.synthetic_seed < 0
        return self.seed if drawn else self.synthetic_seed

    def network_name(self) -> str:
        """Return the network in a phrase, for titles."""
        if self.network == "unet":
            return f"unet {self.unet_widths}, patch {self.unet_patch}"
        return f"mUnet depth {self.depth}, head {self.head}"

    def telling(self) -> dict[str, Any]:
        """Return what a checkpoint notes of its run, to say what it belongs to."""
        return {
            name: getattr(self, name) for name in ("depth", "head", "loss", "optimizer", "seed")
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """Return the settings as an indented JSON object."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str = "config.json") -> "Config":
        """Read what ``to_json`` wrote; errors name ``source``."""
        try:
            settings = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{source}: not JSON ({error})") from None
        if not isinstance(settings, dict):
            raise ConfigError(f"{source}: holds a {type(settings).__name__}, not an object")
        try:
            return cls().replace(**settings)
        except (ConfigError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            raise ConfigError(f"{source}: {error}") from None


def flag_fields() -> tuple[dataclasses.Field[Any], ...]:
    """Return the fields that are flags: all but the loss parameters, which have their own table."""
    return tuple(field for field in dataclasses.fields(Config) if field.metadata)


def check_given(config: Config, names: Iterable[str]) -> None:
    """Raise ConfigError if settings that are given by hand are of other data than the run's."""
    kind = config.data if config.data in NAMED_DATA else "own"
    for field in flag_fields():
        kinds, value = field.metadata["of_data"], getattr(config, field.name)
        if field.name in names and kinds and kind not in kinds and value != field.default:
            raise ConfigError(
                f"--{field.name}={value}: --data={config.data} has no such setting; "
                f"{' and '.join(kinds)} data have it"
            )


def as_choice(names: Iterable[str]) -> str:
    """Return the --classes that `Config.class_choice` reads as these names."""
    return ",".join('"{}"'.format(name.replace('"', '""')) for name in names)


def argument_of(field: dataclasses.Field[Any]) -> dict[str, Any]:
    """Return what argparse needs of a setting that is a flag of another command, unset at first."""
    if isinstance(field.default, bool):
        return {"action": argparse.BooleanOptionalAction, "default": None}
    return {"type": type(field.default), "choices": field.metadata["choices"] or None}


def names_with(
    trait: Literal["first", "fixed", "tested", "together", "local", "compared"], *, has: bool = True
) -> list[str]:
    """Return the settings that have a trait, or have it not; see `segjax.settings.setting`."""
    return [field.name for field in flag_fields() if field.metadata[trait] == has]


def settings_that_differ(old: Config, new: Config) -> list[str]:
    """Return one phrase for each setting that a resumed run must keep and that ``new`` changes."""
    changes = [
        f"--{name} was {before}, is {getattr(new, name)}"
        for name in names_with("fixed")
        if (before := getattr(old, name)) != getattr(new, name)
    ]
    before, after = dict(old.loss_params), dict(new.loss_params)
    if before != after:
        changes.append(f"loss parameters were {before}, are {after}")
    return changes
