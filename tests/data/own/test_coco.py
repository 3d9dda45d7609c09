import copy
import json
import sys

import numpy as np
import pytest

from segjax.config import Config
from segjax.data.own.source import open_source
from segjax.errors import DataError
from tests.data.data_files import coco_tables, fails, load_coco, picture, save, write_coco

pytest.importorskip("pycocotools")
SIZE = (16, 24)


def test_polygons_and_run_lengths_become_masks(tmp_path):
    tables = coco_tables(2)
    ds = load_coco(write_coco(tmp_path, tables), classes=["dog", "cat"])
    assert dict(ds.label_map) == {"dog": 1, "cat": 1}
    np.testing.assert_array_equal(ds.images[1], picture(2))
    expected = np.zeros((*SIZE, 2), np.uint8)
    expected[4:12, 10:18, 0] = 1
    expected[3:8, 2, 1] = 1  # five pixels of the third column, from the fourth row
    np.testing.assert_array_equal(ds.masks[0], expected)
    assert ds.boxes_of(1) == [(0, (10, 4, 17, 11)), (1, (2, 3, 2, 7))]
    # Categories are those in use in the order of the file, or the chosen.
    assert load_coco(tmp_path / "annotations.json").class_names == ("cat", "dog")
    ds = load_coco(tmp_path / "annotations.json", classes=["dog"])
    assert ds.masks.sum() == 2 * 64
    assert ds.ignore is None
    # Several polygons are one object.
    tables["annotations"][0]["segmentation"].append([0, 0, 3, 0, 3, 3, 0, 3])
    ds = load_coco(write_coco(tmp_path, tables), classes=["dog"])
    assert ds.masks[0].sum() == 64 + 9
    assert len(ds.boxes) == 2


def test_crowds_are_ignored_but_do_not_hide_objects(tmp_path):
    tables = coco_tables(2)
    crowd = copy.deepcopy(tables["annotations"][0])
    counts = [0, 16 * 12, 16 * 12]  # the left half, which cuts the dog in two
    crowd |= {"id": 99, "iscrowd": 1, "segmentation": {"size": list(SIZE), "counts": counts}}
    tables["annotations"].append(crowd)
    ds = load_coco(write_coco(tmp_path, tables), classes=["dog"])
    expected = np.zeros(SIZE, bool)
    expected[:, :12] = True
    expected[4:12, 10:18] = False
    np.testing.assert_array_equal(ds.ignore[0], expected)
    assert not ds.ignore[1].any()
    assert ds.masks[0].sum() == 64
    assert len(ds.boxes) == 2


def test_small_objects_are_ignored_and_pictures_without_others_left_out(tmp_path):
    tables = coco_tables(2)
    del tables["annotations"][0]  # the first picture has its cat of five pixels only
    path = write_coco(tmp_path, tables)
    ds = load_coco(path, min_object_area=6)
    assert len(ds) == 1
    assert ds.ignore.sum() == 5
    assert ds.class_names == ("cat", "dog")
    assert len(load_coco(path, min_object_area=6, keep_empty=True)) == 2
    ds = load_coco(path, min_object_area=5)
    assert len(ds) == 2
    assert ds.ignore is None
    message = "no image has an object of cat of at least 6 pixels"
    fails(DataError, message, load_coco, path, classes=["cat"], min_object_area=6)


def test_the_homeworks_recipe(tmp_path):
    """Cake, dog and motorcycle at 256x256, pictures with a single object."""
    tables = coco_tables(3)
    for entry, name in zip(tables["categories"], ("dog", "cake", "motorcycle"), strict=True):
        entry["name"] = name
    del tables["annotations"][1]  # picture 1: a cake; picture 2: a cake and a dog
    tables["annotations"][4]["category_id"] = 9  # picture 3: a dog and a motorcycle
    path = write_coco(tmp_path, tables)
    options = {"classes": ["cake", "dog", "motorcycle"], "image_size": 256}
    single = load_coco(path, **options, single_object=True)
    assert single.images.shape == (1, 256, 256, 3)
    assert single.masks.shape == (1, 256, 256, 3)
    sx, sy = 256 / 24, 256 / 16
    (found,) = single.boxes_of(0)
    assert found[0] == 0
    np.testing.assert_allclose(found[1], (10 * sx, 4 * sy, 18 * sx - 1, 12 * sy - 1), atol=1)
    rows, columns = np.nonzero(single.masks[0, ..., 0])
    tight = (columns.min(), rows.min(), columns.max(), rows.max())
    np.testing.assert_allclose(found[1], tight, atol=1)
    # With a minimum size the dogs of five pixels do not count: three single objects.
    assert len(load_coco(path, **options, single_object=True, min_object_area=20)) == 3


@pytest.mark.parametrize(
    ("image_folder", "name"),
    [
        ("train2017", "annotations/instances_train2017.json"),
        ("images/train2017", "annotations/instances_train2017.json"),
        (".", "any.json"),
        ("images", "annotations/any.json"),
    ],
)
def test_pictures_are_found_where_archives_put_them(tmp_path, image_folder, name):
    for index in (1, 2, 3):
        save(tmp_path / image_folder / f"p{index}.png", picture(index))
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(coco_tables(3)))
    assert len(load_coco(path)) == 3
    message = r"--images_dir=.*nowhere: no such folder"
    fails(DataError, message, load_coco, path, images_dir=str(tmp_path / "nowhere"))


def test_folders_and_files_have_splits(tmp_path):
    fails(DataError, r"no train/_annotations.coco.json and no annotations/", load_coco, tmp_path)
    for split, count in (("train", 5), ("valid", 2), ("test", 3)):
        write_coco(tmp_path / split, coco_tables(count), name="_annotations.coco.json")
    assert [len(load_coco(tmp_path, split=s)) for s in ("train", "val", "test")] == [5, 2, 3]
    tables = coco_tables(1)
    tables["categories"] = tables["categories"][::-1]  # ids count, not the order
    test = write_coco(tmp_path / "val", tables, name="_annotations.coco.json")
    fails(DataError, r"several files for val: valid/.*, val/", load_coco, tmp_path)
    train = tmp_path / "train" / "_annotations.coco.json"
    splits = open_source(Config(data=f"coco:{train}", test_annotations=str(test), val_share=0.0))
    assert {split: len(part) for split, part in splits.items()} == {"train": 5, "test": 1}
    assert {part.class_names for part in splits.values()} == {("cat", "dog")}


def test_the_way_up_that_was_annotated(tmp_path):
    path = write_coco(tmp_path, coco_tables(2))
    save(tmp_path / "images" / "p1.png", picture(1), orientation=6)
    # Annotated upright: the stored picture is turned.
    save(tmp_path / "images" / "p2.png", np.rot90(picture(2)), orientation=6)
    np.testing.assert_array_equal(load_coco(path).images, [picture(1), picture(2)])


def test_wrong_arguments_and_files_and_no_pycocotools(tmp_path, monkeypatch):
    path = tmp_path / "annotations.json"
    fails(DataError, "no such file", load_coco, path)
    write_coco(tmp_path, coco_tables(2))
    for content in ("", "[1, 2]", '{"images": [', "[" * 100000, "\udcff"):
        path.write_text(content, errors="surrogateescape")
        fails(DataError, r"annotations.json: not (JSON|COCO)", load_coco, path)
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    fails(DataError, "not JSON", load_coco, path)
    fails(DataError, "no such file", load_coco, tmp_path / "absent.json")
    write_coco(tmp_path, coco_tables(2))
    fails(DataError, r"pip install 'segjax\[coco\]'", load_coco, path)


def test_numbers_and_names_that_no_picture_has(tmp_path):
    huge = int("9" * 400)
    for table, change, told in (
        ("annotations", {"iscrowd": "0"}, "'iscrowd' must be 0 or 1"),
        ("annotations", {"iscrowd": []}, "'iscrowd' must be 0 or 1"),
        ("annotations", {"bbox": [0, 0, huge, 1]}, "bbox must be"),
        ("annotations", {"bbox": [0, 0, 1e308, 1]}, "bbox must be"),
        ("images", {"height": 32768, "width": 32768}, "is no size"),
        ("annotations", {"segmentation": [[1, 1, 5, 1, 5, huge]]}, "a polygon holds '9999"),
        ("images", {"file_name": "a" * 5000 + ".png"}, r"not there: a{100}\.\.\.a{16}\.png"),
    ):
        tables = coco_tables(2)
        tables[table][0].update(change)
        path = write_coco(tmp_path, coco_tables(2))
        path.write_text(json.dumps(tables))
        fails(DataError, told, load_coco, path)


def test_compressed_run_lengths_agree_with_pycocotools(tmp_path):
    from pycocotools import mask as reference

    random = np.random.default_rng(5)
    tables, expected = coco_tables(8), []
    # The last is all ones: it starts with a run of no zeros.
    for cat, share in zip(tables["annotations"][1::2], np.linspace(0.02, 1, 8), strict=True):
        on = np.asfortranarray(random.random(SIZE) < share, np.uint8)
        cat["segmentation"]["counts"] = reference.encode(on)["counts"].decode()
        expected.append(on)
    ds = load_coco(write_coco(tmp_path, tables), classes=["cat"])
    np.testing.assert_array_equal(ds.masks[..., 0], expected)
