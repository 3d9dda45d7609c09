"""What a network consists of: its layers, their shapes, parameters and arithmetic."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from segjax.networks import layers
from segjax.networks.munet import count_parameters

CONVOLUTIONS = (
    layers.Conv,
    layers.Downsample,
    layers.Upsample,
    layers.DLStudioHead,
    layers.DenseHead,
    layers.Pointwise,
)
BATCH_NORM_FLOPS = 3  # a pixel and channel: subtract the mean, scale, shift


@dataclasses.dataclass(frozen=True)
class Layer:
    """One use of a layer; a layer that runs twice has two rows and its parameters in the first.

    Attributes:
      name: DLStudio's attribute names, joined by '/'.
      kind: the layer's class.
      output: its output's shape for one image, [H, W, C].
      parameters: how many numbers it learns.
      flops: additions and multiplications for one image.
    """

    name: str
    kind: str
    output: tuple[int, int, int]
    parameters: int
    flops: int


def layers_of(model: nn.Module, *, size: tuple[int, int] = (64, 64)) -> list[Layer]:
    """Return the layers in the order in which they run on an image of ``size``.

    Nothing is computed: shapes are traced.
    """
    rows: list[Layer] = []
    seen: set[str] = set()

    def note(run: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        result = run(*args, **kwargs)
        module = context.module
        if isinstance(module, (*CONVOLUTIONS, layers.BatchNorm)):
            name = "/".join(module.path)
            own = 0 if name in seen else count_parameters(module.variables["params"])
            seen.add(name)
            shape = tuple(result.shape[1:])
            flops = flops_of(module, args[0].shape[1:], shape)
            rows.append(Layer(name, type(module).__name__, shape, own, flops))
        return result

    def trace(images: jax.Array) -> Any:
        with nn.intercept_methods(note):
            return model.init(jax.random.key(0), images, train=False)

    jax.eval_shape(trace, jax.ShapeDtypeStruct((1, *size, 3), jnp.float32))
    return rows


def flops_of(
    module: nn.Module, inputs: tuple[int, ...], outputs: tuple[int, ...], *, padding: bool = True
) -> int:
    """Return the additions and multiplications of one layer for one image.

    A multiply-add counts as two, as in most papers; a bias adds one for each output. A 3x3
    convolution at H x W takes 9 H W I O multiply-adds, or (3H - 2)(3W - 2) I O without those on its
    padding, which is XLA's count. Only pixels that a layer computes count: DLStudio's upsamplers
    and output layer write the bias to three of four.

    Args:
      module: a layer of ``segjax.networks.layers``.
      inputs: [H, W, I] of its input.
      outputs: [H', W', O] of its output.
      padding: count the multiply-adds on padding.
    """
    height, width, channels = inputs
    written = outputs[0] * outputs[1] * outputs[2]
    if isinstance(module, layers.BatchNorm):
        return BATCH_NORM_FLOPS * written
    if isinstance(module, layers.Conv | layers.DLStudioHead):
        taps = 9 * height * width if padding else (3 * height - 2) * (3 * width - 2)
    elif isinstance(module, layers.DenseHead):
        taps = 4 * height * width
    elif isinstance(module, layers.Upsample):
        taps = height * width
    else:
        taps = outputs[0] * outputs[1]
    return 2 * taps * channels * outputs[2] + written


def lines_of(model: nn.Module, *, size: tuple[int, int] = (64, 64)) -> list[str]:
    """Return the summary as lines of text."""
    rows = layers_of(model, size=size)
    width = max(len(row.name) for row in rows)
    lines = [f"{'layer':{width}}  {'kind':12}  {'output':>13}  {'parameters':>10}  {'MFLOPs':>9}"]
    for row in rows:
        shape = "x".join(map(str, row.output))
        lines.append(
            f"{row.name:{width}}  {row.kind:12}  {shape:>13}  {row.parameters:>10,}"
            f"  {row.flops / 1e6:>9,.2f}"
        )
    total = sum(row.flops for row in rows)
    parameters = sum(row.parameters for row in rows)
    lines.append(
        f"{'total':{width}}  {len(rows):<12}  {'':>13}  {parameters:>10,}  {total / 1e6:>9,.2f}"
    )
    lines.append(
        f"one image of {size[0]}x{size[1]}; a multiply-add is two FLOPs; relu, pooling and the "
        "additions between layers are left out; a training step takes about three times as much"
    )
    return lines
