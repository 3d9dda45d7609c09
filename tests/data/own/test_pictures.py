import os

import numpy as np
import pytest
from PIL import Image

from segjax.data.own.pictures import picture_size, read_image, read_labels
from segjax.data.own.problems import FileProblemError
from tests.data.data_files import fails, flipped, picture, save


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "jpg"])
def test_lossless_formats_keep_every_pixel_and_jpeg_is_close(tmp_path, suffix):
    image = picture(0) if suffix != "jpg" else np.full((16, 24, 3), (200, 100, 50), np.uint8)
    path = save(tmp_path / f"a.{suffix}", image)
    np.testing.assert_allclose(read_image(path).astype(int), image, atol=3 * (suffix == "jpg"))
    assert picture_size(path) == (16, 24)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_exif_orientation_is_applied_to_pixels_and_size(tmp_path, suffix, orientation):
    image = np.zeros((16, 24, 3), np.uint8)
    image[:8, :8] = 255  # bright at the stored top left
    path = save(tmp_path / f"a.{suffix}", image, orientation=orientation)
    upright = read_image(path)
    # Quarter turns counter-clockwise that undo each orientation.
    expected = np.rot90(image, {1: 0, 3: 2, 6: 3, 8: 1}[orientation])
    assert upright.shape == expected.shape
    assert np.abs(upright.astype(int) - expected).max() < 60
    assert picture_size(path) == upright.shape[:2]
    if suffix != "tif":
        assert read_image(path, upright=False).shape == image.shape


def grey_of(values):
    return np.repeat(np.array(values)[..., None], 3, axis=2)


def test_grey_transparency_and_palettes(tmp_path):
    grey = picture(1)[..., 0]
    wide = np.array([[0, 257, 65535], [128, 129, 32896]], np.uint16)
    for stored, expected in ((grey, grey), (wide, [[0, 1, 255], [0, 1, 128]])):
        read = read_image(save(tmp_path / "a.png", stored))
        np.testing.assert_array_equal(read, grey_of(expected))
    # Transparency lies over black.
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0] = [[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 128]]
    read = read_image(save(tmp_path / "a.png", pixels))
    np.testing.assert_array_equal(read[0, :2], [[200, 100, 50], [0, 0, 0]])
    np.testing.assert_allclose(read[0, 2], [100, 50, 25], atol=1)
    # A palette gives colours for images and indices for masks.
    indexed = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    indexed.putpalette([9, 9, 9, 10, 20, 30, 40, 50, 60])
    indexed.save(tmp_path / "a.png")
    colours = [[[9, 9, 9], [10, 20, 30], [40, 50, 60]]]
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), colours)
    for path, values in (
        (tmp_path / "a.png", [[0, 1, 2]]),
        (save(tmp_path / "b.png", np.array([[True, False, True]])), [[1, 0, 1]]),
        (save(tmp_path / "c.png", grey_of([[3, 0, 255]]).astype(np.uint8)), [[3, 0, 255]]),
    ):
        np.testing.assert_array_equal(read_labels(path), values)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
def test_damaged_files_are_refused(tmp_path, suffix):
    path = save(tmp_path / f"a.{suffix}", picture(2, (40, 40)))
    content = path.read_bytes()
    damaged = [b"", b"not a picture", content[: len(content) // 2]]
    if suffix == "png":
        damaged.append(flipped(content, len(content) // 2, 16))
        # The last 12 bytes are the end mark.
        small = save(tmp_path / "small.png", picture(3, (8, 8))).read_bytes()
        damaged += [small[:length] for length in range(len(small) - 12)]
    for content in damaged:
        path.write_bytes(content)
        fails(FileProblemError, "unreadable image: .", read_image, path)


def test_other_refusals(tmp_path, monkeypatch):
    others = [Image.fromarray(picture(1))]
    save(tmp_path / "pages.tif", picture(0), save_all=True, append_images=others)
    save(tmp_path / "float.tif", np.zeros((8, 8), np.float32))
    save(tmp_path / "mask.jpg", picture(0))
    fails(FileProblemError, "several pages", read_image, tmp_path / "pages.tif")
    fails(FileProblemError, "pixel type", read_image, tmp_path / "float.tif")
    fails(FileProblemError, "lossy mask", read_labels, tmp_path / "mask.jpg")
    fails(FileProblemError, "unreadable image", read_image, tmp_path / "none.png")
    # A decompression bomb is known by its header.
    path = save(tmp_path / "a.png", picture(0, (40, 40)))
    for limit in (1000, 500):  # Pillow warns above its limit and raises above twice that
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        for read in (read_image, picture_size):
            fails(FileProblemError, "too many pixels", read, path)


def test_moving_pictures_are_refused_and_pipes_not_opened(tmp_path):
    first, *others = (Image.fromarray(picture(index)) for index in range(3))
    first.save(tmp_path / "a.png", save_all=True, append_images=others)
    for read in (read_image, read_labels):
        fails(FileProblemError, "3 pages", read, tmp_path / "a.png")
    os.mkfifo(tmp_path / "b.png")
    fails(FileProblemError, "not a regular file", read_image, tmp_path / "b.png")
    (tmp_path / "c.png").symlink_to(tmp_path / "c.png")
    fails(FileProblemError, "unreadable image", read_image, tmp_path / "c.png")
