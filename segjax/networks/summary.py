"""What a network consists of: its layers, their shapes, parameters and arithmetic."""

import dataclasses
import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from segjax.networks import layers
from segjax.networks.munet import count_parameters

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
    """Return the layers in the order in which they run on an image of ``size``; only traces."""
    rows: list[Layer] = []
    seen: set[str] = set()

    def note(run: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        result = run(*args, **kwargs)
        module = context.module
        if isinstance(module, layers.Convolution | layers.BatchNorm):
            name = "/".join(module.path)
            own = 0 if name in seen else count_parameters(module.variables["params"])
            seen.add(name)
            shape = tuple(result.shape[1:])
            flops = flops_of(module, args[0].shape[1:], shape)
            rows.append(Layer(name, type(module).__name__, shape, own, flops))
        return result

    image = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    with nn.intercept_methods(note):
        jax.eval_shape(functools.partial(model.init, train=False), jax.random.key(0), image)
    return rows


def flops_of(
    module: nn.Module, inputs: tuple[int, ...], outputs: tuple[int, ...], *, padding: bool = True
) -> int:
    """Return the additions and multiplications of one layer for one image.

    A multiply-add counts as two, as in most papers; a bias adds one for each output. A 3x3
    convolution at H x W takes 9 H W I O multiply-adds, or (3H - 2)(3W - 2) I O without those on its
    padding, which is XLA's count. Only pixels that a layer computes count: DLStudio's upsamplers
    and output layer write the bias to three of four. Input [H, W, I], output [H', W', O].
    """
    height, width, channels = inputs
    written = math.prod(outputs)
    if isinstance(module, layers.BatchNorm):
        return BATCH_NORM_FLOPS * written
    if isinstance(module, layers.Conv | layers.DLStudioHead):
        taps = 9 * height * width if padding else (3 * height - 2) * (3 * width - 2)
    elif isinstance(module, layers.DenseHead):
        taps = 4 * height * width
    else:
        taps = min(height * width, outputs[0] * outputs[1])
    return 2 * taps * channels * outputs[2] + written


def lines_of(model: nn.Module, *, size: tuple[int, int] = (64, 64)) -> list[str]:
    """Return the summary as lines of text."""
    rows = layers_of(model, size=size)
    width = max(len(row.name) for row in rows)
    totals = sum(row.parameters for row in rows), sum(row.flops for row in rows)
    table = [(r.name, r.kind, "x".join(map(str, r.output)), r.parameters, r.flops) for r in rows]
    return [
        f"{'layer':{width}}  {'kind':12}  {'output':>13}  {'parameters':>10}  {'MFLOPs':>9}",
        *(
            f"{name:{width}}  {kind:12}  {shape:>13}  {parameters:>10,}  {flops / 1e6:>9,.2f}"
            for name, kind, shape, parameters, flops in [
                *table,
                ("total", str(len(rows)), "", *totals),
            ]
        ),
        f"one image of {size[0]}x{size[1]}; a multiply-add is two FLOPs; relu, pooling and the "
        "additions between layers are left out; a training step takes about three times as much",
    ]
