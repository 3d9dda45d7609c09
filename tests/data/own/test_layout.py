"""Every wrong turn with a folder has one line that names the file and what to do."""

import shutil

import numpy as np
import pytest
from PIL import Image

from segjax.errors import DataError
from tests.data.own.owndata_files import labels, load_folder, picture, save, write_folder


def missing_mask(root):
    (root / "masks" / "c.png").unlink()


def missing_image(root):
    (root / "images" / "c.png").unlink()


def wrong_size(root):
    save(root / "masks" / "c.png", labels(0, (16, 16)))


def wrong_values(root):
    save(root / "masks" / "c.png", labels(0) * 7)


def smoothed(root):
    save(root / "masks" / "c.png", picture(0)[..., 0])


def colour(root):
    save(root / "masks" / "c.png", picture(0))


def jpeg_mask(root):
    (root / "masks" / "c.png").unlink()
    save(root / "masks" / "c.jpg", labels(0))


def corrupt_png(root):
    path = root / "images" / "c.png"
    path.write_bytes(path.read_bytes()[:200])


def corrupt_mask(root):
    path = root / "masks" / "c.png"
    path.write_bytes(path.read_bytes()[:50])


def truncated_jpeg(root):
    (root / "images" / "c.png").unlink()
    path = save(root / "images" / "c.jpg", picture(0))
    path.write_bytes(path.read_bytes()[:-200])


def empty_file(root):
    (root / "images" / "c.png").write_bytes(b"")


def duplicate_stem(root):
    save(root / "images" / "c.jpg", picture(0))


def wrong_format(root):
    Image.fromarray(picture(0)).save(root / "images" / "z.gif")


def bomb(root):
    Image.new("1", (20000, 10000)).save(root / "images" / "c.png")


def no_masks_folder(root):
    shutil.rmtree(root / "masks")


def no_images(root):
    shutil.rmtree(root / "images")
    shutil.rmtree(root / "masks")


def empty_folders(root):
    no_images(root)
    (root / "images").mkdir()
    (root / "masks").mkdir()


def nothing_there(root):
    shutil.rmtree(root)


def one_level_down(root):
    for kind in ("images", "masks"):
        shutil.move(root / kind, root / "inner" / kind)


def no_train(root):
    (root / "test").mkdir()


def both_splits_and_images(root):
    (root / "train").mkdir()


def two_class_files(root):
    (root / "classes.json").write_text("[]")


def same_class_twice(root):
    (root / "classes.txt").write_text("cat\ncat\n")


def values_without_names(root):
    (root / "classes.txt").unlink()
    for path in (root / "masks").iterdir():
        save(path, np.array(Image.open(path)) * 50)


def no_foreground(root):
    (root / "classes.txt").unlink()
    for path in (root / "masks").iterdir():
        save(path, np.zeros((16, 24), np.uint8))


def masks_beside_class_folders(root):
    (root / "masks" / "cat").mkdir()


def bad_json(root):
    (root / "classes.txt").unlink()
    (root / "classes.json").write_text('{"cat": ')


def coco_in_place_of_masks(root):
    shutil.rmtree(root / "masks")
    (root / "annotations").mkdir()
    (root / "annotations" / "instances.json").write_text("{}")


WRONG_TURNS = [
    (missing_mask, "no mask for the image: images/c.png; add the mask"),
    (missing_image, "no image for the mask: masks/c.png; add the image"),
    (wrong_size, r"images/c.png \(mask 16x16, image 16x24\); draw the mask on this very image"),
    (
        wrong_values,
        r"out of range: images/c.png \(masks/c.png holds 7, 14; expected 0 to 2 and 255\)",
    ),
    (smoothed, r"out of range: images/c.png \(masks/c.png holds 3, 4, .*and \d+ more; .*without"),
    (colour, r"a colour picture where class numbers belong: images/c.png \(masks/c.png\)"),
    (jpeg_mask, r"saved as JPEG.*: images/c.png \(masks/c.jpg\); save masks as PNG"),
    (corrupt_png, r"cannot read the image: images/c.png \(.+\); restore or remove"),
    (corrupt_mask, r"cannot read the mask: images/c.png \(masks/c.png: .+\)"),
    (truncated_jpeg, r"cannot read the image: images/c.jpg \(.*truncated"),
    (empty_file, r"cannot read the image: images/c.png \(the file is empty\)"),
    (duplicate_stem, r"several files share one name: images/c.png \(and c.jpg\)"),
    (wrong_format, "not a picture format that is read: images/z.gif; convert"),
    (bomb, r"decompression bomb: images/c.png \(more than 89,478,485 pixels\)"),
    (no_masks_folder, "has images/ but no masks/ beside it"),
    (no_images, "no images here; expected images/ and masks/"),
    (empty_folders, "no images here; expected images/ and masks/"),
    (nothing_there, "no such folder"),
    (one_level_down, "no images here; did you mean .*inner"),
    (no_train, "has test/ but no train/"),
    (both_splits_and_images, "has both images/ and train/"),
    (two_class_files, "has both classes.txt and classes.json"),
    (same_class_twice, "names the class 'cat' twice"),
    (values_without_names, r"masks hold the values 50, 100, not 1, 2, ... C; say which value"),
    (no_foreground, "no mask has any foreground"),
    (masks_beside_class_folders, r"holds masks \(a.png, .*\) beside folders of classes \(cat\)"),
    (coco_in_place_of_masks, "annotations: holds no mask but instances.json; .*coco:"),
    (bad_json, r"classes.json: not JSON"),
]


@pytest.mark.parametrize(
    ("spoil", "message"), WRONG_TURNS, ids=lambda x: getattr(x, "__name__", "")
)
def test_wrong_turn_has_one_line(tmp_path, spoil, message):
    root = write_folder(tmp_path / "data", 8)
    load_folder(root)
    spoil(root)
    with pytest.raises(DataError, match=message) as caught:
        load_folder(root)
    assert "\n" not in str(caught.value)
    assert str(root) in str(caught.value)


def test_five_names_then_a_count_and_other_kinds_are_mentioned(tmp_path):
    root = write_folder(tmp_path, 12)
    for name in "abcdefgh":
        (root / "masks" / f"{name}.png").unlink()
    (root / "images" / "k.png").unlink()
    with pytest.raises(DataError) as caught:
        load_folder(root)
    message = str(caught.value)
    assert "no mask for the image (8 times): images/a.png, images/b.png" in message
    assert "images/e.png and 3 more;" in message
    assert "[also: no image for the mask]" in message


def test_odd_file_names_stay_on_one_line(tmp_path):
    root = write_folder(tmp_path, 3)
    save(root / "images" / "x\ny.png", picture(0))
    with pytest.raises(DataError) as caught:
        load_folder(root)
    assert "\n" not in str(caught.value)
    assert r"x\ny.png" in str(caught.value)


def test_class_folder_that_is_not_named(tmp_path):
    save(tmp_path / "images" / "a.png", picture(0))
    save(tmp_path / "masks" / "dgo" / "a.png", (labels(0) == 1).astype(np.uint8))
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(DataError, match="folder of masks: no class 'dgo'; did you mean 'dog'"):
        load_folder(tmp_path)
    (tmp_path / "classes.txt").unlink()
    save(tmp_path / "masks" / "dgo" / "a.png", labels(0) * 40)
    with pytest.raises(DataError, match=r"dgo/a.png holds 0, 40, 80; expected 0 and 1, or 255"):
        load_folder(tmp_path)


def test_too_big_for_the_memory(tmp_path):
    write_folder(tmp_path, 4)
    with pytest.raises(DataError, match=r"GiB.*choose a smaller --image_size"):
        load_folder(tmp_path, image_size=8 * 32768)
