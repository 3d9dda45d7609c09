import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segjax.config import Config
from segjax.data.check.__main__ import main
from segjax.data.own.source import open_source, quick_check
from segjax.errors import DataError
from tests.data.data_files import coco_tables, dataset, labels, save, write_coco, write_folder


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs the command in an empty folder and returns its code, output and errors."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return lambda *arguments: (main([*map(str, arguments)]), *capsys.readouterr())


def test_good_data_gives_counts_balance_and_a_sheet(tmp_path, run):
    code, out, err = run(write_folder(tmp_path / "data", 10), "--json=report.json")
    assert (code, err) == (0, "")
    for line in ("train: 7 images, height x width 16x24", "val: 1 images", "test: 2 images"):
        assert line in out
    assert "result: nothing wrong" in out
    with Image.open("contact-sheet.png") as sheet:
        assert min(sheet.size) > 320
    report = json.loads((tmp_path / "here" / "report.json").read_text())
    assert report["failed"] is False
    counted = sum(part["class_pixels"]["dog"] for part in report["splits"].values())
    assert counted == sum(int((labels(index) == 2).sum()) for index in range(10))
    assert f"{report['splits']['test']['objects']['cat']} objects" in out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_report_that_cannot_be_written_is_told_with_its_name(tmp_path, run):
    code, _, err = run(write_folder(tmp_path / "data", 4), "--sheet=", "--json=/dev/full")
    assert (code, err) == (2, "error: /dev/full: cannot be written (No space left on device)\n")


def test_an_absent_class_is_a_fault_and_everything_wrong_is_told_at_once(tmp_path, run):
    root = write_folder(tmp_path / "absent", 10, classes="cat\ndog\nzebra\n")
    code, out, _ = run(root)
    assert code == 1
    assert "fault: a class without any pixel to learn from: zebra (in train)" in out
    assert "notice: a class without any pixel to measure it by (2 times): zebra (in val)" in out
    root = write_folder(tmp_path / "data", 12)
    (root / "masks" / "a.png").unlink()
    (root / "images" / "b.png").write_bytes(b"no picture")
    save(root / "masks" / "c.png", labels(0) * 9)
    save(root / "masks" / "d.png", labels(0, (8, 8), 1))
    save(root / "images" / "e.png", np.zeros((16, 24, 3), np.uint8))
    shutil.copy(root / "images" / "f.png", root / "images" / "g.png")
    code, out, _ = run(root)
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


def test_pictures_in_two_splits_are_a_fault(tmp_path, run):
    write_folder(tmp_path / "data" / "train", 6, classes=None)
    write_folder(tmp_path / "data" / "test", 3, names="xyz", classes=None)
    for kind in ("images", "masks"):
        shutil.copy(tmp_path / "data" / "train" / kind / "d.png", tmp_path / "data" / "test" / kind)
    code, out, _ = run(tmp_path / "data", "--val_share=0")
    assert code == 1
    # Pictures x, y and z are also those of a, b and c: the same seeds made them.
    fault = "fault: the same picture in more than one split (4 times): test/images/d.png (test, "
    assert fault in out
    (warning,) = quick_check(open_source(Config(data=f"folder:{tmp_path / 'data'}", val_share=0.0)))
    assert "4 pictures are in both train and test" in warning


def test_near_duplicates_on_request(tmp_path, run):
    smooth = np.linspace(0, 255, 64 * 64).reshape(64, 64)
    base = np.stack([smooth, smooth.T, 255 - smooth], axis=-1).astype(np.uint8)
    base[10:30, 20:50] = 255
    for split, name, quality in (("train", "a", 95), ("test", "b", 40)):
        save(tmp_path / split / "images" / f"{name}.jpg", base, quality=quality)
        save(tmp_path / split / "masks" / f"{name}.png", np.ones((64, 64), np.uint8))
    code, out, _ = run(tmp_path, "--near_duplicates", "--val_share=0")
    assert code == 0
    assert "notice: almost the same picture in more than one split: test/images/b.jpg" in out
    assert "notice" not in run(tmp_path, "--val_share=0")[1]


def test_coco_npz_and_usage(tmp_path, run):
    pytest.importorskip("pycocotools")
    path = write_coco(tmp_path / "coco", coco_tables(6))
    code, out, _ = run(path, "--classes=dog", "--sheet=")
    assert code == 0
    assert "dog" in out
    assert "cat" not in out
    assert not (tmp_path / "here" / "contact-sheet.png").exists()
    np.savez(tmp_path / "a.npz", images=dataset(6).images, masks=dataset(6).masks)
    assert run(tmp_path / "a.npz")[0] == 0
    code, _, err = run(f"coco:{path}", "--classes=dgo")
    assert (code, err) == (1, f"error: {path}: no class 'dgo'; did you mean 'dog'?\n")
    assert run(tmp_path / "none")[0] == 1
    (tmp_path / "a.txt").write_text("")
    odd = [path, "--sheet=no/such/folder.png"], ["--fit=stretch", "x"], [tmp_path / "a.txt"]
    for wrong in (*odd, [path, path], [path, "--image_size=20"]):
        assert run(*wrong)[0] == 2


def test_purdue_shapes_files(tmp_path, run, monkeypatch):
    parts = {"a.gz": dataset(names=("cat", "dog"), start=0), "b.gz": dataset(start=2)}
    monkeypatch.setattr("segjax.data.check.shapes.load", lambda path: parts[path])
    code, out, _ = run("a.gz", "b.gz")
    assert code == 1
    assert "train: 4 images" in out
    assert "in more than one split (2 times): image 000004 (test, same as image 000002" in out
    parts |= {"x-test.gz": dataset(3), "x-train.gz": dataset(5, start=10), "y-test.gz": dataset(3)}
    code, out, _ = run("x-test.gz", "x-train.gz")
    assert code == 0
    assert "test: 3 images" in out
    assert "train: 5 images" in out
    assert "val" not in out
    assert run("x-test.gz", "y-test.gz")[0] == 2
    assert "one PATH at a time" in run("a.gz", "x-test.gz", "b.gz")[2]
    assert "test: 3 images" in run("x-test.gz")[1]
