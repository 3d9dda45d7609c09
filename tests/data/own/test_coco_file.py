"""What a COCO file says is checked before it is used, and drawn as pycocotools draws it."""

import json

import numpy as np
import pytest

from segjax.errors import DataError
from tests.data.own.owndata_files import coco_tables, load_coco, write_coco

pytest.importorskip("pycocotools")
SIZE = (16, 24)


def change(*keys, value):
    def spoil(tables):
        place = tables
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return spoil


SEGMENTATION = ("annotations", 0, "segmentation")


WRONG = [
    (change("images", value={}), 'it has no list "images"'),
    (change("images", 0, "file_name", value=3), "'file_name' must be a str, not '3'"),
    (change("images", 0, "height", value=0), "0x24 is no size"),
    (change("images", 0, "height", value=True), "'height' must be a int"),
    (change("images", 1, "id", value=1), "two images have the id 1"),
    (change("images", 1, "file_name", value="p1.png"), "twice under different ids: p1.png"),
    (change("images", 0, "width", value=25), r"annotated 16x25, image 16x24"),
    (change("images", 0, "file_name", value="../p1.png"), "leads out of the folder"),
    (change("images", 0, "file_name", value="/etc/passwd"), "leads out of the folder"),
    (change("images", 0, "file_name", value="gone.png"), "not there: gone.png"),
    (change("images", 0, "file_name", value="p1.gif"), "not a picture format.*p1.gif"),
    (change("categories", 1, "id", value=3), "two categories have the id 3"),
    (change("annotations", 0, "image_id", value=77), "annotation 10: no image_id 77"),
    (change("annotations", 0, "category_id", value=77), "annotation 10: no category_id 77"),
    (change("annotations", 0, "bbox", value=[1, 2]), r"annotation 10: bbox must be \[x, y, w, h\]"),
    (change(*SEGMENTATION, value=None), r"p1.png \(annotation 10: it has neither"),
    (change(*SEGMENTATION, value=[]), "annotation 10: it has no polygon"),
    (change(*SEGMENTATION, value=[[1, 2, 3, 4]]), "three or more x, y pairs"),
    (change(*SEGMENTATION, value=[[1, 2, 3, 4, 5, "x"]]), "a polygon holds 'x'"),
    (change(*SEGMENTATION, value=[[1, 2, 3, 4, 5, float("nan")]]), "a polygon holds 'nan'"),
    (change(*SEGMENTATION, value=[[1, 2, 3, 4, 5, 1e9]]), "far outside the image"),
    (change(*SEGMENTATION, value={"size": [9, 9], "counts": [81]}), r"size \[9, 9\] for an image"),
    (
        change(*SEGMENTATION, value={"size": [16, 24], "counts": [5]}),
        "add up to 5, not 16 times 24",
    ),
    (change(*SEGMENTATION, value={"size": [16, 24], "counts": "oo"}), "run lengths are damaged"),
    (change(*SEGMENTATION, value={"size": [16, 24], "counts": "\x01"}), "run lengths are damaged"),
    (change(*SEGMENTATION, value={"size": [16, 24], "counts": [-1]}), "not whole numbers"),
]


@pytest.mark.parametrize(("spoil", "message"), WRONG, ids=[message[:25] for _, message in WRONG])
def test_wrong_annotations_have_one_line(tmp_path, spoil, message):
    tables = coco_tables(3)
    path = write_coco(tmp_path, tables)
    spoil(tables)
    path.write_text(json.dumps(tables))
    with pytest.raises(DataError, match=message) as caught:
        load_coco(path, images_dir=str(tmp_path / "images"))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_compressed_run_lengths_agree_with_pycocotools(tmp_path):
    from pycocotools import mask as reference

    random = np.random.default_rng(5)
    tables = coco_tables(8)
    expected = []
    for index, share in zip(range(8), np.linspace(0.02, 0.9, 8), strict=True):
        on = np.asfortranarray(random.random(SIZE) < share, np.uint8)
        if index == 7:
            on[:] = 1  # starts with a run of no zeros
        packed = reference.encode(on)
        tables["annotations"][2 * index + 1]["segmentation"] = {
            "size": list(SIZE),
            "counts": packed["counts"].decode(),
        }
        expected.append(on)
    ds = load_coco(write_coco(tmp_path, tables), classes=["cat"])
    np.testing.assert_array_equal(ds.masks[..., 0], expected)
