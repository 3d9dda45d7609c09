"""What DLStudio's mUnet constructs, and how segjax holds each of its tensors.

DLStudio constructs more than it runs (``segjax.networks.munet`` has only what runs).
"""

import math
import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np

Head = Literal["dlstudio", "dense"]

HEAD_SIZES: dict[Head, int] = {"dlstudio": 3, "dense": 2}
UPSAMPLER_SIZES: dict[Head, int] = {"dlstudio": 1, "dense": 2}
ROW = re.compile(r"^(skip\d+(?:DN|UP)_arr)\.(\d+)")  # one of several blocks alike
COUNTER = "num_batches_tracked"
_NORM_PARTS = {
    "weight": ("params", "scale"),
    "bias": ("params", "bias"),
    "running_mean": ("batch_stats", "mean"),
    "running_var": ("batch_stats", "var"),
}


class Kind(NamedTuple):
    """What names and shapes tell of an mUnet."""

    depth: int
    head: Head = "dlstudio"
    upsampling: Head = "dlstudio"
    num_classes: int = 5


class Layer(NamedTuple):
    """One layer that DLStudio constructs: ``name`` is its prefix in the state_dict."""

    name: str
    kind: Literal["conv", "transposed", "norm"]
    inputs: int
    outputs: int
    size: int
    runs: bool

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each of its tensors, in PyTorch's order."""
        if self.kind == "norm":
            return {**dict.fromkeys(_NORM_PARTS, (self.outputs,)), COUNTER: ()}
        ends = (self.outputs, self.inputs) if self.kind == "conv" else (self.inputs, self.outputs)
        return {"weight": (*ends, self.size, self.size), "bias": (self.outputs,)}


class Tensor(NamedTuple):
    """One tensor of a layer, which ``part`` names within it."""

    layer: Layer
    part: str
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """Its name in the state_dict."""
        return f"{self.layer.name}.{self.part}"

    def place(self) -> tuple[str, ...] | None:
        """Return where segjax keeps it, as keys of the variables, or None if it does not."""
        if not self.layer.runs or self.part == COUNTER:
            return None
        modules = ROW.sub(r"\1_\2", self.layer.name).split(".")
        if self.layer.kind == "norm":
            collection, leaf = _NORM_PARTS[self.part]
            return (collection, *modules, leaf)
        return ("params", *modules, "kernel" if self.part == "weight" else "bias")

    def laid_out(self, value: np.ndarray, *, to: Literal["segjax", "torch"]) -> np.ndarray:
        """Return a copy; kernels are [k, k, I, O] or [O, I, k, k], transposed [I, O, k, k]."""
        if self.layer.kind == "norm" or self.part == "bias":
            return value.copy()
        axes, sides = ((2, 3, 1, 0), (2, 3)) if to == "segjax" else ((3, 2, 0, 1), (0, 1))
        if self.layer.kind == "transposed":
            # segjax stores the convolution that it amounts to, which has the kernel turned; 2x2
            # taps with stride 2 do not overlap and are stored as they are.
            axes = (2, 3, 0, 1)
            if self.layer.size != 2:
                value = np.flip(value, sides)
        return value.transpose(axes).copy()

    def initial(self, random: np.random.Generator, dtype: Any) -> np.ndarray:
        """Draw the value that PyTorch initialises it with."""
        if self.part == COUNTER:
            return np.zeros(self.shape, np.int64)
        if self.layer.kind == "norm":
            return np.full(self.shape, 1 if self.part in ("weight", "running_var") else 0, dtype)
        bound = 1 / np.sqrt(math.prod(self.layer.shapes()["weight"][1:]))
        return random.uniform(-bound, bound, self.shape).astype(dtype)


def layers(kind: Kind) -> Iterator[Layer]:
    """Yield the layers that DLStudio's mUnet constructs, run or not, in its state_dict's order."""
    half, early = kind.depth // 2, kind.depth // 2 // 4

    def norm(name: str, channels: int, runs: bool = True) -> Layer:
        return Layer(name, "norm", channels, channels, 0, runs)

    def block(
        name: str, inputs: int, outputs: int, resampler: str = "", runs: bool = True
    ) -> Iterator[Layer]:
        # 'DN' is in the names of the left arm's blocks only.
        form: Literal["conv", "transposed"] = "conv" if "DN" in name else "transposed"
        conv = "convo" if form == "conv" else "convoT"
        second = runs and inputs == outputs
        yield Layer(f"{name}.{conv}1", form, inputs, outputs, 3, runs)
        yield Layer(f"{name}.{conv}2", form, inputs, outputs, 3, second)
        yield norm(f"{name}.bn1", outputs, runs)
        yield norm(f"{name}.bn2", outputs, second)
        if resampler:
            size = UPSAMPLER_SIZES[kind.upsampling] if form == "transposed" else 1
            yield Layer(f"{name}.{resampler}", form, inputs, outputs, size, runs)

    yield Layer("conv_in", "conv", 3, 64, 3, True)
    for arm, to, resampler, first, last in (
        ("DN", "ds", "downsampler", 64, 128),
        ("UP", "us", "upsampler", 128, 64),
    ):
        yield norm(f"bn1{arm}", first)
        yield norm(f"bn2{arm}", last)
        for i in range(half):
            yield from block(f"skip64{arm}_arr.{i}", 64, 64)
        yield from block(f"skip64{to}{arm}", 64, 64, resampler)
        yield from block(f"skip{first}to{last}{arm}", first, last)
        for i in range(half):
            yield from block(f"skip128{arm}_arr.{i}", 128, 128, runs=arm == "DN" or i < early)
        yield from block(f"skip128{to}{arm}", 128, 128, resampler)
    yield Layer("conv_out", "transposed", 64, kind.num_classes, HEAD_SIZES[kind.head], True)


def tensors(kind: Kind) -> Iterator[Tensor]:
    """Yield the tensors of its state_dict, in order."""
    for layer in layers(kind):
        for part, shape in layer.shapes().items():
            yield Tensor(layer, part, shape)
