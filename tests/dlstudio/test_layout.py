"""Where DLStudio's tensors lie in segjax's variables, and how they are turned."""

import numpy as np
import pytest

from segjax.dlstudio.layout import Kind, Layer, Tensor, layers, tensors

DEPTH_2 = Kind(2)


def tensor(name: str, kind: Kind = DEPTH_2) -> Tensor:
    return next(found for found in tensors(kind) if found.name == name)


@pytest.mark.parametrize(
    ("name", "shape", "place"),
    [
        ("conv_in.weight", (64, 3, 3, 3), "params/conv_in/kernel"),
        ("skip64DN_arr.0.convo2.bias", (64,), "params/skip64DN_arr_0/convo2/bias"),
        ("skip64UP_arr.0.bn1.weight", (64,), "params/skip64UP_arr_0/bn1/scale"),
        ("bn2DN.running_var", (128,), "batch_stats/bn2DN/var"),
        ("skip64usUP.upsampler.weight", (64, 64, 1, 1), "params/skip64usUP/upsampler/kernel"),
        ("skip128to64UP.convoT1.weight", (128, 64, 3, 3), "params/skip128to64UP/convoT1/kernel"),
        ("bn2DN.num_batches_tracked", (), None),
        ("skip64to128DN.convo2.weight", (128, 64, 3, 3), None),  # never runs
        ("skip128UP_arr.0.convoT1.weight", (128, 128, 3, 3), None),  # runs from depth 8 on
    ],
)
def test_shape_and_place(name: str, shape: tuple[int, ...], place: str | None) -> None:
    found = tensor(name)
    assert found.shape == shape
    assert found.place() == (place and tuple(place.split("/")))


def test_what_runs_at_depth_8() -> None:
    runs = {layer.name: layer.runs for layer in layers(Kind(8))}
    assert runs["skip128UP_arr.0.convoT1"]
    assert not runs["skip128UP_arr.1.convoT1"]


def test_other_output_layers() -> None:
    kind = Kind(2, "dense", "dense", num_classes=3)
    assert tensor("conv_out.weight", kind).shape == (64, 3, 2, 2)
    assert tensor("skip64usUP.upsampler.weight", kind).shape == (64, 64, 2, 2)
    assert tensor("skip64dsDN.downsampler.weight", kind).shape == (64, 64, 1, 1)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("kind", ["conv", "transposed"])
def test_kernels_are_turned_and_back(kind: str, size: int) -> None:
    ends = (5, 4) if kind == "conv" else (4, 5)  # 4 inputs, 5 outputs
    value = np.arange(20.0 * size**2).reshape(*ends, size, size)
    kernel = Tensor(Layer("c", kind, 4, 5, size, True), "weight", value.shape)
    ours = kernel.laid_out(value, to="segjax")
    assert ours.shape == (size, size, 4, 5)
    np.testing.assert_array_equal(kernel.laid_out(ours, to="torch"), value)
    # A transposed convolution is one with the kernel turned, unless its taps do not overlap.
    last = size - 1 if kind == "transposed" and size == 3 else 0
    expected = value[3, 2, last, last] if kind == "conv" else value[2, 3, last, last]
    assert ours[0, 0, 2, 3] == expected
