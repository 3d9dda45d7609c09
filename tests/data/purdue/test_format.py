"""The loader against an independent unpickler, and against files that are wrong or hostile."""

import dataclasses
import functools
import gzip
import io
import pickle
import pickletools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy._core import multiarray, numeric

from segjax.data import Limits, load, synthetic, write_gz
from segjax.data.purdue import records
from segjax.data.purdue.records import RecordMachine
from segjax.errors import DataError
from tests.data.data_files import Hostile, agree, fails, flipped

read = functools.partial(load, cache=False, progress=False)


class ReferenceUnpickler(pickle.Unpickler):
    """Python's own unpickler with real NumPy classes and an allow-list: the independent reader."""

    def find_class(self, module, name):
        table = {
            ("multiarray", "_reconstruct"): multiarray._reconstruct,
            ("multiarray", "scalar"): multiarray.scalar,
            ("numeric", "_frombuffer"): numeric._frombuffer,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): lambda text, encoding: text.encode("latin1"),
        }
        return table[module.rpartition(".")[2], name]


def assert_same_as_reference(ds, path):
    """Compares a data set with the file's ``[dataset, label_map]``, value by value."""
    data = gzip.decompress(path.read_bytes())
    whole_records, label_map = ReferenceUnpickler(io.BytesIO(data), encoding="latin1").load()
    assert dict(ds.label_map) == label_map
    assert len(ds) == len(whole_records)
    for i in range(len(ds)):
        r, g, b, mask, boxes = whole_records[i]
        rgb = np.array([r, g, b], np.int64).reshape(3, *mask.shape[1:]).transpose(1, 2, 0)
        np.testing.assert_array_equal(ds.images[i], rgb)
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(ds.masks[i], mask.transpose(1, 2, 0))
        expected = [(c, tuple(map(int, box))) for c, group in boxes.items() for box in group]
        assert ds.boxes_of(i) == expected


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_and_writer_gives_the_values_and_runs_nothing(
    protocol, small, small_object, write_pickle, tmp_path
):
    data = pickle.dumps(small_object, protocol=protocol)
    agree(read(write_pickle(data)), small)
    hostile = [small_object[0], Hostile(tmp_path / "was-here")]
    fails(DataError, "asks for the name", read, write_pickle(hostile, protocol=protocol))
    assert not (tmp_path / "was-here").exists()
    values, mask = [*range(256)], np.full((1, 16, 16), 9, np.uint8)
    whole = [{0: [values, values[::-1], values, mask, {0: []}]}, {"a": 9}]
    channels = read(write_pickle(whole, protocol=protocol)).images[0].reshape(256, 3).T
    np.testing.assert_array_equal(channels, [values, values[::-1], values])
    # Modules of NumPy 1 and 2 have other names.
    names = b"numpy._core.", b"numpy.core."
    if protocol >= 4:
        tails = [b"numeric", b"multiarray"]
        names = [[bytes([len(name + tail)]) + name + tail for tail in tails] for name in names]
        assert any(name in data for name in names[0])
        for name, older in zip(*names, strict=True):
            data = data.replace(name, older)
        agree(read(write_pickle(data)), small)
    else:
        assert names[0] in data
        agree(read(write_pickle(data.replace(*names))), small)
        write_gz(small, tmp_path / "written.gz", protocol=protocol)
        agree(read(tmp_path / "written.gz"), small)
        assert_same_as_reference(small, tmp_path / "written.gz")


@pytest.mark.parametrize("binary", [False, True])
def test_python_2_strings(binary, write_pickle):
    mask = bytes([0, 50, 50, 0] * 4 + [0, 0, 100, 100] * 4)

    def python_2_string(value):
        if binary:
            return b"U" + bytes([len(value)]) + value
        return b"S" + repr(value)[1:].encode() + b"\n"

    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\nt" + python_2_string(b"b")
        + b"tR(I1\n(I2\nI4\nI4\ntcnumpy\ndtype\n(" + python_2_string(b"u1") + b"I0\nI1\ntR(I3\n"
        + python_2_string(b"|") + b"NNNI-1\nI-1\nI0\ntbI00\n" + python_2_string(mask) + b"tb"
    )  # fmt: skip
    channel = b"(l" + b"".join(b"I%d\na" % v for v in range(0, 256, 17))
    boxes = b"(dI0\n(l(lI1\naI0\naI2\naI3\naasI1\n(ls"
    record = b"(l" + (channel + b"a") * 3 + array + b"a" + boxes + b"a"
    labels = b"(d" + python_2_string(b"a") + b"I50\ns" + python_2_string(b"\xe9") + b"I100\ns"
    ds = read(write_pickle(b"(l(dI0\n" + record + b"sa" + labels + b"a."))
    assert list(ds.label_map) == ["a", "\u00e9"]
    np.testing.assert_array_equal(ds.masks[0].transpose(2, 0, 1).ravel(), list(mask))
    np.testing.assert_array_equal(ds.images[0, ..., 0].ravel(), range(0, 256, 17))
    assert ds.boxes_of(0) == [(0, (1, 0, 2, 3))]


def test_what_other_writers_may_do(small, small_object, write_pickle):
    """Keys out of order, boxes by value, Fortran masks, NumPy numbers, shared lists."""
    records, labels = small_object
    values = list(labels.values())
    turned = {
        i: [
            *records[i][:3],
            np.asfortranarray(records[i][3]),
            {values[c]: [tuple(b) for b in group] for c, group in records[i][4].items()},
        ]
        for i in reversed(range(len(small)))
    }
    for protocol in (2, 5):
        path = write_pickle((turned, dict(reversed(labels.items()))), protocol=protocol)
        agree(read(path), small)

    first = records[0]
    boxes = {k: [[np.int64(v) for v in b] for b in group] for k, group in first[4].items()}
    shared = {0: [*first[:4], boxes], 1: [first[0], first[0], first[0], first[3], first[4]]}
    ds = read(write_pickle([shared, {k: np.int32(v) for k, v in labels.items()}]))
    np.testing.assert_array_equal(ds.images[0], small.images[0])
    np.testing.assert_array_equal(ds.masks[1], small.masks[0])
    assert ds.boxes_of(1) == ds.boxes_of(0) == small.boxes_of(0)
    assert np.array_equal(ds.images[1], small.images[0][..., [0, 0, 0]])


def test_larger_images_as_text_with_limits_without_the_fast_path_and_in_parts(
    tmp_path, monkeypatch
):
    ds = synthetic(3, seed=1, image_size=128)
    path = tmp_path / "large.gz"
    write_gz(ds, path, protocol=0)
    few = Limits(unpacked_bytes=100_000)
    fails(DataError, "unpacks to more than 100,000 bytes", read, path, limits=few)
    fails(DataError, "not part of any image", read, path, limits=Limits(held_bytes=10_000))
    fails(DataError, "instructions", read, path, limits=Limits(opcodes=100))
    with monkeypatch.context() as patch:
        patch.setattr(records, "text_run", lambda buf, pos: (b"", pos))
        agree(read(path, limits=Limits(opcodes_base=1_000_000)), ds)
    data = gzip.decompress(path.read_bytes())
    cut = len(data) // 3
    path.write_bytes(gzip.compress(data[:cut]) + b"\0" * 7 + gzip.compress(data[cut:]) + b"\0" * 3)
    agree(read(path), ds)


@pytest.mark.parametrize(
    "name",
    ["train_20", "test_20", *(pytest.param(n, marks=pytest.mark.slow) for n in ("test", "train"))],
)
def test_real_files_against_the_independent_reader(name, real_files):
    path = getattr(real_files, name)
    assert_same_as_reference(read(path), path)


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: {"mask": r[3].astype(np.int32)}, "dtype i4, expected u1"),
        (lambda r: {"mask": r[3][:4]}, "mask of shape"),
        (lambda r: {"mask": r[3].reshape(-1)}, "expected classes, height, width"),
        (lambda r: {"mask": r[3] + np.uint8(1)}, "where only 0 and 50 belong"),
        (lambda r: {"r": r[0][:-1]}, "4095 values in a colour"),
        (lambda r: {"g": [*r[1][:-1], 256]}, "not ints of 0..255"),
        (lambda r: {"g": [-1, *r[1][1:]]}, "not ints of 0..255"),
        (lambda r: {"b": [*r[2][:-1], True]}, "not ints of 0..255"),
        (lambda r: {"b": [*r[2][:-1], 1.5]}, "not ints of 0..255"),
        (lambda r: {"boxes": {0: [[1, 2, 3]]}}, "not [x1, y1, x2, y2]"),
        (lambda r: {"boxes": {0: [[1, 2, 64, 3]]}}, "inside 64x64 pixels"),
        (lambda r: {"boxes": {0: [[9, 2, 3, 3]]}}, "inside 64x64 pixels"),
        (lambda r: {"boxes": {7: [[1, 2, 3, 4]]}}, "class 7"),
        (lambda r: {"boxes": []}, "not [R, G, B, mask, boxes]"),
        (lambda r: {"labels": {"a": 1, "b": 2}}, "2 classes, its masks 5"),
        (lambda r: {"labels": dict.fromkeys("abcde", 50)}, "same value"),
        (lambda r: {"labels": dict.fromkeys("abcde", "x")}, "values of 1..255"),
    ],
)
def test_wrong_content_is_one_line(protocol, change, reason, small_object, write_pickle):
    images, labels = small_object
    parts = dict(zip(("r", "g", "b", "mask", "boxes"), images[1], strict=True))
    parts |= {"labels": labels, **change(images[0])}
    labels = parts.pop("labels")
    path = write_pickle([{**images, 1: [*parts.values()]}, labels], protocol=protocol)
    fails(DataError, re.escape(reason), read, path, names=[path])


def test_other_shapes_are_named(small_object, write_pickle):
    records, labels = small_object
    # DLStudio's single-object files hold [R, G, B, bounding box, label].
    single = {0: [[0] * 4096] * 3 + [[1, 2, 3, 4], "disk"]}
    many = {i: [*records[0][:4], records[0][4]] for i in range(3000)}  # lists shared by 3000
    for content, reason in (
        ([{i + 1: r for i, r in records.items()}, labels], r"expected 0\.\.11"),
        ([{**records, 0: records[1]}, labels], "under two keys"),
        ([single, {"disk": 2}], "PurdueShapes5MultiObject"),
        ([many, labels], "far larger"),
        *((other, None) for other in ([], {}, 7, None, "text", [{}, {}], ([1], [2]))),
    ):
        fails(DataError, reason, read, write_pickle(content))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "os.system"),
        (b"\x80\x04\x8c\x04a\nb\r\x8c\x01c\x93.", "the name"),
        (b"cnumpy\nload\n(S'x'\ntR.", "numpy.load"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "os.system"),
        (b"(S'true'\nios\nsystem\n.", "not allowed"),
        (b"(cnumpy\nndarray\no.", "not allowed"),
        (b"cnumpy\nndarray\n)\x81.", "not allowed"),
        (b"Pid\n.", "not allowed"),
        (b"\x80\x02\x82\x01.", "not allowed"),
        (b"cnumpy\nndarray\n(tR.", "calls ndarray"),
        (b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR.", "wrong arguments"),
        (b"cnumpy.core.multiarray\n_reconstruct\n(I1\nI2\nI3\ntR.", "wrong arguments"),
        (b"\x80\x06N.", "newer than 5"),
        (b"N", "ends early"),
        (b"", "ends early"),
        (b".", "takes more"),
        (b"NN.", "more than one object"),
        (b"N.N", "behind the end"),
        (b"(lp0\ng0\na.", "holds itself"),
        (b"(lp0\n(lg0\nag0\nI1\na.", "changed after"),
        (b"g5\n.", "memo 5"),
        (b"I1_0\n.", "plain number"),
        (b"I" + b"9" * 5000 + b"\n.", "longer than 100"),
        (b"\x8a\xff" + b"\1" * 255 + b".", "longer than 8"),
        (b"X\xff\xff\xff\x7fabc", "claims"),
        (b"\x8e" + b"\xff" * 8, "claims"),
        (b"(d(lI1\nsa.", "key"),
        (b"(dI1\nI2\nsI1\nI3\ns.", "twice"),
        (b"S'abc\n.", "closing quote"),
        (
            b"cnumpy.core.numeric\n_frombuffer\n(S'abc'\ncnumpy\ndtype\n(S'u1'\nI0\nI1\ntR(I2\nt"
            b"S'C'\ntR.",
            "3 bytes instead of 2",
        ),
        # Bombs meet a limit.
        (b"(" * 200, "marks"),
        (b"N" * 20_000, "stack"),
        (b"(l" + b"I1\na" * 40_000_000, "items|not part of any image|ints"),
        (b"(l" * 20 + b"a" * 19 + b".", "nest deeper"),
        (b")" + b"\x85" * 50 + b".", "nest deeper"),
        (b"(" + b"N" * 17 + b"t.", "more than 16 items"),
        (b"(" + b"N" * 16 + b"t.", r"not \[dataset, label_map\]"),
        (b"N0" * 10, "not allowed"),
        (b"".join(b"(lp%d\n" % i + b"a" * (i > 0) for i in range(300_000)), "instructions|nest"),
        (b"(l" + b"]a" * 600_000 + b".", "instructions"),
    ],
)
def test_hostile_bytes_are_refused_in_one_line(data, reason, write_pickle):
    fails(DataError, reason, read, write_pickle(data))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda good: b"", "the file is empty"),
        (lambda good: b"hello", "not a gzip file"),
        (lambda good: good[:2], "truncated"),
        (lambda good: good[: len(good) // 2], "truncated"),
        (lambda good: good[:-5], "truncated"),
        (lambda good: flipped(good, len(good) - 8), "gzip data is damaged"),
        (lambda good: good + b"more", "something else behind the gzip data"),
        (lambda good: good + b"\x1f", "something else behind the gzip data"),
        (lambda good: gzip.compress(b"I0\n" + b"\0" * 50_000_000), "instruction"),
    ],
)
def test_broken_gzip(damage, reason, small, tmp_path):
    path = tmp_path / "good.gz"
    write_gz(small, path)
    path.write_bytes(damage(path.read_bytes()))
    fails(DataError, reason, read, path, names=[path])
    for path, reason in ((tmp_path / "missing.gz", "No such file"), (tmp_path, "Is a directory")):
        fails(DataError, reason, read, path, names=[path])


@functools.cache
def tiny_pickles():
    """Small valid files, as bytes per protocol, on images of 6x8 pixels."""
    rng = np.random.default_rng(0)
    masks = np.where(rng.random((2, 3, 6, 8)) < 0.3, 1, 0).astype(np.uint8)
    masks *= np.array([10, 20, 30], np.uint8)[:, None, None]
    records = {
        i: [*rng.integers(0, 256, (3, 48)).tolist(), masks[i], {0: [[1, 2, 3, 4]], 1: [], 2: []}]
        for i in range(2)
    }
    whole = [records, {"a": 10, "b": 20, "c": 30}]
    return [pickle.dumps(whole, protocol=p) for p in range(6)]


EDITS = st.tuples(st.integers(0, 2**16), st.sampled_from("sdix"), st.integers(0, 255))


@settings(max_examples=300, deadline=None)
@given(protocol=st.integers(0, 5), changes=st.lists(EDITS, min_size=1, max_size=6))
def test_any_damage_is_a_data_error_or_a_valid_data_set(protocol, changes, write_pickle):
    data = bytearray(tiny_pickles()[protocol])
    for place, kind, value in changes:
        at = place % max(1, len(data))
        size, new = {
            "s": (1, bytes([value])),
            "d": (1 + value % 8, b""),
            "i": (0, bytes([value])),
            "x": (0, data[value : value + 16]),
        }[kind]
        data[at : at + size] = new
    try:  # all values are checked again
        dataclasses.replace(read(write_pickle(bytes(data))), check_values=True)
    except DataError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017, any of a thousand reasons


def test_opcode_table_is_what_pickle_knows():
    """Every allowed instruction exists, and none of those that name, call or persist freely."""
    known = {op.code.encode("latin1"): op.name for op in pickletools.opcodes}
    names = {known[code] for code in RecordMachine.instructions}
    assert not names & {"INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "PERSID", "BINPERSID", "EXT1"}
