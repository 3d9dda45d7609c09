"""The few layers that mUnet is made of, with PyTorch's initial values and batch-norm statistics.

All arrays are NHWC. Transposed convolutions are written as what they compute, so that no program
multiplies the zeros that a transposed convolution inserts:

* stride 1: an ordinary convolution (kernels are stored in that orientation, already flipped);
* kernel 1, stride 2, output_padding 1: a matrix product whose result fills the even pixels;
* kernel 2, stride 2: a matrix product whose result is laid out as 2x2 blocks.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from segjax.networks.conv import conv
from segjax.networks.norm import BATCH_NORM_EPSILON, normalise, per_channel, wide_dtype

Array = jax.Array
Dtype = Any

BATCH_NORM_MOMENTUM = 0.9  # Flax's convention: PyTorch calls this 0.1
DRAWS = (128, 9 * 128 * 128)  # lengths that hold mUnet's biases and its kernels


def torch_uniform(fan_in: int) -> nn.initializers.Initializer:
    """Return PyTorch's default initialiser, uniform in +-1/sqrt(fan_in).

    PyTorch uses it for the kernels and the biases of convolutions. ``fan_in`` is in*k*k for a
    convolution and, because PyTorch reads it off the kernel's second axis, out*k*k for a
    transposed one.
    """
    bound = 1.0 / math.sqrt(fan_in)

    def init(key: Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32, **_: Any) -> Array:
        # A draw of one length is compiled once; JAX's numbers do not depend on how many follow.
        size = math.prod(shape)
        length = next((length for length in DRAWS if size <= length), size)
        return jax.random.uniform(key, (length,), dtype, -bound, bound)[:size].reshape(shape)

    return init


def spread_even(x: Array) -> Array:
    """Place ``x`` [B, H, W, C] on the even rows and columns of zeros [B, 2H, 2W, C]."""
    gaps = (0, 1, 1)
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), gaps, gaps, (0, 0, 0)])


def depth_to_space(x: Array, size: int = 2) -> Array:
    """Lay ``x`` [B, H, W, size*size*C] out as [B, size*H, size*W, C].

    Its channels are ordered (row, column, c).
    """
    batch, height, width, channels = x.shape
    features = channels // size**2
    x = x.reshape(batch, height, width, size, size, features)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, size * height, size * width, features)


def space_to_depth(x: Array, size: int = 2) -> Array:
    """Undo ``depth_to_space``: [B, H, W, C] to [B, H/size, W/size, size*size*C]."""
    batch, height, width, features = x.shape
    x = x.reshape(batch, height // size, size, width // size, size, features)
    x = x.transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, height // size, width // size, size**2 * features)


def relu(x: Array) -> Array:
    """Replace what is below zero by zero; a NaN stays one.

    Written as a choice: XLA computes a maximum anew, with the batch norm before it, for every one
    of its readers on the CPU.
    """
    return jnp.where(x <= 0, jnp.zeros((), x.dtype), x)


def max_pool_2x2(x: Array) -> Array:
    """Take the maximum of each 2x2 window of ``x`` [B, H, W, C]; H and W even.

    Of equal values the first in reading order gets the gradient, as in PyTorch and
    ``nn.max_pool``. Written with slices because select-and-scatter, the usual gradient, is slow on
    CPUs and not deterministic on GPUs.
    """
    rows = _first_larger(x[:, :, 0::2], x[:, :, 1::2])
    return _first_larger(rows[:, 0::2], rows[:, 1::2])


def _first_larger(a: Array, b: Array) -> Array:
    return jnp.where((a >= b) | jnp.isnan(a), a, b)  # a NaN wins, as in PyTorch: none is hidden


class Typed(nn.Module, kw_only=True):
    """A module with a compute dtype, and a dtype of its parameters."""

    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @property
    def kinds(self) -> dict[str, Dtype]:
        """Both, as the modules inside take them."""
        return {"dtype": self.dtype, "param_dtype": self.param_dtype}


class Convolution(Typed):
    """A layer with a kernel and a bias."""

    features: int


class Conv(Convolution):
    """A 3x3 convolution, stride 1, padding 1, with bias.

    With ``transposed`` it computes PyTorch's ConvTranspose2d(kernel 3, padding 1), which is the
    same sum over a flipped kernel; only the initial distribution differs.
    """

    transposed: bool = False

    @nn.compact
    def __call__(self, x: Array, overwritten: int = 0) -> Array:
        """Map [B, H, W, I] to [B, H, W, features]; see ``conv`` for ``overwritten``."""
        kernel, bias = _weights(self, x, 3, transposed=self.transposed)
        return conv(x.astype(self.dtype), kernel, overwritten) + bias


class Downsample(Convolution):
    """A 1x1 convolution with stride 2 and bias."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map [B, H, W, I] to [B, H/2, W/2, features]; odd rows and columns are not read."""
        kernel, bias = _weights(self, x, 1, transposed=False)
        return x[:, ::2, ::2].astype(self.dtype) @ kernel[0, 0] + bias


class Upsample(Convolution):
    """A 1x1 transposed convolution with stride 2, output_padding 1 and bias.

    It writes the even rows and columns; every other pixel is the bias, as in DLStudio.
    """

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map [B, H, W, I] to [B, 2H, 2W, features]."""
        kernel, bias = _weights(self, x, 1, transposed=True)
        return spread_even(x.astype(self.dtype) @ kernel[0, 0]) + bias


class DLStudioHead(Convolution):
    """DLStudio's output layer: ConvTranspose2d(k=3, stride=2, dilation=2, padding=2).

    Stride and dilation are equal, so every tap lands on an even row and column: one pixel in four
    is computed, the other three are the channel's bias, whatever the image.
    """

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map [B, H, W, I] to [B, 2H, 2W, features]."""
        kernel, bias = _weights(self, x, 3, transposed=True)
        return spread_even(conv(x.astype(self.dtype), kernel)) + bias


class DenseHead(Convolution):
    """The repaired output layer: a transposed convolution (k=2, stride 2) that writes every pixel.

    It has fewer weights than DLStudio's (4 taps instead of 9) and does less arithmetic.
    """

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map [B, H, W, I] to [B, 2H, 2W, features]."""
        kernel, bias = _weights(self, x, 2, transposed=True)
        taps = kernel.transpose(2, 0, 1, 3).reshape(x.shape[-1], 4 * self.features)
        return depth_to_space(x.astype(self.dtype) @ taps) + bias


class Pointwise(Convolution):
    """A 1x1 convolution with bias."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map [B, H, W, I] to [B, H, W, features]."""
        kernel, bias = _weights(self, x, 1, transposed=False)
        return x.astype(self.dtype) @ kernel[0, 0] + bias


def _weights(module: Any, x: Array, size: int, *, transposed: bool) -> tuple[Array, Array]:
    """Declare kernel [k, k, I, O] and bias [O] on ``module``; return them in its compute dtype.

    The bias comes as [1, 1, 1, O], to be added to NHWC.
    """
    inputs, outputs = x.shape[-1], module.features
    init = torch_uniform((outputs if transposed else inputs) * size * size)
    kernel = module.param("kernel", init, (size, size, inputs, outputs), module.param_dtype)
    bias = module.param("bias", init, (outputs,), module.param_dtype)
    return kernel.astype(module.dtype), per_channel(bias.astype(module.dtype), x)


class BatchNorm(Typed):
    """Batch normalisation over all axes but the last, with PyTorch's running statistics.

    Differs from ``flax.linen.BatchNorm`` in one number: the running variance takes in the unbiased
    batch variance (n - 1), as PyTorch's does; the batch itself is normalised by the biased one.
    Statistics are float32 at least, whatever the compute dtype.
    """

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Normalise ``x`` [..., C] by its own statistics if ``train``, else by the running ones."""
        channels = (x.shape[-1],)
        wide = wide_dtype(self.param_dtype)
        scale = self.param("scale", nn.initializers.ones, channels, self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, channels, self.param_dtype)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels, wide)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels, wide)
        if not train:
            mean, var = running_mean.value, running_var.value
            factor = scale.astype(wide) * lax.rsqrt(var + BATCH_NORM_EPSILON)
            mean, factor, bias = (per_channel(v, x) for v in (mean, factor, bias.astype(wide)))
            return ((x.astype(wide) - mean) * factor + bias).astype(self.dtype)
        y, mean, var = normalise(x, scale, bias)
        if self.is_mutable_collection("batch_stats") and not self.is_initializing():
            count = x.size // x.shape[-1]
            keep, take = BATCH_NORM_MOMENTUM, 1.0 - BATCH_NORM_MOMENTUM
            unbiased = var * (count / max(count - 1, 1))
            running_mean.value = keep * running_mean.value + take * mean
            running_var.value = keep * running_var.value + take * unbiased
        return y.astype(self.dtype)
