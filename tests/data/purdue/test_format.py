"""The loader against an independent unpickler, and against files that are wrong or hostile."""

import copy
import dataclasses
import functools
import gzip
import io
import pickle
import re
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy._core import multiarray, numeric

from segjax.data import Limits, load, synthetic, write_gz
from segjax.data.purdue import nodes, records, stream
from segjax.data.purdue.format import _Images
from segjax.data.purdue.records import RecordMachine, binary_run, text_runs
from segjax.errors import DataError
from tests.data.data_files import Hostile, agree, fails, flipped
from tests.goldens import recipe

read = functools.partial(load, cache=False, progress=False)
# As latin-1: those that are refused, by what is said of them, and those that are taken.
PICKLES = recipe.pinned("pickles")


class ReferenceUnpickler(pickle.Unpickler):
    """Python's own unpickler with real NumPy classes and an allow-list: the independent reader."""

    def find_class(self, module, name):
        table = {
            ("multiarray", "_reconstruct"): multiarray._reconstruct, ("numpy", "dtype"): np.dtype,
            ("multiarray", "scalar"): multiarray.scalar, ("numpy", "ndarray"): np.ndarray,
            ("numeric", "_frombuffer"): numeric._frombuffer,
            ("_codecs", "encode"): lambda text, encoding: text.encode("latin1"),
        }  # fmt: skip
        return table[module.rpartition(".")[2], name]


def assert_same_as_reference(ds, path):
    """Compares a data set with the file's ``[dataset, label_map]``, value by value."""
    data = gzip.decompress(path.read_bytes())
    whole_records, label_map = ReferenceUnpickler(io.BytesIO(data), encoding="latin1").load()
    assert (dict(ds.label_map), len(ds)) == (label_map, len(whole_records))
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
    values = [*range(256)]
    content = whole((1, 16, 16), r=values, g=values[::-1], b=values)
    channels = read(write_pickle(content, protocol=protocol)).images[0].reshape(256, 3).T
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
        assert_same_as_reference(small, written := tmp_path / "written.gz")
        assert (gzip.decompress(written.read_bytes())[:1] == b"\x80") == (protocol >= 2)


@pytest.mark.parametrize("data", PICKLES["of Python 2"])
def test_python_2_strings(data, write_pickle):
    ds = read(write_pickle(data.encode("latin1")))
    assert list(ds.label_map.items()) == [("a", 50), ("\u00e9", 100)]
    mask = [0, 50, 50, 0] * 4 + [0, 0, 100, 100] * 4
    np.testing.assert_array_equal(ds.masks[0].transpose(2, 0, 1).ravel(), mask)
    np.testing.assert_array_equal(ds.images[0, ..., 0].ravel(), range(0, 256, 17))
    assert ds.boxes_of(0) == [(0, (1, 0, 2, 3))]


def test_what_other_writers_may_do(small, small_object, write_pickle):
    """Keys out of order, boxes by value, Fortran masks, NumPy numbers, shared lists."""
    records, labels = small_object
    values = list(labels.values())
    turned = {}
    for i in reversed(range(len(small))):
        *colours, mask, boxes = records[i]
        boxes = {values[c]: [tuple(box) for box in group] for c, group in boxes.items()}
        turned[i] = [*colours, np.asfortranarray(mask), boxes]
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


def test_larger_images_as_text_with_and_without_the_fast_paths(tmp_path):
    write_gz(ds := synthetic(3, seed=1, image_size=128), path := tmp_path / "large.gz", protocol=0)
    agree(read(path), ds)
    assert len({*outcomes(gzip.decompress(path.read_bytes()), opcodes_base=10**6)}) == 1


@pytest.mark.parametrize(
    "name",
    ["train_20", "test_20", *(pytest.param(n, marks=pytest.mark.slow) for n in ("test", "train"))],
)
def test_real_files_against_the_independent_reader(name, real_files):
    path = getattr(real_files, name)
    assert_same_as_reference(read(path), path)


def whole(shape=(1, 1, 1), labels=None, count=1, **parts):
    """The object of a file of black images with empty masks, or with other ``parts``."""
    zeros, names = [0] * (shape[1] * shape[2]), {f"c{v}": v for v in range(1, shape[0] + 1)}
    record = {"r": zeros, "g": zeros, "b": zeros, "mask": np.zeros(shape, np.uint8), "boxes": {}}
    images = {i: [*copy.deepcopy(record | parts).values()] for i in range(count)}
    return [images, names if labels is None else labels]


BOX, R = [0] * 4, whole(r=[0])[0][0]
FITS = [
    whole((1, 4096, 1), boxes={0: [[0, 0, 0, 4095]]}), whole((1, 1, 4096)), whole((255, 1, 1)),
    whole(boxes={0: [BOX] * 5001}, count=2), whole(boxes={0: [BOX] * 10_000}), whole(count=130),
    whole(boxes={255: [BOX]}, labels={"n" * 64: 255}),
]  # fmt: skip
WRONG = [
    ("has 4097x1 pixels", whole((1, 4097, 1))), ("has 1x4097 pixels", whole((1, 1, 4097))),
    ("has 256 classes", whole((256, 1, 1))),
    ("dtype i4, expected u1", whole(mask=np.zeros((1, 1, 1), np.int32))),
    ("[1, 1, 1], others have [1, 2, 2]", [whole((1, 2, 2))[0] | {1: R}, {"a": 1}]),
    ("expected classes, height, width", whole(mask=np.zeros(1, np.uint8))),
    ("where only 0 and 1 belong", whole(mask=np.full((1, 1, 1), 2, np.uint8))),
    ("3 values in a colour, expected 2x2", whole((1, 2, 2), r=[0] * 3)),
    *(("not ints of 0..255", whole((1, 3, 4), g=[0] * 11 + [v])) for v in (-1, 256, True, 1.5)),
    *(("is not [x1, y1, x2, y2]", whole(boxes={0: [box]})) for box in ([0] * 3, [0, 0, 0, 4096])),
    *(("inside 2x2", whole((1, 2, 2), boxes={0: [box]})) for box in ([0, 0, 2, 0], [1, 0, 0, 0])),
    ("more than 10,000 boxes", whole(boxes={0: [BOX] * 10_001})),
    ("boxes that are not lists by class", whole(boxes={256: [BOX]})),
    ("class 2,", whole((2, 1, 1), {"a": 10, "b": 20}, boxes={0: [BOX], 2: [BOX]})),
    ("not [R, G, B, mask, boxes]", whole(boxes=[])), ("it holds no images", whole(count=0)),
    ("2 classes, its masks 1", whole(labels={"a": 1, "b": 2})),
    ("have the same value", whole((2, 1, 1), labels={"a": 1, "b": 1})),
    *(("values of 1..255", whole(labels={"a": value})) for value in (0, 256, "x")),
    *(("a printable name", whole(labels={name: 1})) for name in ("", "n" * 65, "\n", 5)),
    ("key 1, expected 0..0 for 1", [{1: R}, {"a": 1}]), ("two keys", [{0: R, 1: R}, {"a": 1}]),
    ("entry 1 of the data set is not an image", [{0: R, 1: R[0]}, {"a": 1}]),
    *(("it is not [dataset, label_map]", o) for o in ([], {}, 7, None, "text", ([1], [2]))),
    ("changed after it was used", pickle.dumps([{0: [*R, 7]}, {"a": 1}], protocol=0)),
    # Protocols before 3 have another way to write arrays without elements.
    ("has 0x1 pixels", whole((1, 0, 1))), ("has 1x0 pixels", whole((1, 1, 0))),
    ("has 0 classes", whole((0, 1, 1))),
]  # fmt: skip


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_each_limit_has_two_sides_and_wrong_content_is_one_line(protocol, write_pickle):
    for content in FITS:
        ds = read(write_pickle(content, protocol=protocol))
        assert not any(getattr(ds, name).flags.writeable for name in ("images", "masks", "boxes"))
    for told, content in WRONG[: None if protocol == 5 else -3]:
        path = write_pickle(content, protocol=protocol)
        fails(DataError, re.escape(told), read, path, names=[path])


def run(data, on_record=None, **limits):
    """What the interpreter makes of a pickle that is no file."""
    return RecordMachine(stream.Stream([data], limits=Limits(**limits)), on_record=on_record).run()


NONE = re.compile(rb"(?!)")
WHOLE = SimpleNamespace(size=1, packed_bytes=1)  # a file that is read to its end


def outcomes(data, **limits):
    """What a pickle gives as it is read; no list begun in one go; and no ints taken as a run."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        for name, less in (("re", re), ("_NEW_LIST", NONE), ("text_runs", lambda *given: {})):
            patch.setattr(records, name, less)
            images = _Images(pieces := stream.Stream([data], limits=Limits(**limits)), WHOLE)
            try:
                result = RecordMachine(pieces, on_record=images.add).run()
            except stream.BadStreamError as error:
                result = error
            arrays = images.images.tobytes(), images.masks.tobytes(), images.boxes, images.box_key
            found.append(f"{result!r} {pieces.offset} {arrays}")
    return found


def test_pickles_are_read_as_python_does_and_hostile_ones_refused_in_one_line(write_pickle):
    for text in PICKLES["as Python reads them"]:
        data = text.encode("latin1")
        found, expected = run(data), pickle.loads(data, encoding="latin1")
        assert (found, type(found)) in [(expected, type(expected)), (expected, bytes)]
    for text in PICKLES["taken"]:
        run(text.encode("latin1"))
    for reason, texts in PICKLES["refused"].items():
        for text in texts:
            path = write_pickle(text.encode("latin1"))
            fails(DataError, re.escape(reason), read, path, names=[path])
    nested = b"".join(b"(lp%d\n" % i + b"a" * (i > 0) for i in range(300_000))
    fails(DataError, "more than .* items", read, write_pickle(b"(l" + b"I1\na" * 40_000_000))
    fails(DataError, "instructions|nest", read, write_pickle(nested))


def test_arrays_grow_to_what_is_likely_and_allowed(monkeypatch):
    data, sizes, resize = pickle.dumps(whole((5, 3, 3), count=300), 2), [], _Images._resize
    monkeypatch.setattr(_Images, "_resize", lambda im, n: resize(im, sizes.append(n) or n))
    for size, offset in ((4, 1 << 20), (1 << 40, 128)):  # of a file, one byte of which is read
        packed = SimpleNamespace(size=size, packed_bytes=1)
        run(data, _Images(SimpleNamespace(offset=offset), packed).add)
    assert sizes == [64, 261, 1064, 64, 16 * (128 + 65536) // 72]


def test_what_may_be_held_and_how_many_instructions_have_two_sides(monkeypatch):
    held, image = pickle.dumps(whole((1, 32, 32), count=2), 2), pickle.dumps(whole((1, 5, 10)), 2)
    for data, limit, least, told in (
        (b"N.", "opcodes", 2, "more than 1 pickle instructions by here"),
        (b"N" + b"q\0" * 23 + b".", "opcodes_base", 22, "more than 24 pickle instructions by here"),
        (b"](K\1K\2K\3e.", "held_bytes", 3, "more than 2 bytes of it are not part of any image"),
        (b"(l" + b"I1\na" * 12 + b".", "held_bytes", 3, "more than 2 bytes of it"),
        (held, "held_bytes", 2048, "more than 2,047 bytes of it"),
        (b"NN\x86.", "stack", 2, "the pickle stack is higher than 1"),
        # The arrays may be 16 times as large as what was read.
        (image, "read", 13, "far larger"),
        (pickle.dumps(whole((5, 1, 1), boxes={0: [BOX]}, count=3), 2), "read", 4, "far larger"),
    ):
        for most in (least, least - 1):
            at = SimpleNamespace(offset=most - 65536 if limit == "read" else 1 << 20)
            images = _Images(at, WHOLE)
            limits = {} if limit == "read" else {limit: most}
            if most == least:
                run(data, images.add, **limits)
            else:
                fails(stream.BadStreamError, told, run, data, images.add, **limits)
    run(b"X\xff\3\0\0" + bytes(1023) + b".", held_bytes=0)
    for size, kind in ((b"\xff\3\0\0", bytes), (b"\0\4\0\0", nodes.Blob)):
        text = size + bytes(int.from_bytes(size, "little"))
        assert type(run(b"c_codecs\nencode\n(X" + text + b"X\6\0\0\0latin1tR.")) is kind
    assert run(b"]K\0aK\xffa.").small == b"\0\xff"
    assert run(b"]K\0aM\0\1a.").small is None
    assert nodes.MAX_LIST_ITEMS == 4096 * 4096
    monkeypatch.setattr(nodes, "MAX_LIST_ITEMS", 3)
    for three in (b"](K\0K\xffK\2e", b"](NNNe"):
        run(three + b".")
        for more in (b"Na.", b"(K\1e."):
            fails(stream.BadStreamError, "more than .* items", run, three + more)
    assert Limits() == Limits(8 << 30, 20_000_000, 200_000, 512 << 20, 10_000)


def spelled(values):
    return b"".join(b"I%d\na" % v for v in values)


def test_runs_of_ints_are_taken_as_they_are_spelled():
    every = [spelled([v]) for v in range(256)]
    wrong = b"I1:\na I1:5\na I:\na I01\na I09\na I099\na I256\na I\na J1\na I1\nb I-1\na"
    cases = [([*every, end], 256) for end in (b"", b"aI1\na", b"I333\na")]
    for pos in (0, 3):
        for text, taken in (*cases, *(([line], 0) for line in wrong.split(b" "))):
            found = bytes(int(t[1:-2]) for t in text[:taken]), len(b"".join(text[:taken]))
            runs = text_runs(b"\na?"[:pos] + b"".join(text), pos, 1)
            assert runs == ({pos: found} if taken else {})
        for data in (b"K\1K\2e.", b"K\1K\2eKK", b"K\1M\2e.", b"K\1K\2", b"J\1e."):
            found = (b"\1\2", pos + 5) if data[:5] == b"K\1K\2e" else (b"", pos)
            assert binary_run(b"K?e"[:pos] + data, pos) == found
    eight = spelled((0, 9, 10, 99, 100, 199, 249, 255))
    for line in (every[7], *wrong.split(b" "), b"I00\na", b"I260\na", b"I300\na"):
        for text in (eight + line * 3, eight[-12:] + line, line):
            for limit in ({name: n} for name in ("opcodes", "stack") for n in range(1, 32)):
                assert len({*outcomes(b"(lp7\n%sg7\n\x86." % text, **limit)[:2]}) == 1
    for marks in (99, 100):
        assert len({*outcomes(b"(" * marks + b"(lp7\nI1\na.")}) == 1


def test_lists_that_follow_at_once_are_read_with_the_first(monkeypatch):
    first, more = bytes(range(90, 110)), bytes(range(99, 110))
    ints, bad, few = spelled(first), b"I01\na", spelled(range(8))
    for texts, taken in (  # behind the first list, nine ints of each are read as it begins
        ([ints] * 4, [first, more, more]), ([ints + bad, ints], [first]), ([bad + ints] * 2, []),
        ([ints, ints + bad + ints, ints], [first, more]), ([ints, few, ints], [first]),
    ):  # fmt: skip
        data = b"a(lp7\n".join(texts)
        runs = text_runs(data, 0, 3)
        assert [values for values, _ in runs.values()] == taken
        for pos, (values, size) in runs.items():
            assert data[pos : pos + size] == spelled(values)
    calls = []
    monkeypatch.setattr(records, "text_runs", lambda *at: calls.append(at) or text_runs(*at))
    run(pickle.dumps(whole((1, 5, 5), g=[7] * 25, b=[8] * 25), 0), lambda parts: 0)
    assert len(calls) == 1


def test_the_stream_takes_what_is_asked_for(monkeypatch, tmp_path):
    path, heard, zeros = tmp_path / "two.gz", [], gzip.compress(bytes(3 << 19))
    path.write_bytes(zeros + b"\0" * (65535 - len(zeros)) + gzip.compress(b"end"))

    def unpack(most):
        with path.open("rb") as file:
            packed = stream.Gunzip(file, max_unpacked_bytes=most)
            return [*map(len, stream.read_ahead(packed, on_progress=lambda *n: heard.append(n)))]

    fails(stream.BadStreamError, "more than 1,572,866 bytes", unpack, (3 << 19) + 2)
    assert unpack((3 << 19) + 3) == [1 << 20, 1 << 19, 3]
    assert heard[-1] == (path.stat().st_size,) * 2
    for name, value in (("_PIECE", 4), ("_LOOKAHEAD", 1), ("_MAX_LINE", 10)):
        monkeypatch.setattr(stream, name, value)
    ones = [b"%c" % byte for byte in b"defghijklmnopq"]
    s = stream.Stream([b"abc", *ones, b"\n", b"x" * 10, b"\n", b"x" * 11], limits=Limits())
    assert (s.offset, s.budget) == (0, 0)
    assert (s.byte(), s.buf, s.offset) == (97, b"abcd", 1)
    assert (s.take(10), s.buf, s.offset) == (b"bcdefghijk", b"bcdefghijk", 11)
    assert (s.take(6), s.buf) == (b"lmnopq", b"lmnopq")
    assert (s.line(), s.line(), s.offset) == (b"", b"x" * 10, 29)
    fails(stream.BadStreamError, "a line is longer than 10 bytes", s.line)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda good: b"", "the file is empty"), (lambda good: b"hello", "not a gzip file"),
        (lambda good: good[:2], "truncated"), (lambda good: good[: len(good) // 2], "truncated"),
        (lambda good: good[:-5], "truncated"),
        (lambda good: flipped(good, len(good) - 8), "gzip data is damaged"),
        (lambda good: good + b"more", "something else behind the gzip data"),
        (lambda good: good + b"\x1f", "something else behind the gzip data"),
        (lambda good: gzip.compress(b"I0\n" + b"\0" * 3_000_000), "instruction"),
    ],
)  # fmt: skip
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
    parts = {"r": [*range(200, 248)], "boxes": {0: [[1, 2, 3, 4]], 1: [], 2: []}}
    content = whole((3, 6, 8), {"a": 10, "b": 20, "c": 30}, count=2, **parts)
    return [pickle.dumps(content, protocol=p) for p in range(6)]


EDITS = st.tuples(st.integers(0, 2**16), st.sampled_from("sdix"), st.integers(0, 255))


@settings(max_examples=300, deadline=None)
@given(protocol=st.integers(-4, 5), changes=st.lists(EDITS, min_size=1, max_size=6))
def test_any_damage_is_a_data_error_or_a_valid_data_set(protocol, changes, write_pickle):
    data = bytearray(tiny_pickles()[max(0, protocol)])
    for place, kind, value in changes:
        at = place % max(1, len(data))
        size = {"s": 1, "d": 1 + value % 8}.get(kind, 0)
        data[at : at + size] = {"d": b"", "x": data[value : value + 16]}.get(kind, bytes([value]))
    try:  # all values are checked again
        dataclasses.replace(read(write_pickle(bytes(data))), check_values=True)
    except DataError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017, any of a thousand reasons
    assert len({*outcomes(bytes(data), opcodes_base=10**6)}) == 1
    tight = {"opcodes_base": changes[0][0] % 400, "stack": 3 + changes[0][2]}
    assert len({*outcomes(bytes(data), **tight)[:2]}) == 1
