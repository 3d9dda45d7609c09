"""A network of mUnet's layers that compiles in a second, for tests of what is around it."""

import flax.linen as nn

from segjax.networks.layers import BatchNorm, Conv, DenseHead, max_pool_2x2, relu


class SmallNet(nn.Module):
    """Each weight has a gradient: a bias that a batch norm takes out again has only rounding."""

    num_classes: int = 5

    @nn.compact
    def __call__(self, images, *, train):
        x = max_pool_2x2(nn.tanh(Conv(8, name="conv_in")(images / 255.0)))
        x = BatchNorm(name="bn")(x, train=train)
        x = relu(Conv(8, name="conv")(x))
        return DenseHead(self.num_classes, name="conv_out")(x)
