"""Make a small data set of your own kind from real photographs that scikit-image ships.

    python scripts/make_example_folder.py photos
    python scripts/make_example_folder.py coins --picture=coins --layout=coco

'tissue' is a stained section under the microscope (512x512, colour), cut into 64 tiles, with the
brown stain and the blue nuclei as classes, told apart by colour deconvolution. 'coins' is a museum
photograph of 24 Greek coins (303x384, grey), cut into one tile a coin, which watershed finds.
The masks are the work of scikit-image's functions, not drawn by hand. Needs scikit-image.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image


class Example(NamedTuple):
    """Tiles of one photograph."""

    classes: tuple[str, ...]  # in the order of the mask values 1, 2, ...
    names: tuple[str, ...]  # one a tile
    images: np.ndarray  # uint8 [N, H, W, 3]
    labels: np.ndarray  # uint8 [N, H, W], 0 or the class's number
    objects: np.ndarray  # int32 [N, H, W], 0 or the object's number


def make_tissue() -> Example:
    """Return 64 tiles of 64x64 of scikit-image's immunohistochemistry picture."""
    from skimage import color, data, filters, measure, morphology

    picture = data.immunohistochemistry()
    stains = color.rgb2hed(picture)
    labels = np.zeros(picture.shape[:2], np.uint8)
    for value, channel in ((1, 0), (2, 2)):
        smooth = filters.gaussian(stains[..., channel], 2)
        on = smooth > filters.threshold_otsu(smooth)
        labels[morphology.remove_small_objects(on, max_size=60)] = value
    tiles = itertools.product(range(0, 512, 64), repeat=2)
    objects = measure.label(labels, background=0).astype(np.int32)
    return _cut("tissue", ("nucleus", "brown"), tiles, 64, picture, labels, objects)


def make_coins() -> Example:
    """Return one tile of 72x72 around each of the 24 coins, with the coins as objects."""
    from skimage import data, filters, measure, segmentation

    grey = data.coins()
    markers = np.zeros(grey.shape, np.int32)
    markers[grey < 30] = 1
    markers[grey > 150] = 2
    coins = segmentation.watershed(filters.sobel(grey), markers) == 2
    objects = measure.label(coins).astype(np.int32)
    tiles = []
    for region in measure.regionprops(objects):
        if region.area < 500:
            objects[objects == region.label] = 0
            continue
        sizes = zip(region.centroid, grey.shape, strict=True)
        tiles.append([min(max(round(at) - 36, 0), size - 72) for at, size in sizes])
    picture = np.repeat(grey[..., None], 3, axis=2)
    return _cut("coin", ("coin",), tiles, 72, picture, (objects > 0).astype(np.uint8), objects)


def _cut(
    prefix: str, classes: tuple[str, ...], corners: Iterable[Any], size: int, *arrays: np.ndarray
) -> Example:
    tiles = [np.s_[top : top + size, left : left + size] for top, left in corners]
    names = tuple(f"{prefix}-{index:02d}" for index in range(len(tiles)))
    return Example(classes, names, *(np.stack([array[t] for t in tiles]) for array in arrays))


PICTURES: dict[str, Callable[[], Example]] = {"tissue": make_tissue, "coins": make_coins}


def _write_images(example: Example, folder: Path, below: str) -> None:
    _write_pngs(example.names, example.images, folder / below)
    (folder / "classes.txt").write_text("\n".join(example.classes) + "\n")


def _write_pngs(
    names: Iterable[str], arrays: np.ndarray, folder: Path, palette: Sequence[int] = ()
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(names, arrays, strict=True):
        picture = Image.fromarray(array)
        if palette:
            picture.putpalette(palette)
        picture.save(folder / f"{name}.png")


def write_indexed(example: Example, folder: Path) -> None:
    """Write images/, masks/ with one indexed PNG an image, and classes.txt."""
    palette = [0, 0, 0, 86, 180, 233, 230, 159, 0]
    _write_images(example, folder, "images")
    _write_pngs(example.names, example.labels, folder / "masks", palette=palette)


def write_per_class(example: Example, folder: Path) -> None:
    """Write images/ and masks/CLASS/ with black and white PNGs of the classes an image shows."""
    _write_images(example, folder, "images")
    for value, class_name in enumerate(example.classes, start=1):
        on = example.labels == value
        shown = on.any((1, 2)) | (value == 1)
        names = itertools.compress(example.names, shown)
        _write_pngs(names, on[shown].astype(np.uint8) * 255, folder / "masks" / class_name)


def write_flat(example: Example, folder: Path) -> None:
    """Write NAME.png beside NAME_mask.png, and classes.txt."""
    _write_images(example, folder, "")
    _write_pngs([f"{name}_mask" for name in example.names], example.labels, folder)


def write_coco(example: Example, folder: Path) -> None:
    """Write images/ and annotations.json with the run lengths of every object."""
    _write_pngs(example.names, example.images, folder / "images")
    height, width = example.labels.shape[1:]
    size = {"height": height, "width": width}
    names = enumerate(example.names, start=1)
    images = [{"id": index, "file_name": f"{name}.png", **size} for index, name in names]
    annotations: list[dict[str, Any]] = []
    for image, labels, objects in zip(images, example.labels, example.objects, strict=True):
        for number in np.unique(objects[objects > 0]):
            on = objects == number
            rows, columns = np.nonzero(on)
            box = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
            about = {"id": len(annotations) + 1, "image_id": image["id"]}
            about |= {"category_id": int(labels[on][0]), "iscrowd": 0, "area": len(rows)}
            shape = {"size": [height, width], "counts": run_lengths(on)}
            annotations.append({**about, "bbox": [*map(int, box)], "segmentation": shape})
    categories = [{"id": value, "name": name} for value, name in enumerate(example.classes, 1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content) + "\n")


def write_npz(example: Example, folder: Path) -> None:
    """Write data.npz with images, masks of class numbers and class_names."""
    names = np.array(example.classes)
    arrays: Any = {"images": example.images, "masks": example.labels, "class_names": names}
    np.savez_compressed(folder / "data.npz", **arrays)


def run_lengths(on: np.ndarray) -> list[int]:
    """Return COCO's uncompressed run lengths of a bool mask: column by column, zeros first."""
    flat = on.ravel(order="F").astype(np.int8)
    edges = [0, *np.flatnonzero(np.diff(flat)) + 1, flat.size]
    return [0] * int(flat[0]) + np.diff(edges).tolist()


WRITERS = {
    make.__name__.removeprefix("write_").replace("_", "-"): make
    for make in (write_indexed, write_per_class, write_flat, write_coco, write_npz)
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the example and says what it wrote."""
    parser = argparse.ArgumentParser(description="Make a small data set from real photographs.")
    parser.add_argument("folder", help="a new folder")
    parser.add_argument("--picture", default="tissue", choices=list(PICTURES))
    parser.add_argument("--layout", default="indexed", choices=list(WRITERS))
    given = parser.parse_args(arguments)
    folder = Path(given.folder)
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        sys.stderr.write(f"error: {folder}: is there already; name a new folder\n")
        return 1
    example = PICTURES[given.picture]()
    WRITERS[given.layout](example, folder)
    sys.stdout.write(f"{folder}: {len(example.names)} images of {', '.join(example.classes)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
