import json
import shutil

import numpy as np
import pytest
from PIL import Image

from segjax.colours import class_rgb
from segjax.config import Config
from segjax.data import Dataset
from segjax.data.check.__main__ import check_source, main, open_for_check
from segjax.data.check.near_duplicates import difference_hash, near_pairs
from segjax.data.own.problems import KINDS
from segjax.data.own.quick import quick_check
from segjax.data.own.source import open_source
from segjax.errors import ConfigError, DataError
from tests.data.own.owndata_files import (
    coco_tables,
    labels,
    picture,
    save,
    write_coco,
    write_folder,
)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_good_data_gives_counts_balance_and_a_sheet(tmp_path, capsys):
    root = write_folder(tmp_path / "data", 10)
    code, out, err = run(capsys, root, "--json=report.json")
    assert (code, err) == (0, "")
    assert "train: 7 images, height x width 16x24" in out
    assert "val: 1 images" in out
    assert "test: 2 images" in out
    assert "result: nothing wrong" in out
    with Image.open("contact-sheet.png") as sheet:
        assert sheet.width > 320
        assert sheet.height > 320
    report = json.loads((tmp_path / "here" / "report.json").read_text())
    assert report["failed"] is False
    counted = sum(part["class_pixels"]["dog"] for part in report["splits"].values())
    assert counted == sum(int((labels(index) == 2).sum()) for index in range(10))
    assert f"{report['splits']['test']['objects']['cat']} objects" in out


def test_the_sheet_shows_masks_in_their_colour(tmp_path, capsys):
    save(
        tmp_path / "data" / "a.png",
        np.full((160, 160, 3), 100, np.uint8) - np.eye(160, dtype=np.uint8)[..., None],
    )
    mask = np.zeros((160, 160), np.uint8)
    mask[:, 80:] = 1
    save(tmp_path / "data" / "a_mask.png", mask)
    code, _, _ = run(capsys, tmp_path / "data", "--val_share=0", "--test_share=0")
    assert code == 0
    pixels = np.array(Image.open("contact-sheet.png"))
    expected = (0.45 * 100 + 0.55 * np.array(class_rgb(0))).astype(np.uint8)
    shown = (pixels == expected).all(axis=-1).sum()
    assert abs(int(shown) - 80 * 160) <= 160


def test_everything_wrong_is_told_at_once(tmp_path, capsys):
    root = write_folder(tmp_path / "data", 12)
    (root / "masks" / "a.png").unlink()
    (root / "images" / "b.png").write_bytes(b"no picture")
    save(root / "masks" / "c.png", labels(0) * 9)
    save(root / "masks" / "d.png", labels(0, (8, 8), 1))
    save(root / "images" / "e.png", np.zeros((16, 24, 3), np.uint8))
    shutil.copy(root / "images" / "f.png", root / "images" / "g.png")
    code, out, _ = run(capsys, root)
    assert code == 1
    for line in (
        "error: no mask for the image: images/a.png",
        "error: cannot read the image: images/b.png",
        "error: mask values out of range: images/c.png (masks/c.png holds 9, 18; expected 0 to 2",
        "error: mask and image differ in size: images/d.png (mask 8x8, image 16x24)",
        "notice: an image of one single colour: images/e.png",
        "notice: the same picture twice in one split: images/g.png (same as images/f.png)",
        "result: 4 errors, 2 notices",
    ):
        assert line in out
    with pytest.raises(DataError, match="no mask for the image"):
        open_source(Config(data=f"folder:{root}"))


def test_pictures_in_two_splits_are_a_fault(tmp_path, capsys):
    write_folder(tmp_path / "data" / "train", 6, classes=None)
    write_folder(tmp_path / "data" / "test", 3, names="xyz", classes=None)
    for kind in ("images", "masks"):
        shutil.copy(tmp_path / "data" / "train" / kind / "d.png", tmp_path / "data" / "test" / kind)
    code, out, _ = run(capsys, tmp_path / "data", "--val_share=0")
    assert code == 1
    # Pictures x, y and z are also those of a, b and c: the same seeds made them.
    assert (
        "fault: the same picture in more than one split (4 times): test/images/d.png (test, " in out
    )
    splits = open_source(Config(data=f"folder:{tmp_path / 'data'}", val_share=0.0))
    (warning,) = quick_check(*splits)
    assert "4 pictures are in both train and test" in warning


def test_an_absent_class_is_a_fault(tmp_path, capsys):
    root = write_folder(tmp_path / "data", 10, classes="cat\ndog\nzebra\n")
    code, out, _ = run(capsys, root)
    assert code == 1
    assert "fault: a class without any pixel to learn from: zebra (in train)" in out
    assert "notice: a class without any pixel to measure it by (2 times): zebra (in val)" in out


def test_near_duplicates_on_request(tmp_path, capsys):
    smooth = np.linspace(0, 255, 64 * 64).reshape(64, 64)
    base = np.stack([smooth, smooth.T, 255 - smooth], axis=-1).astype(np.uint8)
    base[10:30, 20:50] = 255
    for split, name, quality in (("train", "a", 95), ("test", "b", 40)):
        (tmp_path / split / "images").mkdir(parents=True)
        Image.fromarray(base).save(tmp_path / split / "images" / f"{name}.jpg", quality=quality)
        save(tmp_path / split / "masks" / f"{name}.png", np.ones((64, 64), np.uint8))
    code, out, _ = run(capsys, tmp_path, "--near_duplicates", "--val_share=0")
    assert code == 0
    assert "notice: almost the same picture in more than one split: test/images/b.jpg" in out
    assert "notice" not in run(capsys, tmp_path, "--val_share=0")[1]
    noise = [("train", f"n{i}", difference_hash(picture(i, (64, 64)))) for i in range(40)]
    noise += [("test", f"n{i}", difference_hash(picture(i, (64, 64)))) for i in range(40, 80)]
    assert near_pairs(noise) == []


def test_coco_npz_and_usage(tmp_path, capsys):
    pytest.importorskip("pycocotools")
    (tmp_path / "coco").mkdir()
    path = write_coco(tmp_path / "coco", coco_tables(6))
    code, out, _ = run(capsys, path, "--classes=dog", "--sheet=")
    assert code == 0
    assert "dog" in out
    assert "cat" not in out
    assert not (tmp_path / "here" / "contact-sheet.png").exists()
    np.savez(
        tmp_path / "a.npz",
        images=np.stack([picture(i) for i in range(6)]),
        masks=np.stack([labels(i) for i in range(6)]),
    )
    assert run(capsys, tmp_path / "a.npz")[0] == 0
    assert run(capsys, f"coco:{path}", "--classes=dgo")[::2] == (
        1,
        f"error: {path}: no class 'dgo'; did you mean 'dog'?\n",
    )
    assert run(capsys, tmp_path / "none")[0] == 1
    (tmp_path / "a.txt").write_text("")
    assert run(capsys, tmp_path / "a.txt")[0] == 2
    assert run(capsys, path, path)[0] == 2
    assert run(capsys, path, "--image_size=20")[0] == 2
    assert run(capsys, path, "--sheet=no/such/folder.png")[0] == 2
    assert run(capsys, "--fit=stretch", "x")[0] == 2


def dataset(count=4, *, size=(16, 24), names=("cat", "dog"), start=0, **changes):
    masks = np.stack([labels(start + i, size, len(names)) for i in range(count)])
    content = {
        "images": np.stack([picture(start + i, size) for i in range(count)]),
        "masks": np.stack([masks == value + 1 for value in range(len(names))], -1).astype(np.uint8),
        "boxes": np.zeros((0, 4), np.int32),
        "box_image": np.zeros(0, np.int32),
        "box_class": np.zeros(0, np.uint8),
        "label_map": dict.fromkeys(names, 1),
        "name": "things",
    }
    return Dataset(**(content | changes))


def test_quick_check_passes_good_data():
    assert quick_check(dataset(), dataset(start=10), dataset(start=20)) == []
    assert quick_check(dataset()) == []


def test_quick_check_refuses_by_name():
    train = dataset()
    for test, message in (
        (dataset(size=(24, 24), start=9), "things: images of 24x24, but those of train are 16x24"),
        (dataset(names=("dog", "cat"), start=9, name="t"), "t: classes dog, cat, but those of"),
        (dataset(start=9)[:0], "the test split has no image"),
        (dataset(start=9, ignore=np.ones((4, 16, 24), bool)), "every pixel of the test split"),
    ):
        with pytest.raises(DataError, match=message):
            quick_check(train, None, test)
    empty = dataset(masks=np.zeros((4, 16, 24, 2), np.uint8))
    with pytest.raises(DataError, match="no training mask has any foreground"):
        quick_check(empty)
    with pytest.raises(DataError, match="both sides must be multiples of 8"):
        quick_check(dataset(size=(12, 24)))


def test_quick_check_warns_of_an_absent_class():
    masks = dataset().masks.copy()
    masks[..., 1] = 0
    assert quick_check(dataset(masks=masks)) == ["things: no pixel of dog in the train masks"]


def test_open_source_keeps_one_size(tmp_path):
    root = write_folder(tmp_path / "data", 10)
    splits = open_source(Config(data=f"folder:{root}", image_size=32, fit="pad"))
    assert {part.image_size for part in splits} == {(32, 32)}
    assert [len(part) for part in splits] == [7, 1, 2]
    for spec in ("folder:", "photos", "zip:photos"):
        with pytest.raises(ConfigError, match=r"expected folder:PATH, coco:ANNOTATIONS.json"):
            open_source(Config(data=spec))
    with pytest.raises(DataError, match="no image is left for training"):
        open_source(Config(data=f"folder:{write_folder(tmp_path / 'one', 1)}"))


def test_purdue_shapes_files(tmp_path, capsys, monkeypatch):
    parts = {"a.gz": dataset(names=("cat", "dog"), start=0), "b.gz": dataset(start=2)}
    monkeypatch.setattr("segjax.data.check.shapes.load", lambda path: parts[path])
    code, out, _ = run(capsys, "a.gz", "b.gz")
    assert code == 1
    assert "train: 4 images" in out
    assert "in more than one split (2 times): image 000004 (test, same as image 000002" in out
    parts |= {"x-test.gz": dataset(3), "x-train.gz": dataset(5, start=10), "y-test.gz": dataset(3)}
    code, out, _ = run(capsys, "x-test.gz", "x-train.gz")
    assert code == 0
    assert "test: 3 images" in out
    assert "train: 5 images" in out
    assert "val" not in out
    assert run(capsys, "x-test.gz", "y-test.gz")[0] == 2
    assert "test: 3 images" in run(capsys, "x-test.gz")[1]


def test_every_kind_of_problem_has_words():
    assert all(kind.headline and kind.advice for kind in KINDS.values())
    assert {kind.level for kind in KINDS.values()} == {"error", "fault", "notice"}


def test_report_counts_ignored_pixels_and_boxes_of_the_file(tmp_path):
    pytest.importorskip("pycocotools")
    path = write_coco(tmp_path, coco_tables(6))
    config = Config(min_object_area=6.0, val_share=0.0, test_share=0.0)
    report, tiles = check_source(open_for_check([str(path)], config), config)
    part = report.splits["train"]
    assert part.ignored_pixels == 6 * 5
    assert part.pixels == 6 * (16 * 24 - 5)
    assert part.objects == {"cat": 0, "dog": 6}
    assert len(tiles) == 6
