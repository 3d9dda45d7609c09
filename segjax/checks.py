"""What settings must be together; what one alone may be stands with it in `segjax.config`."""

from collections.abc import Mapping
from typing import Any

from segjax.augment_table import parse_augment
from segjax.errors import ConfigError
from segjax.loss_table import CLASS_WEIGHT_RULES, PARAMETERS, Value, parse_class_weights, spec
from segjax.settings import SIZE_MULTIPLE, check_value

NAMED_DATA = ("purdue", "synthetic")


def check_settings(config: Any) -> None:
    """Raise ConfigError for settings of a `segjax.Config` that cannot go together."""
    check_loss(config.loss, config.loss_params)
    parse_augment(config.augment)
    check_network(config)
    if config.weight_decay and config.optimizer in ("adam", "rmsprop"):
        raise ConfigError(
            f"--weight_decay={config.weight_decay:g}: {config.optimizer} has none; use adamw"
        )
    if config.warmup_steps and config.schedule == "onecycle":
        raise ConfigError(
            f"--warmup_steps={config.warmup_steps}: onecycle rises by itself; leave it out or "
            "choose --schedule=cosine"
        )
    step = 64 if config.data == "synthetic" else SIZE_MULTIPLE
    if config.image_size % step:
        raise ConfigError(
            f"--image_size={config.image_size}: must be a multiple of {step} for this data"
        )
    if config.resume and config.overwrite:
        raise ConfigError("--resume and --overwrite exclude each other: choose one")
    if not config.multihost and (
        config.coordinator or config.num_processes or config.process_id >= 0
    ):
        raise ConfigError("--coordinator, --num_processes and --process_id need --multihost")
    if config.multihost and config.seeds_at_once == "on":
        raise ConfigError("--seeds_at_once=on: with --multihost the seeds go one after another")
    if config.early_stop_epochs and not config.val_images and config.data in NAMED_DATA:
        raise ConfigError("--early_stop_epochs needs validation images: set --val_images")


def check_network(config: Any) -> None:
    """Raise ConfigError for settings of one network that are given to the other."""
    others = {
        "unet": ("depth", "upsampling", "skip_connections"),
        "munet": ("unet_widths", "unet_patch", "unet_blocks"),
    }[config.network]
    for name in others:
        if (value := getattr(config, name)) != getattr(type(config), name):
            raise ConfigError(f"--{name}={value}: --network={config.network} has no such setting")
    if config.network != "unet":
        return
    if config.head != "dense":
        raise ConfigError(
            f"--head={config.head}: --network=unet writes every pixel; add --head=dense"
        )
    levels, patch = len(config.widths()), config.unet_patch
    if patch & (patch - 1) or patch * 2 ** (levels - 1) > SIZE_MULTIPLE:
        raise ConfigError(
            f"--unet_patch={patch} with {levels} --unet_widths: the patch must be 1, 2, 4 or 8, "
            f"and after {levels - 1} halvings a cell at most {SIZE_MULTIPLE} pixels wide"
        )


def check_loss(loss: str, given: Mapping[str, Value]) -> None:
    """Raise ConfigError unless the loss exists and has each setting in ``given``."""
    known = spec(loss).parameters
    for name, value in given.items():
        if name not in known:
            own = ", ".join(f"--{own}" for own in known) or "none"
            raise ConfigError(f"--{name}: loss {loss} has no such setting; it has {own}")
        about = PARAMETERS[name]
        check_value(name, value, default=about.default, choices=about.choices)
        if name == "loss_class_weights" and str(value).strip() not in CLASS_WEIGHT_RULES:
            parse_class_weights(str(value))
