"""Which pixels a transposed convolution writes: any one, not only DLStudio's.

Tap k of input i adds to output ``i * stride - padding + k * dilation``, along rows and along
columns alike. Where no tap lands the output is the channel's bias, whatever the image, and that
bounds every score (``segjax.dlstudio.floors``).
"""

import ast
from typing import Any, NamedTuple

import numpy as np

from segjax.errors import ConfigError

Pair = tuple[int, int]

# The arguments of torch.nn.ConvTranspose2d, in the order in which they need no names.
TORCH_ARGUMENTS = (
    "in_channels", "out_channels", "kernel_size", "stride", "padding", "output_padding", "groups",
    "bias", "dilation", "padding_mode", "device", "dtype",
)  # fmt: skip
MOST = 4096  # of a size or a setting


class Axis(NamedTuple):
    """A transposed convolution along rows or columns."""

    kernel_size: int
    stride: int
    padding: int
    output_padding: int
    dilation: int

    @property
    def reach(self) -> int:
        """How much longer outputs are than the inputs' strides."""
        taps = self.dilation * (self.kernel_size - 1)
        return taps + self.output_padding + 1 - 2 * self.padding

    def outputs(self, inputs: int) -> int:
        """Return the length of the outputs; below 1 there are none."""
        return (inputs - 1) * self.stride + self.reach

    def inputs(self, outputs: int) -> int | None:
        """Return the length of the inputs that become ``outputs``, or None."""
        steps, odd = divmod(outputs - self.reach, self.stride)
        return None if odd or steps < 0 else steps + 1

    def taps(self, inputs: int) -> np.ndarray:
        """Return how many taps reach each output, int64."""
        starts, length = np.arange(inputs) * self.stride - self.padding, self.outputs(inputs)
        at = np.add.outer(starts, np.arange(self.kernel_size) * self.dilation)
        return np.bincount(at[(at >= 0) & (at < length)], minlength=length)


class TransposedConv(NamedTuple):
    """The geometry of a transposed convolution; `transposed_conv` makes one."""

    rows: Axis
    columns: Axis

    def output_size(self, inputs: Pair) -> Pair:
        """Return the height and width that ``inputs`` become; ConfigError if nothing is left."""
        height, width = (axis.outputs(n) for axis, n in zip(self, inputs, strict=True))
        if not 1 <= min(*inputs, height, width) <= max(*inputs, height, width) <= MOST:
            raise ConfigError(
                f"inputs of {inputs[0]}x{inputs[1]} become {height}x{width} pixels; sides of 1 to "
                f"{MOST} can be told"
            )
        return height, width

    def taps(self, inputs: Pair) -> np.ndarray:
        """Return how many taps reach each output pixel, int64 [H', W']; ConfigError as above."""
        self.output_size(inputs)
        return np.multiply.outer(self.rows.taps(inputs[0]), self.columns.taps(inputs[1]))

    def written(self, outputs: Pair) -> np.ndarray:
        """Return which pixels of ``outputs`` any tap reaches, bool [H', W'].

        ConfigError if no inputs become outputs of this height and width.
        """
        height, width = (axis.inputs(n) for axis, n in zip(self, outputs, strict=True))
        if height is None or width is None:
            raise ConfigError(f"this layer never makes {outputs[0]}x{outputs[1]} pixels")
        return self.taps((height, width)) > 0

    def pattern(self, inputs: Pair) -> np.ndarray:
        """Return the taps of the pixels that repeat away from the borders, int64.

        Rows and columns are numbered modulo the stride.
        """
        taps, steps = self.taps(inputs), (self.rows.stride, self.columns.stride)
        rows, columns = (n // 2 // s * s for n, s in zip(taps.shape, steps, strict=True))
        return taps[rows : rows + steps[0], columns : columns + steps[1]]


def transposed_conv(
    kernel_size: Any, stride: Any = 1, padding: Any = 0, output_padding: Any = 0, dilation: Any = 1
) -> TransposedConv:
    """Return the geometry of PyTorch's ConvTranspose2d with these settings.

    Each is a whole number, or two for rows and columns. Raises ConfigError for what it refuses.
    """
    settings: list[Pair] = []
    given = (kernel_size, stride, padding, output_padding, dilation)
    for name, value in zip(Axis._fields, given, strict=True):
        pair, least = value if isinstance(value, tuple) else (value, value), "padding" not in name
        whole = len(pair) == 2 and all(type(n) is int and least <= n <= MOST for n in pair)
        if not whole:
            least_told = f"a whole number from {int(least)} to {MOST}, or two in brackets"
            raise ConfigError(f"{name}={value!r}: give {least_told}")
        settings.append(pair)
    layer = TransposedConv(*(Axis(*axis) for axis in zip(*settings, strict=True)))
    for axis in layer:
        if axis.output_padding >= max(axis.stride, axis.dilation):
            raise ConfigError(
                f"output_padding={axis.output_padding}: must be less than the stride "
                f"({axis.stride}) or the dilation ({axis.dilation})"
            )
    return layer


def parse_torch(line: str) -> TransposedConv:
    """Read a line of PyTorch such as ``nn.ConvTranspose2d(64, 5, 3, stride=2)``; nothing is run.

    Raises ConfigError for anything else, and as `transposed_conv`.
    """
    wanted = f"{line!r}: no line such as nn.ConvTranspose2d(64, 5, 3, stride=2, dilation=2)"
    try:
        call: Any = ast.parse(line.strip(), mode="eval").body
        named = [(keyword.arg, keyword.value) for keyword in call.keywords]
        given = [*zip(TORCH_ARGUMENTS, call.args, strict=False), *named]
        values = {name: ast.literal_eval(value) for name, value in given if name in Axis._fields}
        right = ast.unparse(call.func).split(".")[-1] == "ConvTranspose2d"
    except (SyntaxError, ValueError, TypeError, AttributeError, RecursionError, MemoryError):
        raise ConfigError(wanted) from None
    names = [name for name, _ in given]
    if not right or len(call.args) > len(TORCH_ARGUMENTS) or "kernel_size" not in values:
        raise ConfigError(wanted)
    for name in names:
        if name not in TORCH_ARGUMENTS or names.count(name) > 1:
            raise ConfigError(f"{line!r}: ConvTranspose2d takes no such {name!r}")
    return transposed_conv(**values)


DLSTUDIO_OUTPUT = transposed_conv(3, stride=2, padding=2, output_padding=1, dilation=2)
