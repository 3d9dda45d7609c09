"""Every setting of a run, once: its default, what it may be, and the sentence that explains it.

The defaults are DLStudio's recipe. Each field of ``Config`` is a command-line flag of the same
name; this module imports nothing heavy, so ``--help`` is quick.
"""

import dataclasses
import difflib
import json
import math
from collections.abc import Mapping
from typing import Any, cast

from segjax.augment_table import INTERPOLATION, OUTSIDE, check_augment
from segjax.errors import ConfigError
from segjax.loss_table import PARAMETERS, Value, check_class_weights, spec

TRAIN_FILE = "PurdueShapes5MultiObject-10000-train.gz"
LARGEST_CELL = 8  # all networks take images with sides that are multiples of this
NAMED_DATA = ("purdue", "synthetic")
TEST_FILE = "PurdueShapes5MultiObject-1000-test.gz"


def _setting(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] = (),
    low: float | None = None,
    high: float | None = None,
    fixed: bool = True,
) -> Any:
    """Declare a field. ``fixed``: a resumed run must keep the value it was started with."""
    about = {"help": help, "choices": choices, "low": low, "high": high, "fixed": fixed}
    return dataclasses.field(default=default, metadata=about)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of one run. Construction checks every value and raises ConfigError."""

    # Data
    data: str = _setting(
        "purdue",
        "What to train on: 'purdue' (PurdueShapes5MultiObject, fetched from PyPI the first time), "
        "'synthetic' (drawn here in the same style), or your own: 'folder:PATH', "
        "'coco:ANNOTATIONS.json' or a file.npz; see docs/own-data.md.",
    )
    dataroot: str = _setting(
        "", "Folder of the data files; empty: a cache folder of the user's.", fixed=False
    )
    train_file: str = _setting(TRAIN_FILE, "File of training images, in --dataroot or a path.")
    test_file: str = _setting(TEST_FILE, "File of test images, in --dataroot or a path.")
    train_images: int = _setting(0, "Train on the first N images only; 0: all.", low=0)
    val_images: int = _setting(
        0,
        "Set the last N training images aside for validation after each epoch; 0, as in DLStudio: "
        "none, and no best checkpoint.",
        low=0,
    )
    test_images: int = _setting(0, "Test on the first N images only; 0: all.", low=0)
    synthetic_train: int = _setting(2000, "Training images to draw for --data=synthetic.", low=1)
    synthetic_test: int = _setting(500, "Test images to draw for --data=synthetic.", low=1)
    synthetic_seed: int = _setting(
        -1, "Seed of the synthetic images; -1: --seed. With --seeds all see the same.", low=-1
    )
    image_size: int = _setting(
        0,
        "Side in pixels of synthetic images (0: 64) and of your own (0: chosen by their sizes).",
        low=0,
    )
    fit: str = _setting(
        "resize", "How your own images get that size.", choices=("resize", "crop", "pad")
    )
    classes: str = _setting(
        "", "Comma-separated classes of your own data to use, in channel order; empty: all."
    )
    ignore_value: int = _setting(
        255, "Mask value of pixels without a truth in your own masks; -1: there is none.", low=-1
    )
    val_share: float = _setting(
        0.1, "Share of your own images for validation, unless they come split.", low=0, high=1
    )
    test_share: float = _setting(
        0.2, "Share of your own images for the test, unless they come split.", low=0, high=1
    )
    images_dir: str = _setting("", "Folder of the pictures that COCO annotations name.")
    val_annotations: str = _setting("", "COCO file of the validation pictures.")
    test_annotations: str = _setting("", "COCO file of the test pictures.")
    min_object_area: float = _setting(0.0, "Ignore COCO objects of fewer pixels.", low=0)
    single_object: bool = _setting(False, "Use only pictures with exactly one COCO object.")
    keep_empty: bool = _setting(False, "Use pictures without any COCO object, too.")

    # Network
    network: str = _setting(
        "munet",
        "'munet' is DLStudio's; 'unet' a small U-Net that is quick on CPUs (needs --head=dense).",
        choices=("munet", "unet"),
    )
    unet_widths: str = _setting(
        "32,64,128", "Channels of the unet's levels, from the finest down; each halves the size."
    )
    unet_patch: int = _setting(
        2, "The unet's finest level has one pixel for each patch of N x N.", low=1, high=8
    )
    unet_blocks: int = _setting(
        1, "3x3 convolutions of a unet's level on each arm; twice as many at the bottom.", low=1
    )
    head: str = _setting(
        "dlstudio",
        "Output layer: 'dlstudio' writes one pixel in four as the original does, 'dense' all.",
        choices=("dlstudio", "dense"),
    )
    upsampling: str = _setting(
        "dlstudio",
        "The two doublings inside the network: 'dlstudio' fills one pixel in four, 'dense' all.",
        choices=("dlstudio", "dense"),
    )
    depth: int = _setting(16, "DLStudio's depth: depth // 2 blocks a stage.", low=2, high=64)
    skip_connections: bool = _setting(True, "Keep the additions inside the blocks.")
    input_range: str = _setting(
        "raw",
        "What the network reads: 'raw' 0..255 as in DLStudio, or 'unit' 0..1.",
        choices=("raw", "unit"),
    )
    dtype: str = _setting(
        "float32",
        "Compute dtype; parameters, batch-norm statistics and losses stay float32.",
        choices=("float32", "bfloat16"),
    )

    # Loss
    loss: str = _setting("mse", "Loss by name; see docs/losses.md. Terms may be added: bce+dice.")
    # Settings of the loss by name, each also a flag; segjax.loss_table lists them.
    loss_params: Mapping[str, Value] = dataclasses.field(default_factory=dict)
    targets: str = _setting(
        "values",
        "What mse, dice and combo regress to: 'values' is 0 or the class's mask value (50 to 250), "
        "'unit' is 0 or 1. Losses on probabilities always use 0 and 1.",
        choices=("values", "unit"),
    )

    # Optimisation
    optimizer: str = _setting(
        "sgd",
        "Optimizer, from optax.",
        choices=("sgd", "adam", "adamw", "lamb", "lion", "muon", "rmsprop"),
    )
    learning_rate: float = _setting(1e-4, "Learning rate (the peak, with a schedule).", low=0)
    momentum: float = _setting(0.9, "Momentum of sgd and rmsprop.", low=0, high=1)
    weight_decay: float = _setting(
        0.0,
        "Weight decay of the kernels: decoupled in adamw, lamb, lion and muon, L2 in sgd.",
        low=0,
    )
    schedule: str = _setting(
        "constant",
        "Learning-rate schedule over the whole run.",
        choices=("constant", "cosine", "linear", "onecycle"),
    )
    warmup_steps: int = _setting(0, "Raise the learning rate linearly over N steps.", low=0)
    clip_norm: float = _setting(0.0, "Clip the gradient's global norm; 0: no clipping.", low=0)
    accumulate_steps: int = _setting(1, "Average gradients over N batches a step.", low=1)
    ema_decay: float = _setting(
        0.0, "Test with an exponential moving average of the weights; 0: off.", low=0, high=1
    )
    batch_size: int = _setting(4, "Images a step, over all devices.", low=1)
    epochs: int = _setting(6, "Passes over the training images.", low=1, fixed=False)
    max_steps: int = _setting(
        0, "Stop after N steps in all; 0: after --epochs.", low=0, fixed=False
    )
    early_stop_epochs: int = _setting(
        0, "Stop when validation mIoU has not risen for N epochs; 0: never.", low=0, fixed=False
    )
    augment: str = _setting(
        "",
        "Augmentations of the training images, with an optional strength, such as "
        "'flip,rotate:15,colour'; see docs/training.md.",
    )
    augment_interpolation: str = _setting(
        "bilinear",
        "How augmented images are read between pixels; 'nearest' keeps flat colours flat.",
        choices=INTERPOLATION,
    )
    augment_outside: str = _setting(
        "ignore",
        "What augmentation shows from beyond the border: pixels that do not count, background, or "
        "the mirrored image.",
        choices=OUTSIDE,
    )
    seed: int = _setting(1234, "Seed of weights, order and augmentation.", low=0)

    seeds: int = _setting(
        1,
        "Train N runs with the seeds seed, seed + 1, ... inside one folder, and report the mean "
        "and standard deviation of their test scores.",
        low=1,
        fixed=False,
    )
    seeds_at_once: str = _setting(
        "auto",
        "Train the seeds in one program: 'auto' does on an accelerator; on a CPU they are faster "
        "one after another.",
        choices=("auto", "on", "off"),
        fixed=False,
    )

    devices: int = _setting(
        0,
        "Share each batch out among N devices; 0: as many as divide it (of CPUs, one).",
        low=0,
        fixed=False,
    )

    multihost: bool = _setting(
        False,
        "Run as one of several processes, one on each machine, that share each batch.",
        fixed=False,
    )
    coordinator: str = _setting(
        "",
        "HOST:PORT at which the process 0 of --multihost is reached; empty: from the environment.",
        fixed=False,
    )
    num_processes: int = _setting(
        0, "How many processes --multihost has; 0: from the environment.", low=0, fixed=False
    )
    process_id: int = _setting(
        -1,
        "The number of this process, from 0, of --multihost; -1: from the environment.",
        low=-1,
        fixed=False,
    )

    profile: int = _setting(
        0,
        "Trace N steps, after those that compile, into the run folder's profile/; 0: none.",
        low=0,
        fixed=False,
    )

    # Test
    eval_stats: str = _setting(
        "batch",
        "Batch norm at test time: 'batch' statistics as in DLStudio, or the 'running' ones.",
        choices=("batch", "running"),
        fixed=False,
    )
    eval_batch_size: int = _setting(
        0,
        "Images a test batch; 0: --batch_size with batch statistics, else 50.",
        low=0,
        fixed=False,
    )

    # Run
    run_dir: str = _setting(
        "", "Folder for the results; empty: a new one under runs/.", fixed=False
    )
    resume: bool = _setting(
        False, "Go on with the run in --run_dir (or the newest of this name).", fixed=False
    )
    overwrite: bool = _setting(
        False, "Delete the run that --run_dir holds and start anew.", fixed=False
    )
    log_steps: int = _setting(500, "Report the mean loss of every N steps.", low=1)
    checkpoint_steps: int = _setting(
        0,
        "Save a checkpoint every N steps as well as every epoch; 0: epochs only.",
        low=0,
        fixed=False,
    )
    keep_checkpoints: int = _setting(2, "Keep the newest N checkpoints.", low=1, fixed=False)
    progress: str = _setting(
        "auto",
        "Progress bar with the time left: 'auto' shows it on a terminal.",
        choices=("auto", "on", "off"),
        fixed=False,
    )
    tensorboard: bool = _setting(
        False,
        "Write the curves for TensorBoard too (pip install 'segjax[tensorboard]').",
        fixed=False,
    )
    test: bool = _setting(True, "Measure the test images at the end.", fixed=False)
    cache_dir: str = _setting(
        "", "Folder for compiled programs, so that later runs start faster.", fixed=False
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if field.metadata:
                _check(field, getattr(self, field.name))
        _check_loss(self.loss, self.loss_params)
        check_augment(self.augment)
        _check_network(self)
        if self.weight_decay and self.optimizer in ("adam", "rmsprop"):
            raise ConfigError(
                f"--weight_decay={self.weight_decay:g}: {self.optimizer} has none; use adamw"
            )
        if self.warmup_steps and self.schedule == "onecycle":
            raise ConfigError(
                f"--warmup_steps={self.warmup_steps}: onecycle rises by itself; leave it out or "
                "choose --schedule=cosine"
            )
        step = 64 if self.data == "synthetic" else 8
        if self.image_size % step:
            raise ConfigError(
                f"--image_size={self.image_size}: must be a multiple of {step} for this data"
            )
        if self.resume and self.overwrite:
            raise ConfigError("--resume and --overwrite exclude each other: choose one")
        if not self.multihost and (self.coordinator or self.num_processes or self.process_id >= 0):
            raise ConfigError("--coordinator, --num_processes and --process_id need --multihost")
        if self.multihost and self.seeds_at_once == "on":
            raise ConfigError("--seeds_at_once=on: with --multihost the seeds go one after another")
        if self.early_stop_epochs and not self.val_images and self.data in NAMED_DATA:
            raise ConfigError("--early_stop_epochs needs validation images: set --val_images")

    def replace(self, **changes: Any) -> "Config":
        """Return a copy with ``changes``; unknown names raise ConfigError."""
        names = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in names:
                raise ConfigError(f"Config has no setting {name!r};{_close(name, names)}")
        return dataclasses.replace(self, **changes)

    def widths(self) -> tuple[int, ...]:
        """Return the channels of the unet's levels; ConfigError if they are no such list."""
        try:
            found = tuple(int(width) for width in self.unet_widths.split(","))
        except ValueError:
            found = ()
        if not found or min(found) < 1:
            raise ConfigError(
                f"--unet_widths={self.unet_widths}: give channels per level, such as 32,64,128"
            )
        return found

    def network_name(self) -> str:
        """Return the network in a phrase, for titles."""
        if self.network == "unet":
            return f"unet {self.unet_widths}, patch {self.unet_patch}"
        return f"mUnet depth {self.depth}, head {self.head}"

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
        except json.JSONDecodeError as error:
            raise ConfigError(f"{source}: not JSON ({error})") from None
        if not isinstance(settings, dict):
            raise ConfigError(f"{source}: holds a {type(settings).__name__}, not an object")
        try:
            return cls().replace(**settings)
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from None


def flag_fields() -> tuple[dataclasses.Field[Any], ...]:
    """Return the fields that are flags: all but the loss parameters, which have their own table."""
    return tuple(field for field in dataclasses.fields(Config) if field.metadata)


def settings_that_differ(old: Config, new: Config) -> list[str]:
    """Return one phrase for each setting that a resumed run must keep and that ``new`` changes."""
    differences = [
        f"--{field.name} was {getattr(old, field.name)}, is {getattr(new, field.name)}"
        for field in flag_fields()
        if field.metadata["fixed"] and getattr(old, field.name) != getattr(new, field.name)
    ]
    if dict(old.loss_params) != dict(new.loss_params):
        differences.append(f"loss parameters were {old.loss_params}, are {new.loss_params}")
    return differences


def _check(field: dataclasses.Field[Any], value: Any) -> None:
    """Raise ConfigError unless ``value`` has the field's type and lies in its range."""
    name, kind = field.name, type(field.default)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise ConfigError(f"--{name}={value!r}: must be a {kind.__name__}")
    choices, low, high = (field.metadata[key] for key in ("choices", "low", "high"))
    if choices and value not in choices:
        raise ConfigError(f"--{name}={value}: choose one of {', '.join(choices)}")
    if kind is float and not math.isfinite(cast(float, value)):
        raise ConfigError(f"--{name}={value}: must be a finite number")
    if low is not None and value < low:
        raise ConfigError(f"--{name}={value}: must be at least {low}")
    if high is not None and value > high:
        raise ConfigError(f"--{name}={value}: must be at most {high}")


def _check_network(config: Config) -> None:
    """Raise ConfigError for settings of one network that are given to the other."""
    others = {
        "unet": ("depth", "upsampling", "skip_connections"),
        "munet": ("unet_widths", "unet_patch", "unet_blocks"),
    }[config.network]
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    for name in others:
        value = getattr(config, name)
        if value != defaults[name]:
            raise ConfigError(f"--{name}={value}: --network={config.network} has no such setting")
    if config.network != "unet":
        return
    if config.head != "dense":
        raise ConfigError(
            f"--head={config.head}: --network=unet writes every pixel; add --head=dense"
        )
    levels, patch = len(config.widths()), config.unet_patch
    if patch & (patch - 1) or patch * 2 ** (levels - 1) > LARGEST_CELL:
        raise ConfigError(
            f"--unet_patch={patch} with {levels} --unet_widths: the patch must be 1, 2, 4 or 8, "
            f"and after {levels - 1} halvings a cell at most {LARGEST_CELL} pixels wide"
        )


def _check_loss(loss: str, given: Mapping[str, Value]) -> None:
    """Raise ConfigError unless the loss exists and has each setting in ``given``."""
    known = spec(loss).parameters
    for name, value in given.items():
        if name not in known:
            own = ", ".join(f"--{own}" for own in known) or "none"
            raise ConfigError(f"--{name}: loss {loss} has no such setting; it has {own}")
        about = PARAMETERS[name]
        if about.type is float and type(value) is int:
            value = float(value)
        if type(value) is not about.type:
            raise ConfigError(f"--{name}={value!r}: must be a {about.type.__name__}")
        if about.choices and value not in about.choices:
            raise ConfigError(f"--{name}={value}: choose one of {', '.join(about.choices)}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"--{name}={value}: must be a finite number")
        if name == "loss_class_weights":
            check_class_weights(str(value))


def _close(name: str, names: Any) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f" did you mean {close[0]!r}?" if close else f" there are {', '.join(names)}"
