"""Own data of every kind, right and wrong, is read, loaded, judged and refused as pinned."""

import contextlib
import copy
import functools
import itertools
import json
import operator
import pathlib
import tempfile
import zlib

import numpy as np
import pytest
from PIL import Image

from segjax.config import Config
from segjax.data.check.reading import check_source
from segjax.data.own.pictures import picture_size, read_image, read_labels
from segjax.data.own.problems import FileProblemError
from segjax.data.own.resize import FITS, choose_size, make_fit
from segjax.data.own.source import open_source, quick_check, scan_source
from segjax.errors import SegjaxError
from tests.data.data_files import save
from tests.goldens import recipe

KINDS = ("folder", "layout", "coco", "npz")


def array(dtype, shape, values):
    return np.resize(np.array(values, dtype), shape)


def write_files(root, files):
    """Write text, tables, and arrays told by dtype, shape and values that are repeated."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".npz"):
            np.savez(path, **{key: array(*values) for key, values in content.items() if values})
        elif isinstance(content, list):
            save(path, array(*content))
        elif content is not None:
            path.write_text(content if isinstance(content, str) else json.dumps(content))


def judged(root, base, changes):
    """Return in lines what is said and loaded; bits of masks as hexadecimal digits."""
    case = copy.deepcopy(base)
    for *keys, last, value in changes:
        functools.reduce(operator.getitem, keys, case)[last] = value
    write_files(root, case["files"])
    found = []
    try:
        config = Config(**case["settings"])
        report, tiles = check_source(scan_source(config), config)
        found += [*report.text().splitlines(), f"{len(report.json())} {report.failed}"]
        found.append(f"tiles {[tile[:2] for tile in tiles]}")
        splits = open_source(config, say=lambda note: None)  # the report has the notes
        for split, ds in splits.items():
            found.append(f"{split} {ds.name} {ds.source} {ds.label_map} {ds.masks.shape}")
            found.append(f"sums {ds.images.sum((1, 2)).tolist()}")
            for bits in [ds.masks, *[ds.ignore] * (ds.ignore is not None)]:
                found.append(f"{bits.dtype} {np.packbits(bits).tobytes().hex()}")
            found.append(f"{np.column_stack([ds.box_image, ds.box_class, ds.boxes]).tolist()}")
        found += quick_check(splits)
    except SegjaxError as error:
        found.append(f"{type(error).__name__}: {error}")
    return found


def shortened(lines, usual):
    """Return how many lines there are, and those that are not usual: long ones by a checksum."""
    return [len(lines)] + [
        s if len(s) < 40 or "rror: " in s else f"{s[:20]}~{zlib.crc32(s.encode()):x}"
        for s in lines
        if s not in usual
    ]


def judged_again(kind):
    """Return a file of cases, and what each of them gives now."""
    content = recipe.pinned(f"own_{kind}")
    found = []
    for name, changes, _ in content["cases"]:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            lines = judged(pathlib.Path(), content["bases"][name], changes)
        found.append([name, changes, shortened(lines, content["usual"][name])])
    return content, found


@pytest.mark.parametrize("kind", KINDS)
def test_cases_of_own_data(capsys, kind):
    content, found = judged_again(kind)
    for now, pinned in zip(found, content["cases"], strict=True):
        assert now == pinned
    assert capsys.readouterr().err == ""  # no progress is shown


def read_all(path, values, mode, orientation):
    """Yield what each way to read a small picture gives."""
    image = Image.fromarray(array(*values))
    if mode == "P":
        image.putpalette(range(255, -1, -1))
    options, exif = {}, Image.Exif()
    if orientation:
        exif[0x0112], options = orientation, {"exif": exif}
    (image.convert(mode) if mode else image).save(path, **options)
    as_stored = functools.partial(read_image, upright=False)
    for read in (read_image, as_stored, read_labels, picture_size):
        try:
            found = read(path)
            yield str(found if read is picture_size else found.tolist()).replace(" ", "")
        except FileProblemError as error:
            yield f"{error}"


def fits():
    """Yield the numbers of each way to lay a picture, and a mask and an image so laid."""
    boxes = ((0, 0, 5, 7), (2.5, 1, 9, 6.5), (-3, 4, 40, 41), (50, 0, 60, 5), (6, 6, 6.5, 6))
    for source, side in itertools.product(((8, 8), (7, 13), (30, 9), (700, 64)), (8, 16)):
        values = (np.arange(source[0] * source[1]).reshape(source) * 5 % 251).astype(np.uint8)
        image = np.stack([values, values // 2, 250 - values], axis=-1)
        for how in (make_fit(source, (side, 8), mode) for mode in FITS):
            edges = [how.box(box) or (-9,) * 4 for box in boxes]
            size = choose_size(0, [source, (side, 8)])
            yield [float(x) for x in (*how.region, *how.place, *size, *np.ravel(edges))]
            laid = [how.mask(values)[::2], how.image(image)[::4], how.padding()]
            yield [int(value) for part in laid for value in part.ravel()]


def pictures_again():
    """Return the file of pictures as it would be written now."""
    content = recipe.pinned("own_pictures")
    with tempfile.TemporaryDirectory() as folder:
        for case in content["read"]:
            (name, *how), _ = case
            case[1] = [*read_all(pathlib.Path(folder) / name, *how)]
    return content | {"fits": [*fits()]}


def test_reading_and_laying():
    content, now = recipe.pinned("own_pictures"), pictures_again()
    assert now["read"] == content["read"]
    for found, expected in zip(now["fits"], content["fits"], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1 if len(found) > 40 else 0)


def write():
    """Pin what the cases give now."""
    files = {"own_pictures": pictures_again()}
    for kind in KINDS:
        content, found = judged_again(kind)
        files[f"own_{kind}"] = content | {"cases": found}
    for name, content in files.items():
        (recipe.FOLDER / f"{name}.json").write_text(json.dumps(content, separators=(",", ":")))
