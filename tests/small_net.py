"""Networks that compile in a second, for tests of what is around them."""

import flax.linen as nn

from segjax.config import Config
from segjax.networks.layers import BatchNorm, Conv, DenseHead, max_pool_2x2, relu

# What makes a run's settings those of the smallest network that they can describe.
SMALL = {
    "network": "unet",
    "head": "dense",
    "unet_widths": "8",
    "unet_patch": 4,
    "depth": Config.depth,
}


class SmallNet(nn.Module):
    """Each weight has a gradient: a bias that a batch norm takes out again has only rounding."""

    num_classes: int = 5

    @nn.compact
    def __call__(self, images, *, train):
        x = images.astype("float32") / 255.0
        x = max_pool_2x2(nn.tanh(Conv(8, name="conv_in")(x)))
        x = BatchNorm(name="bn")(x, train=train)
        x = relu(Conv(8, name="conv")(x))
        return DenseHead(self.num_classes, name="conv_out")(x)
