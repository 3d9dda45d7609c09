"""A small U-Net that spends its arithmetic where a CPU is quick: many channels, few pixels."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from segjax.networks import layers
from segjax.networks.munet import check_image_shape

Array = jax.Array


class ConvNormRelu(layers.Typed):
    """A 3x3 convolution, batch norm and relu, added to the input where ``residual``."""

    features: int
    residual: bool = True

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Map [B, H, W, I] to [B, H, W, features]; with ``residual`` I is features."""
        out = layers.Conv(self.features, name="conv", **self.kinds)(x)
        out = layers.relu(layers.BatchNorm(name="bn", **self.kinds)(out, train=train))
        return x + out if self.residual else out


class UNet(layers.Typed):
    """A U-Net on patches of pixels, with residual blocks and sums across the U.

    The first layer reads patches of ``patch`` x ``patch`` pixels as channels (space to depth), so
    nothing is computed at full resolution, and nothing is lost; the last one writes patches back.
    Each level below has half the height and width: 2x2 pixels become one by a matrix product, and
    one becomes 2x2 on the way up, where the left arm's output is added.

    ``apply(variables, images, train=...)`` maps raw images [B, H, W, 3] (any real dtype, 0..255; H
    and W multiples of 8) to [B, H, W, num_classes] in ``dtype``, unbounded.

    Attributes:
      widths: channels of each level, from the finest down.
      patch: side of a patch; ``patch * 2 ** (len(widths) - 1)`` is at most 8.
      blocks: residual 3x3 convolutions of a level on each arm; the lowest level has twice as many.
      num_classes: output channels.
      input_scale: factor on the images before the first layer.
      dtype: compute dtype; batch-norm statistics stay float32 at least.
      param_dtype: dtype of the parameters.

    Raises ConfigError at trace time for an image size that cannot work.
    """

    widths: tuple[int, ...] = (32, 64, 128)
    patch: int = 2
    blocks: int = 1
    num_classes: int = 5
    input_scale: float = 1.0

    @nn.compact
    def __call__(self, images: Array, *, train: bool) -> Array:
        """Return the class maps; see the class for shapes."""
        check_image_shape(images.shape)
        kinds = self.kinds

        def run(x: Array, features: int, name: str, count: int) -> Array:
            for i in range(count):
                x = ConvNormRelu(features, name=f"{name}_{i}", **kinds)(x, train=train)
            return x

        x = images.astype(self.dtype) * jnp.asarray(self.input_scale, self.dtype)
        x = layers.space_to_depth(x, self.patch)
        x = ConvNormRelu(self.widths[0], residual=False, name="stem", **kinds)(x, train=train)
        skips, levels = [], list(enumerate(self.widths[:-1]))
        for level, features in levels:
            x = run(x, features, f"down{level}", self.blocks)
            skips.append(x)
            x = layers.space_to_depth(x, 2)
            x = layers.Pointwise(self.widths[level + 1], name=f"halve{level}", **kinds)(x)
            x = layers.relu(layers.BatchNorm(name=f"halve{level}_bn", **kinds)(x, train=train))
        x = run(x, self.widths[-1], "bottom", 2 * self.blocks)
        for level, features in reversed(levels):
            x = layers.Pointwise(4 * features, name=f"double{level}", **kinds)(x)
            x = skips[level] + layers.depth_to_space(x, 2)
            x = layers.BatchNorm(name=f"double{level}_bn", **kinds)(x, train=train)
            x = run(x, features, f"up{level}", self.blocks)
        x = layers.Pointwise(self.patch**2 * self.num_classes, name="conv_out", **kinds)(x)
        return layers.depth_to_space(x, self.patch)
