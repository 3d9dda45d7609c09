"""The networks by name: from a run's settings to the Flax module, and to the words for it."""

from typing import Any

import jax.numpy as jnp

from segjax.config import Config
from segjax.networks.munet import MUnet, dlstudio_parameter_count
from segjax.networks.unet import UNet

Network = MUnet | UNet


def make_network(config: Config, *, num_classes: int) -> Network:
    """Return the network that the settings describe, with ``num_classes`` output channels."""
    both: dict[str, Any] = {
        "num_classes": num_classes,
        "input_scale": 1.0 if config.input_range == "raw" else 1.0 / 255.0,
        "dtype": jnp.dtype(config.dtype),
    }
    if config.network == "unet":
        return UNet(config.widths(), config.unet_patch, config.unet_blocks, **both)
    head: Any = {"head": config.head, "upsampling": config.upsampling}
    return MUnet(config.depth, config.skip_connections, **head, **both)


def parameters_dlstudio_counts(config: Config, num_classes: int) -> int | None:
    """Return the parameters that DLStudio reports for this network; None if it has none such."""
    return (
        dlstudio_parameter_count(config.depth, num_classes) if config.network == "munet" else None
    )
