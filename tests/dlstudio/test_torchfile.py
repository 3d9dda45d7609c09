"""PyTorch's file format without PyTorch: what is read, and what is refused."""

import pickle
import zipfile

import numpy as np
import pytest

from segjax.dlstudio.torchfile import read_torch_file, write_torch_file
from segjax.errors import CheckpointError
from tests.data.data_files import flipped
from tests.dlstudio.states import assert_same
from tests.goldens import recipe

TENSORS = {
    "a.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "a.bias": np.array([1.5, -2.5]),
    "a.half": np.array([0.5, 2.0], np.float16),
    "a.empty": np.zeros((0, 3), np.float32),
    "a.count": np.array(7),
    "a.bytes": np.array([0, 255], np.uint8),
}


def archive(tmp_path, description, *, compress=zipfile.ZIP_STORED):
    path = tmp_path / "saved_model"
    with zipfile.ZipFile(path, "w", compress) as file:
        file.writestr("saved_model/data.pkl", description)
        file.writestr("saved_model/data/0", np.arange(4, dtype=np.float32).tobytes())
        file.writestr("saved_model/version", "3\n")
    return path


def tensor(*, shape=(4,), strides=(1,), offset=0):
    """Assemble a state_dict of one tensor, by hand."""
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
    storage += b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
    sizes = (b"(" + b"".join(b"K%c" % n for n in part) + b"t" for part in (shape, strides))
    rebuilt = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K%c" % offset + b"".join(sizes)
    return b"\x80\x02}(X\x01\x00\x00\x00w" + rebuilt + b"\x89ccollections\nOrderedDict\n)RtRu."


def test_what_is_written_by_torch_or_by_hand_is_read(tmp_path):
    path = tmp_path / "saved_model"
    write_torch_file(path, TENSORS)
    # The other was written by scripts/parity/goldens.py: a transposed view, a slice, a shared
    # storage, a scalar.
    written = (path, TENSORS), (recipe.TORCH_FILE, recipe.torch_file_tensors())
    for file, tensors in written:
        found = read_torch_file(file)
        assert_same(found, tensors)
        assert all(value.flags.writeable for value in found.values())
    assert list(tmp_path.iterdir()) == [path], "nothing else is left behind"
    assert path.read_bytes().find(TENSORS["a.weight"].tobytes()) % 64 == 0
    turned = tensor(shape=(2, 2), strides=(1, 2))
    for description, values in ((tensor(), [0, 1, 2, 3]), (turned, [[0, 2], [1, 3]])):
        found = read_torch_file(archive(tmp_path, description))
        np.testing.assert_array_equal(found["w"], values)


BROKEN = [b"", *(b"\x80\x02" + end for end in (b"}", b"t.", b"h\x05.", b"K\x01Q."))]
BROKEN += [b"\x80\x02X\xff\xff\xff\x7fw.", b"\x80\x02ctorch\nFloatStorage\n)R."]
BROKEN += [tensor()[:-1], tensor(strides=(1, 1))]


class Evil:
    def __reduce__(self):
        return (open, ("evil", "w"))


def test_other_descriptions_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for description, told in (
        (pickle.dumps({"w": Evil()}, 2), "names 'io open'|names '__builtin__ open'|io open"),
        (pickle.dumps({"w": Evil()}, 4), "instruction FRAME"),
        (b"\x80\x02cos\nsystem\n(X\x04\x00\x00\x00evilt" + b"R.", "names 'os system'"),
        (b"\x80\x02}(ccollections\nOrderedDict\nK\x01u.", "mapping from names to tensors"),
        *((other, "holds no state_dict") for other in (b"\x80\x02}.", b"\x80\x02K\x01.")),
        (b"\x80\x02}X\x01\x00\x00\x00wK\x01s.", "'w' is no tensor"),
        *((broken, "not well formed") for broken in BROKEN),
        (tensor(shape=(5,)), r"shape \(5,\) but 4 values"),
        (tensor(shape=(200, 200, 200), strides=(0, 0, 0)), "but 4 values"),
        (tensor(offset=1), "reaches beyond its 4 values"),
        (tensor(strides=(2,)), "reaches beyond its 4 values"),
        # Each level holds the one before twice: hashing the last would take 2**60 steps.
        (b"\x80\x02}K\x01" + b"q\x00h\x00\x86" * 60 + b"K\x01s.", "mapping from names"),
    ):
        path = archive(tmp_path, description)
        with pytest.raises(CheckpointError, match=told) as caught:
            read_torch_file(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "evil").exists()


def test_what_cannot_be_read_or_written_is_named(tmp_path):
    path = tmp_path / "saved_model"
    write_torch_file(path, TENSORS)
    data = path.read_bytes()
    (tmp_path / "cut").write_bytes(data[: len(data) // 2])
    inside = data.find(TENSORS["a.weight"].tobytes()) + 5
    (tmp_path / "changed").write_bytes(flipped(data, inside))
    (tmp_path / "old").write_bytes(pickle.dumps({"a": 1}))
    np.savez(tmp_path / "foreign.npz", a=np.zeros(3))
    archive(tmp_path, tensor(), compress=zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(tmp_path / "part", "w") as file:
        file.writestr("saved_model/data.pkl", tensor())
    files = sorted(tmp_path.iterdir())
    for name, told in (
        ("cut", r"not a file of torch\.save"),
        ("old", r"before 1\.6"),
        ("foreign.npz", r"no single data\.pkl"),
        ("changed", "CRC"),
        ("absent", "cannot be read: No such file or directory$"),
        ("", "."),
        ("saved_model", "compressed"),
        ("part", "data/0 is missing"),
    ):
        with pytest.raises(CheckpointError, match=told) as caught:
            read_torch_file(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
    for name, tensors, told in (
        ("part", {"w": np.zeros(2, np.complex64)}, "w: dtype complex64"),
        ("none/f", TENSORS, "cannot be written"),
    ):
        with pytest.raises(CheckpointError, match=told):
            write_torch_file(tmp_path / name, tensors)
    assert sorted(tmp_path.iterdir()) == files
