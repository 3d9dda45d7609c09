import shutil

import numpy as np

from segjax.data.own.samples import region_boxes
from segjax.errors import DataError
from tests.data.data_files import agree, fails, labels, load_folder, picture, save, write_folder


def test_the_layouts_agree(tmp_path):
    indexed = write_folder(tmp_path / "indexed", 4)
    for index, name in enumerate("abcd"):
        for value, label, on in ((1, "cat", 255), (2, "dog", 1)):
            mask = (labels(index) == value) * np.uint8(on)
            save(tmp_path / "perclass" / "masks" / label / f"{name}.png", mask)
        save(tmp_path / "perclass" / "images" / f"{name}.png", picture(index))
        save(tmp_path / "flat" / f"{name}.bmp", picture(index))
        save(tmp_path / "flat" / f"{name}_mask.png", labels(index))
        save(tmp_path / "ending" / "imgs" / "sub" / f"{name}.png", picture(index))
        save(tmp_path / "ending" / "labels" / "sub" / f"{name}_mask.tif", labels(index))
    for other in ("flat", "ending"):
        shutil.copy(indexed / "classes.txt", tmp_path / other)
    expected = load_folder(indexed)
    assert dict(expected.label_map) == {"cat": 1, "dog": 1}
    np.testing.assert_array_equal(expected.images, [picture(index) for index in range(4)])
    masks = [np.stack([labels(index) == 1, labels(index) == 2], -1) for index in range(4)]
    np.testing.assert_array_equal(expected.masks, masks)
    assert expected.ignore is None
    for other in ("perclass", "flat", "ending"):
        agree(load_folder(tmp_path / other), expected)


def test_classes_may_overlap_and_be_absent_with_a_folder_for_each(tmp_path):
    both = np.ones((8, 8), np.uint8)
    for name in "ab":
        save(tmp_path / "images" / f"{name}.png", picture(ord(name), (8, 8)))
        save(tmp_path / "masks" / "cat" / f"{name}.png", both)
    save(tmp_path / "masks" / "dog" / "a.png", both * 255)
    hidden = np.zeros((8, 8), np.uint8)
    hidden[0, 0] = 1
    save(tmp_path / "masks" / "ignore" / "b.png", hidden)
    ds = load_folder(tmp_path)
    assert ds.class_names == ("cat", "dog")
    np.testing.assert_array_equal(ds.masks[0], 1)
    np.testing.assert_array_equal(ds.masks[1], np.stack([both, both * 0], axis=-1))
    assert np.argwhere(ds.ignore).tolist() == [[1, 0, 0]]
    (tmp_path / "masks" / "cat" / "b.png").unlink()
    fails(DataError, r"no mask for the image: images/b.png", load_folder, tmp_path)


def test_ignore_value_is_neither_class_nor_background(tmp_path):
    write_folder(tmp_path, 2)
    mask = labels(0)
    mask[:2] = 255
    save(tmp_path / "masks" / "a.png", mask)
    ds = load_folder(tmp_path)
    np.testing.assert_array_equal(ds.ignore[0], mask == 255)
    assert not ds.ignore[1].any()
    assert not ds.masks[0][mask == 255].any()
    message = r"mask values out of range.*255; expected 0 to 2"
    fails(DataError, message, load_folder, tmp_path, ignore_value=-1)


def test_without_a_file_classes_go_by_value(tmp_path):
    write_folder(tmp_path, 3, classes=None)
    assert load_folder(tmp_path).class_names == ("class_1", "class_2")
    assert load_folder(tmp_path, classes=["x", "y"]).class_names == ("x", "y")
    told = "masks hold the values 1 to 2, and --classes=x names 1 of them"
    fails(DataError, told, load_folder, tmp_path, classes=["x"])
    # Black and white masks are one class.
    write_folder(tmp_path, 3, classes=None, stored=lambda mask: (mask > 0).astype(np.uint8) * 255)
    ds = load_folder(tmp_path)
    assert ds.class_names == ("foreground",)
    np.testing.assert_array_equal(ds.masks[0, ..., 0], labels(0) > 0)
    assert ds.ignore is None
    assert load_folder(tmp_path, classes=["leaf"]).class_names == ("leaf",)


def test_colours_of_classes(tmp_path):
    write_folder(tmp_path, 2, classes=None)
    table = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 128], [255, 255, 255]], np.uint8)
    mask = labels(0)
    mask[0] = 3
    save(tmp_path / "masks" / "a.png", table[mask])
    save(tmp_path / "masks" / "b.png", table[labels(1)])
    (tmp_path / "classes.json").write_text('{"cat": [255, 0, 0], "dog": [0, 0, 128]}')
    ds = load_folder(tmp_path)
    np.testing.assert_array_equal(ds.masks[0, ..., 1], mask == 2)
    np.testing.assert_array_equal(ds.ignore[0], mask == 3)
    (tmp_path / "classes.json").write_text('{"cat": [255, 0, 0]}')
    fails(DataError, r"\[0, 0, 128\]; expected the colours of classes.json", load_folder, tmp_path)


def test_boxes_are_those_of_connected_regions(tmp_path):
    mask = np.zeros((16, 16), np.uint8)
    mask[2:5, 3:9] = 1
    mask[10, 10] = mask[11, 11] = 1  # touching corners are one region
    mask[0, 15] = 2
    save(tmp_path / "images" / "a.png", picture(0, (16, 16)))
    save(tmp_path / "masks" / "a.png", mask)
    ds = load_folder(tmp_path)
    assert ds.boxes_of(0) == [(0, (3, 2, 8, 4)), (0, (10, 10, 11, 11)), (1, (15, 0, 15, 0))]
    assert region_boxes(np.zeros((4, 4, 2), np.uint8)) == []


def splits_of(path, **options):
    loaded = [load_folder(path, split=split, **options) for split in ("train", "val", "test")]
    return [{image.tobytes() for image in ds.images} for ds in loaded]


def test_split_folders_are_used_as_they_are_and_a_missing_test_is_drawn(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    counts = {"train": "abcdijklmn", "valid": "ef", "test": "gh"}
    for split, names in counts.items():
        write_folder(one / split, len(names), names=names, classes=None)
        for kind in ("images", "masks"):
            shutil.copytree(one / split / kind, two / kind / split)
    for root in (one, two):
        (root / "classes.txt").write_text("cat\ndog")
    for split, names in zip(("train", "val", "test"), counts.values(), strict=True):
        ds = load_folder(one, split=split)
        assert len(ds) == len(names)
        agree(load_folder(two, split=split), ds)
    shutil.rmtree(one / "test")
    assert [len(load_folder(one, split=s)) for s in ("train", "val", "test")] == [8, 2, 2]


def test_drawn_splits_depend_on_content_alone_and_keep_copies_together(tmp_path):
    write_folder(tmp_path / "one", 20)
    write_folder(tmp_path / "two", 20, names="tsrqponmlkjihgfedcba")
    train, val, test = splits_of(tmp_path / "one")
    assert [len(train), len(val), len(test)] == [14, 2, 4]
    assert len(train | val | test) == 20
    assert splits_of(tmp_path / "two") == [train, val, test]
    parts = splits_of(tmp_path / "one", val_share=0.5, test_share=0.13)
    assert [len(part) for part in parts] == [7, 10, 3]  # 2.6 is rounded
    for path in [*(tmp_path / "two").rglob("*.png")]:
        shutil.copy(path, path.with_stem(f"copy-{path.stem}"))
    for share in (0.1, 0.4):
        train, val, test = splits_of(tmp_path / "two", val_share=share, test_share=share)
        assert len(train | val | test) == len(train) + len(val) + len(test) == 20


def test_upright_mask_of_a_turned_photo(tmp_path):
    save(tmp_path / "images" / "a.png", picture(0, (16, 24)), orientation=6)
    save(tmp_path / "masks" / "a.png", labels(0, (24, 16)))
    assert load_folder(tmp_path).image_size == (24, 16)
    save(tmp_path / "masks" / "a.png", labels(0, (16, 24)))
    fails(DataError, "mask 16x24, image 24x16, turned by 90 degrees", load_folder, tmp_path)
