import zipfile

import numpy as np
import pytest

from segjax.errors import DataError
from tests.data.own.owndata_files import labels, load, picture


def arrays(count=6):
    return {
        "images": np.stack([picture(index) for index in range(count)]),
        "masks": np.stack([labels(index) for index in range(count)]),
    }


def write(path, **content):
    np.savez(path, **content)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data.npz"


def test_class_numbers_and_channels_agree(path):
    content = arrays()
    ds = load(write(path, **content, class_names=np.array(["cat", "dog"])))
    np.testing.assert_array_equal(ds.images, content["images"])
    np.testing.assert_array_equal(ds.masks[..., 1], content["masks"] == 2)
    assert ds.class_names == ("cat", "dog")
    assert ds.ignore is None
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


def test_images_are_resized(path):
    assert load(write(path, **arrays()), image_size=32).images.shape == (6, 32, 32, 3)


def wrong(**changes):
    return lambda: {**arrays(), **changes}


WRONG = [
    (wrong(images=arrays()["images"] / 255.0), r"images is float64, expected uint8 \(0..255"),
    (wrong(images=np.zeros((6, 16, 24, 4), np.uint8)), r"images has shape \[6, 16, 24, 4\]"),
    (wrong(masks=np.zeros((5, 16, 24), np.uint8)), r"masks has shape \[5, 16, 24\], expected \[6"),
    (wrong(masks=np.zeros((6, 16, 24))), "masks is float64"),
    (wrong(masks=arrays()["masks"] * 50), "masks go up to 100"),
    (wrong(class_names=np.array(["cat"])), r"mask values out of range.*image 000000 \(2; exp"),
    (wrong(class_names=np.array(["cat", "cat"])), "names the class 'cat' twice"),
    (wrong(class_names=np.array([1, 2])), "class_names must be a list of text"),
    (wrong(ignore=np.zeros((6, 16), bool)), r"ignore has shape \[6, 16\]"),
    (wrong(split=np.array(["train"] * 5)), "split must name train, val or test"),
    (wrong(split=np.array(["dev"] * 6)), "split must name train, val or test"),
    (lambda: {"images": arrays()["images"]}, "has no array 'masks'; it holds images"),
    (wrong(masks=np.array([{}] * 6)), "'masks' holds Python objects, which are never unpickled"),
    (wrong(masks=np.full((6, 16, 24, 2), 3, np.uint8)), r"mask values out of range.*\(3; expected"),
    (wrong(images=np.zeros((0, 16, 24, 3), np.uint8)), "images is empty"),
]


@pytest.mark.parametrize(("content", "message"), WRONG, ids=[m[:25] for _, m in WRONG])
def test_wrong_arrays_have_one_line(path, content, message):
    with pytest.raises(DataError, match=message) as caught:
        load(write(path, **content()))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_pickle_inside_never_runs(path, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    trapped = np.array([Trap()], dtype=object)
    np.savez(path, images=arrays()["images"], masks=trapped)
    with pytest.raises(DataError, match="never unpickled"):
        load(path)
    assert not (tmp_path / "ran").exists()


def test_damaged_files(path, tmp_path):
    write(path, **arrays())
    content = path.read_bytes()
    for damaged in (b"", b"text", content[:-100], content[:500]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"not a whole .npz file"):
            load(path)
    middle = content.index(b"images.npy") + 2000
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    with pytest.raises(DataError, match="CRC"):
        load(path)
    with pytest.raises(DataError, match="no such file"):
        load(tmp_path / "none.npz")


def test_a_header_that_lies_about_its_size(path):
    write(path, **arrays())
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    member = members["images.npy"]
    assert b"(6, 16, 24, 3)" in member
    members["images.npy"] = member.replace(b"(6, 16, 24, 3)", b"(9876, 99, 99, 3)").replace(
        b" " * 3 + b"\n", b"\n"
    )
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(DataError, match=r"'images' is damaged .its header states 290384028 bytes"):
        load(path)
