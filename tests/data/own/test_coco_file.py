"""What a COCO file says is checked before it is used, and drawn as pycocotools draws it."""

import functools
import json
import operator

import numpy as np
import pytest

from segjax.errors import DataError
from tests.data.data_files import coco_tables, fails, load_coco, write_coco

pytest.importorskip("pycocotools")
SIZE = (16, 24)


def drawn(segmentation):
    return ("annotations", 0, "segmentation", segmentation)


# Where in the tables, what stands there, and what is said of it.
WRONG = [
    (("images", {}), 'it has no list "images"'),
    (("images", 0, "file_name", 3), "'file_name' must be a str, not '3'"),
    (("images", 0, "height", 0), "0x24 is no size"),
    (("images", 0, "height", True), "'height' must be a int"),
    (("images", 1, "id", 1), "two images have the id 1"),
    (("images", 1, "file_name", "p1.png"), "twice under different ids: p1.png"),
    (("images", 0, "width", 25), r"annotated 16x25, image 16x24"),
    (("images", 0, "file_name", "../p1.png"), "leads out of the folder"),
    (("images", 0, "file_name", "/etc/passwd"), "leads out of the folder"),
    (("images", 0, "file_name", "gone.png"), "not there: gone.png"),
    (("images", 0, "file_name", "p1.gif"), "not a picture format.*p1.gif"),
    (("categories", 1, "id", 3), "two categories have the id 3"),
    (("annotations", 0, "image_id", 77), "annotation 10: no image_id 77"),
    (("annotations", 0, "category_id", 77), "annotation 10: no category_id 77"),
    (("annotations", 0, "bbox", [1, 2]), r"annotation 10: bbox must be \[x, y, w, h\]"),
    (drawn(None), r"p1.png \(annotation 10: it has neither"),
    (drawn([]), "annotation 10: it has no polygon"),
    (drawn([[1, 2, 3, 4]]), "three or more x, y pairs"),
    (drawn([[1, 2, 3, 4, 5, "x"]]), "a polygon holds 'x'"),
    (drawn([[1, 2, 3, 4, 5, float("nan")]]), "a polygon holds 'nan'"),
    (drawn([[1, 2, 3, 4, 5, 1e9]]), "far outside the image"),
    (drawn({"size": [9, 9], "counts": [81]}), r"size \[9, 9\] for an image"),
    (drawn({"size": [16, 24], "counts": [5]}), "add up to 5, not 16 times 24"),
    (drawn({"size": [16, 24], "counts": "oo"}), "run lengths are damaged"),
    (drawn({"size": [16, 24], "counts": "\x01"}), "run lengths are damaged"),
    (drawn({"size": [16, 24], "counts": [-1]}), "not whole numbers"),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[message[:25] for _, message in WRONG])
def test_wrong_annotations_have_one_line(tmp_path, change, message):
    tables = coco_tables(3)
    path = write_coco(tmp_path, tables)
    *keys, last, value = change
    functools.reduce(operator.getitem, keys, tables)[last] = value
    path.write_text(json.dumps(tables))
    fails(DataError, message, load_coco, path, images_dir=str(tmp_path / "images"), names=[path])


def test_compressed_run_lengths_agree_with_pycocotools(tmp_path):
    from pycocotools import mask as reference

    random = np.random.default_rng(5)
    tables = coco_tables(8)
    expected = []
    # The last is all ones: it starts with a run of no zeros.
    for cat, share in zip(tables["annotations"][1::2], np.linspace(0.02, 1, 8), strict=True):
        on = np.asfortranarray(random.random(SIZE) < share, np.uint8)
        cat["segmentation"]["counts"] = reference.encode(on)["counts"].decode()
        expected.append(on)
    ds = load_coco(write_coco(tmp_path, tables), classes=["cat"])
    np.testing.assert_array_equal(ds.masks[..., 0], expected)
