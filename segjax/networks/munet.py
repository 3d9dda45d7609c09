"""mUnet: the segmentation network of DLStudio 2.3.6, and its repaired output layer."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from segjax.dlstudio import layout
from segjax.dlstudio.layout import Head
from segjax.errors import ConfigError, check_choice
from segjax.networks import layers
from segjax.settings import SIZE_MULTIPLE

Array = jax.Array

HEADS = {"dlstudio": layers.DLStudioHead, "dense": layers.DenseHead}
# The blocks that double the size have the head's flaw: a 1x1 kernel that writes one pixel in four.
UPSAMPLERS = {"dlstudio": layers.Upsample, "dense": layers.DenseHead}
MIN_DEPTH, MAX_DEPTH = 2, 64


class SkipBlock(layers.Typed):
    """One or two 3x3 convolutions, an optional change of size, a skip.

    DLStudio's SkipBlockDN, which can halve the size, and with ``up`` its SkipBlockUP, whose
    convolutions are transposed and which can double it.
    """

    features: int
    up: bool
    resample: bool = False
    upsampling: Head = "dlstudio"
    skip_connections: bool = True

    @nn.compact
    def __call__(self, x: Array, *, train: bool, overwritten: int = 0) -> Array:
        """Map [B, H, W, I] to [B, H', W', features], H' = H unless it resamples.

        The caller throws the first ``overwritten`` channels away. They are still computed, for
        their running statistics.
        """
        same = x.shape[-1] == self.features
        out = x
        for number in (1, 2) if same else (1,):
            name = f"{'convoT' if self.up else 'convo'}{number}"
            convolution = layers.Conv(self.features, transposed=self.up, name=name, **self.kinds)
            out = convolution(out, overwritten if number == 2 and not self.resample else 0)
            norm = layers.BatchNorm(name=f"bn{number}", **self.kinds)
            out = layers.relu(norm(out, train=train))
        if self.resample:
            kind = UPSAMPLERS[self.upsampling] if self.up else layers.Downsample
            name = "upsampler" if self.up else "downsampler"
            resampler = kind(self.features, name=name, **self.kinds)
            out, x = resampler(out), resampler(x)
        if not self.skip_connections:
            return out
        if not same:
            x = x[..., self.features :] if self.up else jnp.concatenate([x, x], axis=-1)
        return out + x


class MUnet(layers.Typed):
    """DLStudio's mUnet, drawn as it runs; parameters that never run there do not exist here.

    ``apply(variables, images, train=...)`` maps raw images [B, H, W, 3] (any real dtype, 0..255; H
    and W multiples of 8) to [B, H, W, num_classes] in ``dtype``, unbounded. Module names are
    DLStudio's attribute names.

    Attributes:
      depth: DLStudio's constructor argument, 2 to 64; ``depth // 2`` blocks a stage.
      skip_connections: keep the additions inside blocks. The concatenations across the U stay.
      head: 'dlstudio' writes one output pixel in four, 'dense' writes all of them.
      upsampling: the same choice for the two blocks that double the size on the way up.
      num_classes: output channels.
      input_scale: factor on the images before the first layer; DLStudio feeds them raw.
      dtype: compute dtype; batch-norm statistics stay float32 at least.
      param_dtype: dtype of the parameters.

    Raises ConfigError at construction or trace time for a depth, head, class count or image size
    that cannot work. Source: DLStudio 2.3.6 to 2.5.8, class SemanticSegmentation.mUnet.
    """

    depth: int = 16
    skip_connections: bool = True
    head: Head = "dlstudio"
    upsampling: Head = "dlstudio"
    num_classes: int = 5
    input_scale: float = 1.0

    def __post_init__(self) -> None:
        if not MIN_DEPTH <= self.depth <= MAX_DEPTH:
            raise ConfigError(f"depth={self.depth}: mUnet's depth is {MIN_DEPTH} to {MAX_DEPTH}")
        check_choice(f"head={self.head!r}", self.head, HEADS)
        check_choice(f"upsampling={self.upsampling!r}", self.upsampling, UPSAMPLERS)
        if self.num_classes < 1:
            raise ConfigError(f"num_classes={self.num_classes}: at least one class is needed")
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Array, *, train: bool) -> Array:
        """Return the class maps; see the class for shapes."""
        check_image_shape(images.shape)
        half, early = self.depth // 2, self.depth // 2 // 4
        common: dict[str, Any] = {"skip_connections": self.skip_connections} | self.kinds
        common["upsampling"] = self.upsampling

        def block(features: int, name: str, **settings: Any) -> SkipBlock:
            return SkipBlock(features, name=name, **settings, **common)

        def run(x: Array, *blocks: SkipBlock, **last: int) -> Array:
            for one in blocks:
                x = one(x, train=train, **(last if one is blocks[-1] else {}))
            return x

        def row(features: int, arm: str, first: int, end: int = half) -> list[SkipBlock]:
            names = (f"skip{features}{arm}_arr_{i}" for i in range(first, end))
            return [block(features, name, up=arm == "UP") for name in names]

        def batch_norm(x: Array, name: str) -> Array:
            return layers.BatchNorm(name=name, **self.kinds)(x, train=train)

        # Down the left arm of the U. The saved halves are joined in again on the way up.
        x = images.astype(self.dtype) * jnp.asarray(self.input_scale, self.dtype)
        x = layers.relu(layers.Conv(64, name="conv_in", **self.kinds)(x))
        x = layers.max_pool_2x2(x)
        x = run(x, *row(64, "DN", 0, early))
        saved1 = x[..., :32]
        x = run(x, block(64, "skip64dsDN", up=False, resample=True))
        x = run(x, *row(64, "DN", early))
        x = batch_norm(x, "bn1DN")
        saved2 = x[..., :32]
        x = run(x, block(128, "skip64to128DN", up=False))
        x = run(x, *row(128, "DN", 0, early))
        x = batch_norm(x, "bn2DN")
        saved3 = x[..., :64]
        x = run(x, *row(128, "DN", early))
        x = run(x, block(128, "skip128dsDN", up=False, resample=True))

        # Up the right arm. These 128-channel blocks run twice a pass, with the same weights.
        x = run(x, block(128, "skip128usUP", up=True, resample=True))
        twice = row(128, "UP", 0, early)
        x = run(x, *twice, overwritten=64)
        x = jnp.concatenate([saved3, x[..., 64:]], axis=-1)
        x = batch_norm(x, "bn1UP")
        x = run(x, *twice)
        x = run(x, block(64, "skip128to64UP", up=True))
        x = run(x, *row(64, "UP", early), overwritten=32)
        x = jnp.concatenate([saved2, x[..., 32:]], axis=-1)
        x = batch_norm(x, "bn2UP")
        x = run(x, block(64, "skip64usUP", up=True, resample=True))
        x = run(x, *row(64, "UP", 0, early), overwritten=32)
        x = jnp.concatenate([saved1, x[..., 32:]], axis=-1)
        return HEADS[self.head](self.num_classes, name="conv_out", **self.kinds)(x)


def check_image_shape(shape: tuple[int, ...]) -> None:
    """Raise ConfigError unless ``shape`` is [B, H, W, C] with H and W multiples of 8."""
    if len(shape) != 4:
        raise ConfigError(
            f"images have shape {shape}; networks take [batch, height, width, channel]"
        )
    if any(side < SIZE_MULTIPLE or side % SIZE_MULTIPLE for side in shape[1:3]):
        raise ConfigError(
            f"images are {shape[1]}x{shape[2]} pixels; networks halve three times, so height "
            f"and width must be multiples of {SIZE_MULTIPLE}"
        )


def count_parameters(params: Any) -> int:
    """Return how many numbers a parameter tree holds."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def dlstudio_parameter_count(depth: int, num_classes: int = 5) -> int:
    """Return how many parameters DLStudio reports for its mUnet of this depth.

    It counts what is constructed, run or not: each block with a change of width owns a second
    convolution and batch norm that never run, and the 128-channel up blocks beyond the first
    quarter never run either.
    """
    constructed = layout.tensors(layout.Kind(depth, num_classes=num_classes))
    return sum(math.prod(one.shape) for one in constructed if one.part in ("weight", "bias"))
