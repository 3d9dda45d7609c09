"""mUnet: the segmentation network of DLStudio 2.3.6, and its repaired output layer."""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from segjax.errors import ConfigError
from segjax.networks import layers
from segjax.settings import SIZE_MULTIPLE

Array = jax.Array
Dtype = Any
Head = Literal["dlstudio", "dense"]

HEADS = {"dlstudio": layers.DLStudioHead, "dense": layers.DenseHead}
# The blocks that double the size have the head's flaw: a 1x1 kernel that writes one pixel in four.
UPSAMPLERS = {"dlstudio": layers.Upsample, "dense": layers.DenseHead}
MIN_DEPTH, MAX_DEPTH = 2, 64


class DownBlock(nn.Module):
    """DLStudio's SkipBlockDN: one or two 3x3 convolutions, an optional halving, a skip."""

    features: int
    downsample: bool = False
    skip_connections: bool = True
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Map [B, H, W, I] to [B, H', W', features], H' = H/2 with ``downsample``, else H."""
        kinds = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        same = x.shape[-1] == self.features
        out = layers.Conv(self.features, name="convo1", **kinds)(x)
        out = layers.relu(layers.BatchNorm(name="bn1", **kinds)(out, train=train))
        if same:
            out = layers.Conv(self.features, name="convo2", **kinds)(out)
            out = layers.relu(layers.BatchNorm(name="bn2", **kinds)(out, train=train))
        if self.downsample:
            downsampler = layers.Downsample(self.features, name="downsampler", **kinds)
            out, x = downsampler(out), downsampler(x)
        if not self.skip_connections:
            return out
        return out + (x if same else jnp.concatenate([x, x], axis=-1))


class UpBlock(nn.Module):
    """DLStudio's SkipBlockUP: one or two 3x3 transposed convolutions, an optional doubling."""

    features: int
    upsample: bool = False
    upsampling: Head = "dlstudio"
    skip_connections: bool = True
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool, overwritten: int = 0) -> Array:
        """Map [B, H, W, I] to [B, H', W', features], H' = 2H with ``upsample``, else H.

        The caller throws the first ``overwritten`` channels away. They are still computed, for
        their running statistics.
        """
        kinds = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        same = x.shape[-1] == self.features
        out = layers.Conv(self.features, transposed=True, name="convoT1", **kinds)(x)
        out = layers.relu(layers.BatchNorm(name="bn1", **kinds)(out, train=train))
        if same:
            second = layers.Conv(self.features, transposed=True, name="convoT2", **kinds)
            out = second(out, 0 if self.upsample else overwritten)
            out = layers.relu(layers.BatchNorm(name="bn2", **kinds)(out, train=train))
        if self.upsample:
            upsampler = UPSAMPLERS[self.upsampling](self.features, name="upsampler", **kinds)
            out, x = upsampler(out), upsampler(x)
        if not self.skip_connections:
            return out
        return out + (x if same else x[..., self.features :])


class MUnet(nn.Module):
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
    that cannot work. Source: DLStudio 2.3.6, class SemanticSegmentation.mUnet.
    """

    depth: int = 16
    skip_connections: bool = True
    head: Head = "dlstudio"
    upsampling: Head = "dlstudio"
    num_classes: int = 5
    input_scale: float = 1.0
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    def __post_init__(self) -> None:
        if not MIN_DEPTH <= self.depth <= MAX_DEPTH:
            raise ConfigError(f"depth={self.depth}: mUnet's depth is {MIN_DEPTH} to {MAX_DEPTH}")
        if self.head not in HEADS:
            raise ConfigError(f"head={self.head!r}: choose one of {', '.join(HEADS)}")
        if self.upsampling not in UPSAMPLERS:
            raise ConfigError(
                f"upsampling={self.upsampling!r}: choose one of {', '.join(UPSAMPLERS)}"
            )
        if self.num_classes < 1:
            raise ConfigError(f"num_classes={self.num_classes}: at least one class is needed")
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Array, *, train: bool) -> Array:
        """Return the class maps; see the class for shapes."""
        check_image_shape(images.shape)
        kinds = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        block = {"skip_connections": self.skip_connections, **kinds}
        doubling = {"upsample": True, "upsampling": self.upsampling, **block}
        half, early = self.depth // 2, self.depth // 2 // 4

        def run(x: Array, *blocks: nn.Module, **last: int) -> Array:
            for one in blocks:
                x = one(x, train=train, **(last if one is blocks[-1] else {}))
            return x

        def row(
            kind: type[DownBlock] | type[UpBlock],
            features: int,
            name: str,
            first: int = 0,
            end: int | None = None,
        ) -> list[nn.Module]:
            ends = half if end is None else end
            return [kind(features, name=f"{name}_{i}", **block) for i in range(first, ends)]

        def batch_norm(x: Array, name: str) -> Array:
            return layers.BatchNorm(name=name, **kinds)(x, train=train)

        # Down the left arm of the U. The saved halves are joined in again on the way up.
        x = images.astype(self.dtype) * jnp.asarray(self.input_scale, self.dtype)
        x = layers.relu(layers.Conv(64, name="conv_in", **kinds)(x))
        x = layers.max_pool_2x2(x)
        x = run(x, *row(DownBlock, 64, "skip64DN_arr", 0, early))
        saved1 = x[..., :32]
        x = run(x, DownBlock(64, downsample=True, name="skip64dsDN", **block))
        x = run(x, *row(DownBlock, 64, "skip64DN_arr", early))
        x = batch_norm(x, "bn1DN")
        saved2 = x[..., :32]
        x = run(x, DownBlock(128, name="skip64to128DN", **block))
        x = run(x, *row(DownBlock, 128, "skip128DN_arr", 0, early))
        x = batch_norm(x, "bn2DN")
        saved3 = x[..., :64]
        x = run(x, *row(DownBlock, 128, "skip128DN_arr", early))
        x = run(x, DownBlock(128, downsample=True, name="skip128dsDN", **block))

        # Up the right arm. These 128-channel blocks run twice a pass, with the same weights.
        x = run(x, UpBlock(128, name="skip128usUP", **doubling))
        twice = row(UpBlock, 128, "skip128UP_arr", 0, early)
        x = run(x, *twice, overwritten=64)
        x = jnp.concatenate([saved3, x[..., 64:]], axis=-1)
        x = batch_norm(x, "bn1UP")
        x = run(x, *twice)
        x = run(x, UpBlock(64, name="skip128to64UP", **block))
        x = run(x, *row(UpBlock, 64, "skip64UP_arr", early), overwritten=32)
        x = jnp.concatenate([saved2, x[..., 32:]], axis=-1)
        x = batch_norm(x, "bn2UP")
        x = run(x, UpBlock(64, name="skip64usUP", **doubling))
        x = run(x, *row(UpBlock, 64, "skip64UP_arr", 0, early), overwritten=32)
        x = jnp.concatenate([saved1, x[..., 32:]], axis=-1)
        return HEADS[self.head](self.num_classes, name="conv_out", **kinds)(x)


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
    half = depth // 2

    def conv(inputs: int, outputs: int, size: int = 3) -> int:
        return inputs * outputs * size * size + outputs

    def block(inputs: int, outputs: int, *, resamples: bool = False) -> int:
        return (
            2 * conv(inputs, outputs)
            + 2 * 2 * outputs
            + (conv(inputs, outputs, 1) if resamples else 0)
        )

    widths = 2 * half * (block(64, 64) + block(128, 128))
    resampling = 2 * (block(64, 64, resamples=True) + block(128, 128, resamples=True))
    crossing = block(64, 128) + block(128, 64)
    norms = 2 * (2 * 64 + 2 * 128)
    return conv(3, 64) + widths + resampling + crossing + norms + conv(64, num_classes)
