"""Every wrong turn with a folder has one line that names the file and what to do."""

import shutil

import numpy as np
import pytest
from PIL import Image

from segjax.errors import DataError
from tests.data.data_files import fails, labels, load_folder, picture, save, write_folder


def remove(*names):
    return lambda root: [
        shutil.rmtree(root / name) if (root / name).is_dir() else (root / name).unlink()
        for name in names
    ]


def put(name, array):
    return lambda root: save(root / name, array)


def cut(name, end):
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:end])


def make(*names):
    return lambda root: [(root / name).mkdir() for name in names]


def write(name, text):
    return lambda root: (root / name).write_text(text)


def times(factor):
    """Multiply all masks, which no file names the classes of any more."""
    return lambda root: (
        write_folder(root, 8, stored=lambda mask: mask * factor),
        (root / "classes.txt").unlink(),
    )


def do(*changes):
    return lambda root: [change(root) for change in changes]


def one_level_down(root):
    for kind in ("images", "masks"):
        shutil.move(root / kind, root / "inner" / kind)


NO_IMAGES = "no images here; expected images/ and masks/"
JPEG = do(remove("images/c.png"), put("images/c.jpg", picture(0)), cut("images/c.jpg", -200))
BOMB = Image.new("1", (20000, 10000)).save
TABLE = do(remove("masks"), make("annotations"), write("annotations/instances.json", "{}"))
# What is done to a good folder, and what is said of it.
WRONG_TURNS = [
    (remove("masks/c.png"), "no mask for the image: images/c.png; add the mask"),
    (remove("images/c.png"), "no image for the mask: masks/c.png; add the image"),
    (put("masks/c.png", labels(0, (16, 16))),
     r"images/c.png \(mask 16x16, image 16x24\); draw the mask on this very image"),
    (put("masks/c.png", labels(0) * 7),
     r"out of range: images/c.png \(masks/c.png holds 7, 14; expected 0 to 2 and 255\)"),
    (put("masks/c.png", picture(0)[..., 0]),
     r"out of range: images/c.png \(masks/c.png holds 3, 4, .*and \d+ more; .*without"),
    (put("masks/c.png", picture(0)),
     r"a colour picture where class numbers belong: images/c.png \(masks/c.png\)"),
    (do(remove("masks/c.png"), put("masks/c.jpg", labels(0))),
     r"saved as JPEG.*: images/c.png \(masks/c.jpg\); save masks as PNG"),
    (cut("images/c.png", 200), r"cannot read the image: images/c.png \(.+\); restore or remove"),
    (cut("masks/c.png", 50), r"cannot read the mask: images/c.png \(masks/c.png: .+\)"),
    (JPEG, r"cannot read the image: images/c.jpg \(.*truncated"),
    (cut("images/c.png", 0), r"cannot read the image: images/c.png \(the file is empty\)"),
    (put("images/c.jpg", picture(0)), r"several files share one name: images/c.png \(and c.jpg\)"),
    (put("images/z.gif", picture(0)), "not a picture format that is read: images/z.gif; convert"),
    (lambda root: BOMB(root / "images" / "c.png"),
     r"decompression bomb: images/c.png \(more than 89,478,485 pixels\)"),
    (remove("masks"), "has images/ but no masks/ beside it"),
    (remove("images", "masks"), NO_IMAGES),
    (do(remove("images", "masks"), make("images", "masks")), NO_IMAGES),
    (remove(""), "no such folder"),
    (one_level_down, "no images here; did you mean .*inner"),
    (make("test"), "has test/ but no train/"),
    (make("train"), "has both images/ and train/"),
    (write("classes.json", "[]"), "has both classes.txt and classes.json"),
    (write("classes.txt", "cat\ncat\n"), "names the class 'cat' twice"),
    (times(50), r"masks hold the values 50, 100, not 1, 2, ... C; say which value"),
    (times(0), "no mask has any foreground"),
    (make("masks/cat"), r"holds masks \(a.png, .*\) beside folders of classes \(cat\)"),
    (TABLE, "annotations: holds no mask but instances.json; .*coco:"),
    (do(remove("classes.txt"), write("classes.json", '{"cat": ')), r"classes.json: not JSON"),
    (put("images/x\ny.png", picture(0)), r"x\\ny.png"),
    (remove(*(f"masks/{name}.png" for name in "abcdefg"), "images/h.png"),
     r"no mask for the image \(7 times\): images/a.png, images/b.png.* images/e.png and 2 more;"
     r".*\[also: no image for the mask\]"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "message"), WRONG_TURNS, ids=[m[:30] for _, m in WRONG_TURNS])
def test_wrong_turn_has_one_line(tmp_path, spoil, message):
    root = write_folder(tmp_path / "data", 8)
    load_folder(root)
    spoil(root)
    fails(DataError, message, load_folder, root, names=[root])


def test_class_folder_that_is_not_named_and_too_many_pixels(tmp_path):
    save(tmp_path / "images" / "a.png", picture(0))
    save(tmp_path / "masks" / "dgo" / "a.png", (labels(0) == 1).astype(np.uint8))
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    fails(DataError, "folder of masks: no class 'dgo'; did you mean 'dog'", load_folder, tmp_path)
    (tmp_path / "classes.txt").unlink()
    save(tmp_path / "masks" / "dgo" / "a.png", labels(0) * 40)
    fails(DataError, r"dgo/a.png holds 0, 40, 80; expected 0 and 1, or 255", load_folder, tmp_path)
    root = write_folder(tmp_path / "large", 4)
    message = r"GiB.*choose a smaller --image_size"
    fails(DataError, message, load_folder, root, image_size=8 * 32768)
