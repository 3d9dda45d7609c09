"""Sheets and near copies, to the pixel and the bit; what is written on a sheet is left out."""

import types

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from segjax.data.check import near_duplicates, shapes
from segjax.data.check.contact_sheet import make_tile, write_sheet
from segjax.data.own.samples import Sample
from tests.data.data_files import dataset, labels, picture
from tests.goldens import recipe

FONT = types.SimpleNamespace(getlength=lambda text: 7 * len(text))  # on every machine


def draw_sheet(path):
    """Draw one sheet of pictures of many sizes; return what stands where."""
    sizes = [(16, 24), (160, 160), (97, 40), (240, 480), (50, 1), (8, 9), (700, 3), (3, 700)]
    told = []

    def text(_self, place, text, *, fill, font):
        told.append([*place, text, fill])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageFont, "load_default", lambda size: told.append(size) or FONT)
        patch.setattr(ImageDraw.ImageDraw, "text", text)
        tiles = []
        for index, size in enumerate(sizes):
            masks = np.stack([labels(index, (max(size), max(size))) == k for k in (1, 2)], -1)
            masks = masks[: size[0], : size[1]].astype(np.uint8)
            ignore = np.indices(size)[1] > size[1] // 2 if index % 2 == 0 else None
            image = np.full((*size, 3), (90, 10 * index, 200), np.uint8)
            sample, name = Sample(image, masks, ignore), "x" * 13 * min(index, 4)
            tiles.append(make_tile(sample, split="val", name=name))
        write_sheet(path, tiles, ["cat", "a long name " * 9, "b" * 31])
    return told


def test_a_sheet_as_it_was_looked_at(tmp_path):
    told = draw_sheet(tmp_path / "sheet.png")
    sheets = tmp_path / "sheet.png", recipe.FOLDER / "contact_sheet.png"
    found, expected = (np.array(Image.open(path), int) for path in sheets)
    np.testing.assert_allclose(found, expected, atol=2)
    ink, x = (30, 30, 30), "x" * 13
    cut = f"val: ...{(x * 3)[2:]}"
    assert told == [
        *(13, [30, 8, "cat", ink], [91, 8, "a long name " * 9, ink], [30, 28, "b" * 31, ink]),
        *([287, 28, "(striped: ignored)", ink], 12, [8, 56, "val: ", ink]),
        *([346, 56, f"val: {x}", ink], [684, 56, f"val: {x * 2}", ink]),
        *([8, 240, f"val: {x * 3}", ink], [346, 240, cut, ink]),
        *([left, top, cut, ink] for left, top in ((684, 240), (8, 424), (346, 424))),
    ]


def test_a_sheet_of_one(tmp_path):
    sample = Sample(picture(0), np.zeros((16, 24, 1), np.uint8))
    write_sheet(tmp_path / "one.png", [make_tile(sample, split="val", name="")], [])
    assert np.array(Image.open(tmp_path / "one.png")).shape == (228, 346, 3)


def test_hashes_and_near_pairs(monkeypatch):
    image = picture(3, (8, 9))
    image[:, 4] = image[:, 5]  # equal neighbours do not rise
    assert int(near_duplicates.difference_hash(image)) == 11913066260214392356
    monkeypatch.setattr(near_duplicates, "_CHUNK", 4)
    hashes = [(s, f"{s}{c}", np.uint64(c)) for s in "ab" for c in (0, 7, 15, 63, 512)]
    alike = {7: (7, 15), 15: (7, 15, 63), 63: (15, 63), 512: (512,)}
    expected = [(f"b{c}", f"resembles a{k} in a") for k, others in alike.items() for c in others]
    assert near_duplicates.near_pairs(hashes) == expected
    found = near_duplicates.near_pairs([(s, f"{i}", np.uint64(9)) for s in "ab" for i in range(15)])
    assert (len(found), found[-1]) == (200, ("4", "resembles 13 in a"))


def test_a_sample_of_shapes():
    box = {"boxes": np.array([[1, 2, 3, 4]], np.int32), "box_image": np.array([1], np.int32)}
    values = {"label_map": {"cat": 50, "dog": 100}, "box_class": np.array([1], np.uint8)}
    masks = dataset(2).masks * np.array([50, 100], np.uint8)
    sample = shapes.ShapesItem("", dataset(2, masks=masks, **box, **values), 1).sample()
    assert sample.boxes == [(1, (1, 2, 4, 5))]
    np.testing.assert_array_equal(sample.masks, dataset(2).masks[1])
