"""PyTorch's file format without PyTorch: what is read, and what is refused."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from segjax.dlstudio.torchfile import read_torch_file, write_torch_file
from segjax.errors import CheckpointError
from tests.data.data_files import flipped
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


@pytest.fixture
def written(tmp_path):
    write_torch_file(tmp_path / "saved_model", TENSORS)
    return tmp_path / "saved_model"


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        assert found[name].flags.writeable
        np.testing.assert_array_equal(found[name], value)


def test_what_is_written_is_read_and_aligned(written):
    assert_same(read_torch_file(written), TENSORS)
    assert list(written.parent.iterdir()) == [written], "nothing else is left behind"
    assert written.read_bytes().find(TENSORS["a.weight"].tobytes()) % 64 == 0


def test_files_of_torch_and_by_hand_are_understood(tmp_path):
    # Written by scripts/parity/goldens.py: a transposed view, a slice, a shared storage, a scalar.
    assert_same(read_torch_file(recipe.TORCH_FILE), recipe.torch_file_tensors())
    found = read_torch_file(archive(tmp_path, tensor()))
    np.testing.assert_array_equal(found["w"], [0, 1, 2, 3])
    found = read_torch_file(archive(tmp_path, tensor(shape=(2, 2), strides=(1, 2))))
    np.testing.assert_array_equal(found["w"], [[0, 2], [1, 3]])


class Evil:
    def __reduce__(self):
        return (open, ("evil", "w"))


@pytest.mark.parametrize(
    ("description", "told"),
    [
        (pickle.dumps({"w": Evil()}, 2), "names 'io open'|names '__builtin__ open'|io open"),
        (pickle.dumps({"w": Evil()}, 4), "instruction FRAME"),
        (b"\x80\x02cos\nsystem\n(X\x04\x00\x00\x00evilt" + b"R.", "names 'os system'"),
        (b"\x80\x02}(ccollections\nOrderedDict\nK\x01u.", "mapping from names to tensors"),
        (b"\x80\x02}.", "holds no state_dict"),
        (b"\x80\x02K\x01.", "holds no state_dict"),
        (b"\x80\x02}X\x01\x00\x00\x00wK\x01s.", "'w' is no tensor"),
        (b"\x80\x02}", "not well formed"),
        (b"", "not well formed"),
        (b"\x80\x02t.", "not well formed"),
        (b"\x80\x02h\x05.", "not well formed"),
        (b"\x80\x02X\xff\xff\xff\x7fw.", "not well formed"),
        (b"\x80\x02ctorch\nFloatStorage\n)R.", "not well formed"),
        (b"\x80\x02K\x01Q.", "not well formed"),
        (tensor()[:-1], "not well formed"),
        (tensor(shape=(5,)), r"shape \(5,\) but 4 values"),
        (tensor(shape=(200, 200, 200), strides=(0, 0, 0)), "but 4 values"),
        (tensor(offset=1), "reaches beyond its 4 values"),
        (tensor(strides=(2,)), "reaches beyond its 4 values"),
        (tensor(strides=(1, 1)), "not well formed"),
        # Each level holds the one before twice: hashing the last would take 2**60 steps.
        (b"\x80\x02}K\x01" + b"q\x00h\x00\x86" * 60 + b"K\x01s.", "mapping from names"),
    ],
)
def test_other_descriptions_are_refused(tmp_path, description, told, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = archive(tmp_path, description)
    with pytest.raises(CheckpointError, match=told) as caught:
        read_torch_file(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "evil").exists()


def foreign(_):
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda data: data[: len(data) // 2], r"not a file of torch\.save"),
        (lambda _: pickle.dumps({"a": 1}), r"before 1\.6"),
        (foreign, r"no single data\.pkl"),
        (lambda data: flipped(data, data.find(TENSORS["a.weight"].tobytes()) + 5), "CRC"),
    ],
)
def test_cut_foreign_and_changed_files_are_named(written, change, told):
    written.write_bytes(change(written.read_bytes()))
    with pytest.raises(CheckpointError, match=told) as caught:
        read_torch_file(written)
    assert str(written) in str(caught.value)


def test_what_cannot_be_read_or_written_is_named(tmp_path):
    compressed = archive(tmp_path, tensor(), compress=zipfile.ZIP_DEFLATED)
    part = tmp_path / "part"
    with zipfile.ZipFile(part, "w") as file:
        file.writestr("saved_model/data.pkl", tensor())
    files = sorted(tmp_path.iterdir())
    for told, work, *given in (
        ("No such file", read_torch_file, tmp_path / "absent"),
        (str(tmp_path), read_torch_file, tmp_path),
        ("compressed", read_torch_file, compressed),
        ("data/0 is missing", read_torch_file, part),
        ("w: dtype complex64", write_torch_file, part, {"w": np.zeros(2, np.complex64)}),
        ("cannot be written", write_torch_file, tmp_path / "none" / "f", TENSORS),
    ):
        with pytest.raises(CheckpointError, match=told):
            work(*given)
    assert sorted(tmp_path.iterdir()) == files
