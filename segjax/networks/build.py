"""The networks by name: from a run's settings to the Flax module, and to the words for it."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jax.interpreters.partial_eval import dce_jaxpr

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


def initial_variables(model: nn.Module, key: jax.Array, image_shape: tuple[int, int, int]) -> Any:
    """Return the initial variables: what ``model.init`` computes for them, and nothing else of it.

    One operation after the other: as one program, the draws take several times as long to compile.
    """
    image = jax.ShapeDtypeStruct((1, *image_shape), jnp.uint8)
    start = functools.partial(model.init, train=False)
    whole, shapes = jax.make_jaxpr(start, return_shape=True)(key, image)
    draws, _ = dce_jaxpr(whole.jaxpr, [True] * len(whole.jaxpr.outvars))
    leaves = jaxpr_as_fun(ClosedJaxpr(draws, whole.consts))(key)
    return jax.tree.unflatten(jax.tree.structure(shapes), leaves)


def parameters_dlstudio_counts(config: Config, num_classes: int) -> int | None:
    """Return the parameters that DLStudio reports for this network; None if it has none such."""
    return (
        dlstudio_parameter_count(config.depth, num_classes) if config.network == "munet" else None
    )
