"""Which pixels a transposed convolution writes, against loops over its taps."""

import itertools

import numpy as np
import pytest

from segjax.data.purdue.synthetic import synthetic, write_gz
from segjax.dlstudio.__main__ import main
from segjax.dlstudio.floors import layer_floors, output_layer_floors
from segjax.dlstudio.transposed import DLSTUDIO_OUTPUT, parse_torch, transposed_conv
from segjax.errors import ConfigError

LINE = "nn.ConvTranspose2d(64, 5, 3, stride=2, dilation=2, output_padding=1, padding=2)"
EVERY = itertools.product((1, 2, 3, 4), (1, 2, 3), (0, 1, 2), (0, 1, 2), (1, 2, 3))
GRID = [settings for settings in EVERY if settings[3] < max(settings[1], settings[4])]


def looped(size, kernel, stride, padding, extra, dilation):
    length = (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + extra + 1
    counts = [0] * max(length, 0)
    for i in range(size):
        for k in range(kernel):
            at = i * stride + k * dilation - padding
            if 0 <= at < length:
                counts[at] += 1
    return counts


@pytest.mark.parametrize("size", [1, 4, 7])
def test_taps_are_those_of_loops_over_a_grid_of_settings(size):
    told = 0
    for settings in GRID:
        layer, counts = transposed_conv(*settings), looped(size, *settings)
        if not counts:
            with pytest.raises(ConfigError, match="become"):
                layer.taps((size, size))
            continue
        told += 1
        taps = np.outer(counts, counts)
        np.testing.assert_array_equal(layer.taps((size, size)), taps)
        assert layer.output_size((size, size)) == taps.shape
        np.testing.assert_array_equal(layer.written(taps.shape), taps > 0)
    assert told > 190


def test_rows_and_columns_have_their_own_settings():
    layer = transposed_conv((3, 2), (2, 3), (1, 0), (1, 2), (1, 4))
    rows, columns = looped(5, 3, 2, 1, 1, 1), looped(6, 2, 3, 0, 2, 4)
    np.testing.assert_array_equal(layer.taps((5, 6)), np.outer(rows, columns))
    middle = np.outer(rows[4:6], columns[9:12])
    np.testing.assert_array_equal(layer.pattern((5, 6)), middle)


def test_dlstudios_output_layer_writes_even_pixels_and_its_floors_are_known():
    assert parse_torch(LINE) == DLSTUDIO_OUTPUT
    written = DLSTUDIO_OUTPUT.written((64, 64))
    even = np.zeros((64, 64), bool)
    even[::2, ::2] = True
    np.testing.assert_array_equal(written, even)
    np.testing.assert_array_equal(DLSTUDIO_OUTPUT.pattern((32, 32)), [[9, 0], [0, 0]])
    masks = synthetic(4, seed=1).masks
    ours, known = layer_floors(masks, written), output_layer_floors(masks)
    np.testing.assert_array_equal(ours.iou, known.iou)
    assert (ours.mse, ours.dice) == (known.mse, known.dice)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("nn.Conv2d(3, 5, 3)", "no line such as"),
        ("nn.ConvTranspose2d(64, 5)", "no line such as"),
        ("nn.ConvTranspose2d(64, 5, 3, stride=n)", "no line such as"),
        ("nn.ConvTranspose2d(64, 5, 3, **{'stride': 2})", "takes no such None"),
        ("ConvTranspose2d(64, 5, 3, 2, stride=2)", "takes no such 'stride'"),
        ("ConvTranspose2d(64, 5, 3, strides=2)", "takes no such 'strides'"),
        ("ConvTranspose2d(64, 5, 3, stride=0)", r"stride=0: give a whole number from 1"),
        ("ConvTranspose2d(64, 5, (3, 3, 3))", r"kernel_size=\(3, 3, 3\)"),
        ("ConvTranspose2d(64, 5, 3, padding=True)", "padding=True"),
        ("ConvTranspose2d(64, 5, 3, output_padding=1)", r"less than the stride \(1\)"),
        ("3 +", "no line such as"),
    ],
)
def test_other_lines_are_refused(line, told):
    with pytest.raises(ConfigError, match=told):
        parse_torch(line)


def test_arguments_without_names_have_pytorchs_order():
    named = "torch.nn.ConvTranspose2d(1, 2, kernel_size=(3, 5), stride=2, padding=1)"
    layer = transposed_conv((3, 5), stride=2, padding=1, output_padding=1, dilation=3)
    assert parse_torch("ConvTranspose2d(1, 2, (3, 5), 2, 1, 1, 1, False, 3)") == layer
    assert parse_torch(named) == transposed_conv((3, 5), stride=2, padding=1)


def test_outputs_that_no_inputs_become_are_refused():
    with pytest.raises(ConfigError, match="never makes 63x64 pixels"):
        DLSTUDIO_OUTPUT.written((63, 64))
    with pytest.raises(ConfigError, match="sides of 1 to"):
        DLSTUDIO_OUTPUT.taps((0, 4))


def test_the_command_says_it_in_words(tmp_path, capsys):
    scenes = synthetic(6, seed=1)
    write_gz(scenes, tmp_path / "scenes.gz")
    assert main(["layer", f"--masks={tmp_path / 'scenes.gz'}"]) == 0
    said = capsys.readouterr().out
    assert "32x32 become 64x64 pixels" in said
    assert "never written: 3,072 of 4,096 pixels, 75.0%" in said
    assert "written: by 4 to 9 taps" in said
    floors = output_layer_floors(scenes.masks)
    assert f"lowest mean squared error {floors.mse:.4g}" in said
    disk = floors.iou[scenes.class_names.index("disk")]
    assert f"disk {disk:15.3f}{2 * disk / (1 + disk):8.3f}" in said
    assert main(["layer", "nn.ConvTranspose2d(64, 5, 2, stride=2)", "--input=4"]) == 0
    assert "never written: 0 of 64 pixels, 0.0%" in capsys.readouterr().out
    assert main(["layer", "nn.Conv2d(1, 2, 3)"]) == 1
    assert "no line such as" in capsys.readouterr().err
