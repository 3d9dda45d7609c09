import os
import zipfile

import numpy as np
import pytest

from segjax.errors import DataError
from tests.data.data_files import Hostile, fails, flipped, labels, load, picture


def arrays(count=6):
    return {
        "images": np.stack([picture(index) for index in range(count)]),
        "masks": np.stack([labels(index) for index in range(count)]),
    }


def write(path, **content):
    np.savez(path, **{key: value for key, value in content.items() if value is not None})
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data.npz"


def test_class_numbers_and_channels_agree(path):
    content = arrays()
    ds = load(write(path, **content, class_names=np.array(["cat", "dog"])))
    assert load(path, image_size=32).images.shape == (6, 32, 32, 3)
    np.testing.assert_array_equal(ds.images, content["images"])
    np.testing.assert_array_equal(ds.masks[..., 1], content["masks"] == 2)
    assert (ds.class_names, ds.ignore) == (("cat", "dog"), None)
    channels = np.stack([content["masks"] == 1, content["masks"] == 2], axis=-1)
    for masks in (channels, channels.astype(np.uint8), channels.astype(np.uint8) * 255):
        other = load(write(path, images=content["images"], masks=masks))
        np.testing.assert_array_equal(other.masks, ds.masks)
        np.testing.assert_array_equal(other.boxes, ds.boxes)
        assert other.class_names == ("class_1", "class_2")
    assert load(path, classes=["a", "b"]).class_names == ("a", "b")
    one = load(path, classes=["class_2"])
    np.testing.assert_array_equal(one.masks[..., 0], content["masks"] == 2)


def test_grey_images_ignore_and_splits(path):
    content = arrays(4)
    hidden = np.zeros((4, 16, 24), bool)
    hidden[0, 0, 0] = True
    content["masks"][1, 5, 5] = 255
    content["images"] = content["images"][..., 0]
    split = np.array(["train", "train", "test", "val"])
    ds = load(write(path, **content, ignore=hidden, split=split))
    assert np.argwhere(ds.ignore).tolist() == [[0, 0, 0], [1, 5, 5]]
    assert (ds.images[..., 0] == ds.images[..., 2]).all()
    assert [len(load(path, split=s)) for s in ("train", "val", "test")] == [2, 1, 1]
    np.testing.assert_array_equal(load(path, split="test").images[0, ..., 1], picture(2)[..., 0])


def test_a_pickle_inside_never_runs_and_damage_is_told(path, tmp_path):
    write(path, images=arrays()["images"], masks=np.array([Hostile(tmp_path / "ran")]))
    message = "'masks' holds Python objects, which are never unpickled"
    fails(DataError, message, load, path, names=[path])
    assert not (tmp_path / "ran").exists()
    write(path, **arrays())
    content = path.read_bytes()
    for damaged in (b"", b"text", content[:-100], content[:500]):
        path.write_bytes(damaged)
        fails(DataError, r"not a whole .npz file", load, path)
    path.write_bytes(flipped(content, content.index(b"images.npy") + 2000))
    fails(DataError, "CRC", load, path)
    fails(DataError, "no such file", load, tmp_path / "none.npz")
    # A header that lies about its size.
    path.write_bytes(content)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for old, new in ((b"(6, 16, 24, 3)", b"(9876, 99, 99, 3)"), (b" " * 3 + b"\n", b"\n")):
        assert old in members["images.npy"]
        members["images.npy"] = members["images.npy"].replace(old, new, 1)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    fails(DataError, r"'images' is damaged .its header states 290384028 bytes", load, path)


def test_what_the_headers_say_is_looked_at_before_anything_is_unpacked(path, monkeypatch):
    monkeypatch.setattr(np.lib.format, "read_array", lambda *given, **how: pytest.fail("unpacked"))
    many = {"descr": "<U0", "fortran_order": False, "shape": (10**12,)}
    for changes, told in (
        ({"masks": np.zeros((6, 16, 23), np.uint8)}, r"masks has shape \[6, 16, 23\], expected"),
        ({"class_names": many}, "class_names has 1,000,000,000,000 names, more than 65,536"),
        ({"split": many}, "split must name train, val or test for each of 6 images"),
        ({"ignore": np.zeros((6, 16), bool)}, "ignore has shape"),
    ):
        with zipfile.ZipFile(path, "w") as archive:
            for key, values in {**arrays(), **changes}.items():
                with archive.open(f"{key}.npy", "w") as file:
                    stated = np.lib.format.header_data_from_array_1_0
                    header = values if values is many else stated(values)
                    np.lib.format.write_array_header_1_0(file, header)
                    file.write(b"" if values is many else values.tobytes())
        fails(DataError, told, load, path)
    with zipfile.ZipFile(path, "w") as archive:
        for key in ("images", "masks"):
            archive.writestr(f"{key}.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr': '|u1, (\n")
    fails(DataError, "array 'images' is damaged", load, path)
    path.unlink()
    os.mkfifo(path)
    fails(DataError, "not a regular file", load, path)


def test_the_second_version_of_npy_and_the_most_that_is_unpacked(path, monkeypatch):
    with zipfile.ZipFile(path, "w") as archive:
        for key, values in arrays().items():
            with archive.open(f"{key}.npy", "w") as file:
                np.lib.format.write_array(file, values, version=(2, 0))
    told = [zipfile.ZipInfo("images.npy"), zipfile.ZipInfo("masks.npy")]
    told[0].file_size, told[1].file_size = 2**36 - 1, 1
    monkeypatch.setattr(zipfile.ZipFile, "infolist", lambda self: told)
    assert len(load(path)) == 6
    told[1].file_size = 2
    fails(DataError, "unpacks to more than 64 GiB", load, path)
