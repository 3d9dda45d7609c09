"""The 3x3 convolution of mUnet, in forms that XLA runs fast.

XLA computes the gradient of a kernel as a convolution whose window is the whole image and whose
channels are the batch: four, where the vector units take sixteen numbers at once.
``width_gradient`` writes the same sums with the image's columns as the channels, which also copies
a third as much, and for images, whose channels are few, ``patch_gradient`` writes them as one
product. Narrow dtypes keep the compiler's gradient. On a GPU small batches are products of patches
throughout: one run's are a little faster than cuDNN's convolutions, and those of many runs stay
products, where convolutions would become grouped ones.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array

NHWC = ("NHWC", "HWIO", "NHWC")
GPU_PATCHES = 4 * 64 * 64  # pixels of a batch, up to which a GPU takes products of patches


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv(x: Array, kernel: Array, overwritten: int = 0) -> Array:
    """Correlate ``x`` [B, H, W, I] with ``kernel`` [3, 3, I, O], zero-padded to the same size.

    The first ``overwritten`` channels of the result are known to reach no loss: they get no
    gradient, which saves the products with its zeros.
    """
    return fastest_conv(x)(x, kernel)


def plain_conv(x: Array, kernel: Array) -> Array:
    """Compute what ``conv`` does, with the gradients left to JAX."""
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC)


def kernel_gradient(x: Array, g: Array) -> Array:
    """Return the gradient by the kernel, [3, 3, I, O], as a convolution over batch channels.

    ``x`` [B, H, W, I] is the input, ``g`` [B, H, W, O] the gradient by the output. The operands are
    transposed outright: inside a loop, XLA:CPU takes a slow path for the form that JAX's own
    gradient has (https://github.com/jax-ml/jax/issues/12868).
    """
    x, g = x.transpose(3, 1, 2, 0), g.transpose(1, 2, 0, 3)
    by_kernel = lax.conv_general_dilated(x, g, (1, 1), ((1, 1), (1, 1)), dimension_numbers=NHWC)
    return by_kernel.transpose(1, 2, 0, 3)


def width_gradient(x: Array, g: Array) -> Array:
    """Return the same gradient as a convolution over batch and rows, columns being its channels.

    ``g`` is laid three times side by side, one column apart each, for the kernel's three columns.
    """
    inputs, outputs = x.shape[-1], g.shape[-1]
    later = jnp.pad(g[:, :, 1:], ((0, 0), (0, 0), (0, 1), (0, 0)))
    earlier = jnp.pad(g[:, :, :-1], ((0, 0), (0, 0), (1, 0), (0, 0)))
    # Stacking on a new axis is several times faster here than concatenating channels.
    columns = jnp.stack([later, g, earlier], axis=3).reshape(*g.shape[:3], 3 * outputs)
    channels = x.reshape(-1, inputs).T.reshape(inputs, *x.shape[:3])
    by_kernel = lax.conv_general_dilated(
        channels, columns, (1, 1), ((0, 0), (1, 1)), dimension_numbers=NHWC
    )
    return by_kernel.reshape(inputs, 3, 3, outputs).transpose(1, 2, 0, 3)


def patches(x: Array) -> Array:
    """Lay the 3x3 neighbours of each pixel of ``x`` [B, H, W, I] side by side: [B, H, W, 9 * I]."""
    height, width = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return jnp.concatenate(taps, axis=-1)


def patch_conv(x: Array, kernel: Array) -> Array:
    """Compute ``plain_conv`` as a product of all 3x3 patches of ``x`` with ``kernel``."""
    return patches(x) @ kernel.reshape(-1, kernel.shape[-1])


def patch_gradient(x: Array, g: Array) -> Array:
    """Return the same gradient as a product of all 3x3 patches of ``x`` with ``g``."""
    inputs, outputs = x.shape[-1], g.shape[-1]
    rows = patches(x).reshape(-1, 9 * inputs)
    return (rows.T @ g.reshape(-1, outputs)).reshape(3, 3, inputs, outputs)


def by_patches(x: Array) -> bool:
    """Whether the default backend runs convolutions of ``x`` fastest as products of patches."""
    return jax.default_backend() == "gpu" and math.prod(x.shape[:3]) <= GPU_PATCHES


def fastest_conv(x: Array) -> Callable[[Array, Array], Array]:
    """Return the fastest form of the convolution of ``x`` [B, H, W, I]."""
    return patch_conv if by_patches(x) else plain_conv


def fastest_gradient(x: Array, g: Array) -> Callable[[Array, Array], Array]:
    """Return the fastest of the gradients for an input ``x`` [B, H, W, I] and ``g`` [B, H, W, O].

    Decided while tracing: ``lax.platform_dependent`` leaves calls behind that nothing fuses across.
    """
    if by_patches(x):
        return patch_gradient
    if jax.default_backend() != "cpu" or x.dtype not in (jnp.float32, jnp.float64):
        return kernel_gradient
    if 9 * x.shape[-1] <= g.shape[-1]:
        return patch_gradient
    return width_gradient


def _forward(x: Array, kernel: Array, overwritten: int) -> tuple[Array, tuple[Array, Array]]:
    return fastest_conv(x)(x, kernel), (x, kernel)


def _backward(overwritten: int, saved: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    x, kernel = saved
    kernel, g = kernel[..., overwritten:], g[..., overwritten:]
    flipped = kernel[::-1, ::-1].swapaxes(2, 3)
    by_kernel = fastest_gradient(x, g)(x, g)
    return fastest_conv(g)(g, flipped), jnp.pad(by_kernel, [(0, 0)] * 3 + [(overwritten, 0)])


conv.defvjp(_forward, _backward)
