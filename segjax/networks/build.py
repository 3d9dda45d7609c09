"""The networks by name: from a run's settings to the Flax module, and to the words for it."""

import jax.numpy as jnp

from segjax.config import Config
from segjax.networks.munet import MUnet, dlstudio_parameter_count
from segjax.networks.unet import UNet

Network = MUnet | UNet


def make_network(config: Config, *, num_classes: int) -> Network:
    """Return the network that the settings describe, with ``num_classes`` output channels."""
    scale = 1.0 if config.input_range == "raw" else 1.0 / 255.0
    if config.network == "unet":
        return UNet(
            widths=config.widths(),
            patch=config.unet_patch,
            blocks=config.unet_blocks,
            num_classes=num_classes,
            input_scale=scale,
            dtype=jnp.dtype(config.dtype),
        )
    return MUnet(
        depth=config.depth,
        skip_connections=config.skip_connections,
        head=config.head,  # type: ignore[arg-type]
        upsampling=config.upsampling,  # type: ignore[arg-type]
        num_classes=num_classes,
        input_scale=scale,
        dtype=jnp.dtype(config.dtype),
    )


def parameters_dlstudio_counts(config: Config, num_classes: int) -> int | None:
    """Return the parameters that DLStudio reports for this network; None if it has none such."""
    if config.network != "munet":
        return None
    return dlstudio_parameter_count(config.depth, num_classes)
