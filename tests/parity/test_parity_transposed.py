"""The pixels that a transposed convolution writes, counted by PyTorch."""

import itertools

import numpy as np
import torch

from segjax.dlstudio.transposed import DLSTUDIO_OUTPUT, parse_torch, transposed_conv
from segjax.errors import ConfigError
from tests.parity.torch_side import SemanticSegmentation


def counted(layer, size):
    """Return how many taps reach each output pixel: ones through a kernel of ones."""
    with torch.no_grad():
        layer.weight.fill_(1)
        layer.bias.fill_(0)
        return layer(torch.ones(1, 1, *size))[0, 0].numpy()


def test_taps_are_those_of_pytorch():
    told = 0
    settings = itertools.product((1, 2, 3, 4), (1, 2, 3), (0, 1, 2), (0, 1, 2), (1, 2, 3))
    for kernel, stride, padding, extra, dilation in settings:
        given = {"stride": stride, "padding": (padding, 0), "output_padding": (0, extra)}
        given |= {"dilation": (dilation, 1)}
        try:
            ours = transposed_conv(kernel, **given).taps((4, 5))
        except ConfigError:
            ours = None
        try:
            theirs = counted(torch.nn.ConvTranspose2d(1, 1, kernel, **given), (4, 5))
        except RuntimeError:
            theirs = None
        assert (ours is None) == (theirs is None), (kernel, given)
        if theirs is not None:
            told += 1
            np.testing.assert_array_equal(ours, theirs)
    assert told > 200


def test_dlstudios_output_layer_is_read_off_its_network():
    layer = SemanticSegmentation.mUnet(skip_connections=True, depth=4).conv_out
    assert parse_torch(repr(layer)) == DLSTUDIO_OUTPUT
