"""Where DLStudio's tensors lie in segjax's variables, and how they are turned."""

import numpy as np
import pytest

from segjax.dlstudio.layout import Kind, Layer, Tensor, tensors

D2, D8, FULL = Kind(2), Kind(8), Kind(2, "dense", "dense", num_classes=3)
PLACES = [
    (D2, "bn2DN.running_var", (128,), "batch_stats/bn2DN/var"),
    (D2, "skip64usUP.upsampler.weight", (64, 64, 1, 1), "params/skip64usUP/upsampler/kernel"),
    (D2, "bn2DN.num_batches_tracked", (), None),
    (D2, "skip64to128DN.convo2.weight", (128, 64, 3, 3), None),  # never runs
    (D2, "skip128UP_arr.0.convoT1.weight", (128, 128, 3, 3), None),  # runs from depth 8 on
    (D8, "skip128UP_arr.0.convoT1.bias", (128,), "params/skip128UP_arr_0/convoT1/bias"),
    (D8, "skip128UP_arr.1.convoT1.bias", (128,), None),
    (FULL, "conv_out.weight", (64, 3, 2, 2), "params/conv_out/kernel"),
    (FULL, "skip64usUP.upsampler.weight", (64, 64, 2, 2), "params/skip64usUP/upsampler/kernel"),
    (FULL, "skip64dsDN.downsampler.bias", (64,), "params/skip64dsDN/downsampler/bias"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "name", "shape", "place"), PLACES)
def test_shape_and_place(kind, name, shape, place):
    (found,) = [tensor for tensor in tensors(kind) if tensor.name == name]
    assert found.shape == shape
    assert found.place() == (place and tuple(place.split("/")))


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("kind", ["conv", "transposed"])
def test_kernels_are_turned_and_back(kind, size):
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
