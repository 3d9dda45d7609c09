"""Small picture files and COCO tables for the tests of own data, and how they are loaded."""

import copy
import functools
import json

import numpy as np
import pytest
from PIL import Image

from segjax.config import Config
from segjax.data import Dataset
from segjax.data.own.source import open_source


def picture(seed, size=(16, 24)):
    """uint8 [H, W, 3] of noise, different for every seed."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def labels(seed, size=(16, 24), classes=2):
    """uint8 [H, W]: every class as a rectangle, in places that depend on the seed."""
    mask = np.zeros(size, np.uint8)
    for value in range(1, classes + 1):
        top, left = (3 * seed + 5 * value) % (size[0] - 4), (7 * seed + 9 * value) % (size[1] - 5)
        mask[top : top + 4, left : left + 5] = value
    return mask


def save(path, array, *, orientation=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    if orientation:
        options["exif"] = exif = Image.Exif()
        exif[0x0112] = orientation
    Image.fromarray(array).save(path, **options)
    return path


def flipped(content, place, bit=1):
    """Bytes with one bit turned."""
    return content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]


class Hostile:
    """Makes a file when a plain unpickler loads it."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (open, (str(self.marker), "w"))


def write_folder(
    root, count=10, *, names="abcdefghijklmnopqrst", classes="cat\ndog\n", stored=np.array
):
    """Writes images/ and masks/ of class numbers, ``stored`` so; returns the folder."""
    for index in range(count):
        save(root / "images" / f"{names[index]}.png", picture(index))
        save(root / "masks" / f"{names[index]}.png", stored(labels(index)))
    if classes:
        (root / "classes.txt").write_text(classes)
    return root


def coco_tables(count=6, size=(16, 24)):
    """Tables with one polygon 'dog' and one run-length 'cat' in each of ``count`` pictures."""
    height, width = size
    counts = [height * 2 + 3, 5, height * width - height * 2 - 8]
    objects = [
        (7, [[10, 4, 18, 4, 18, 12, 10, 12]], [10, 4, 8, 8]),
        (3, {"size": list(size), "counts": counts}, [2, 3, 1, 5]),
    ]
    ids = range(1, count + 1)
    images = [{"id": i, "file_name": f"p{i}.png", "height": height, "width": width} for i in ids]
    annotations = [
        {"id": 10 * i + n, "image_id": i, "category_id": category, "iscrowd": 0, "bbox": bbox}
        | {"segmentation": copy.deepcopy(segmentation)}
        for i in ids
        for n, (category, segmentation, bbox) in enumerate(objects)
    ]
    categories = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}, {"id": 9, "name": "cake"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_coco(root, tables, *, name="annotations.json", size=(16, 24)):
    """Writes the tables and a picture for each image of theirs; returns the JSON file."""
    for entry in tables["images"]:
        save(root / "images" / entry["file_name"], picture(entry["id"], size))
    (root / name).write_text(json.dumps(tables))
    return root / name


def agree(one, two):
    """Compares two data sets, but for their names."""
    assert list(one.label_map.items()) == list(two.label_map.items())
    for name in ("images", "masks", "boxes", "box_image", "box_class"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
        assert getattr(one, name).dtype == getattr(two, name).dtype


def fails(error, message, call, *args, names=(), **options):
    """Expect an error of one line that matches ``message`` and holds all ``names``."""
    with pytest.raises(error, match=message) as caught:
        call(*args, **options)
    assert "\n" not in str(caught.value)
    assert all(str(name) in str(caught.value) for name in names)


def load(data, split="all", *, kind="", classes=(), **settings):
    """One split of own data, read by the settings of a run; 'all': everything as one."""
    if split == "all":
        settings = {"val_share": 0.0, "test_share": 0.0, **settings}
    splits = open_source(Config(data=f"{kind}{data}", classes=",".join(classes), **settings))
    return splits["train" if split == "all" else split]


load_folder = functools.partial(load, kind="folder:")
load_coco = functools.partial(load, kind="coco:")


def dataset(count=4, *, size=(16, 24), names=("cat", "dog"), start=0, **changes):
    """A data set of ``picture`` and ``labels`` from ``start`` on, without boxes."""
    masks = np.stack([labels(start + i, size, len(names)) for i in range(count)])
    content = {
        "images": np.stack([picture(start + i, size) for i in range(count)]),
        "masks": np.stack([masks == value + 1 for value in range(len(names))], -1).astype(np.uint8),
        "boxes": np.zeros((0, 4), np.int32),
        "box_image": np.zeros(0, np.int32),
        "box_class": np.zeros(0, np.uint8),
        "label_map": dict.fromkeys(names, 1),
        "name": "things",
    }
    return Dataset(**(content | changes))
