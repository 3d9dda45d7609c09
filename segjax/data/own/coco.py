"""COCO annotations (polygons and run lengths) as a data set; needs pycocotools."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from segjax.config import Config
from segjax.data.own.class_names import check_names
from segjax.data.own.coco_file import Picture, read_file, require_pycocotools
from segjax.data.own.pictures import SUFFIXES, read_image
from segjax.data.own.problems import FileProblemError, printable, some_names
from segjax.data.own.samples import Sample, Source
from segjax.errors import DataError

ROBOFLOW_FILE = "_annotations.coco.json"
_SPLIT_FOLDERS = {"train": ("train",), "val": ("valid", "val"), "test": ("test",)}


def scan_coco(annotations: str, config: Config) -> Source:
    """Read COCO annotation files and find their pictures; docs/own-data.md states the rules.

    Args:
      annotations: a JSON file, or a folder with train/_annotations.coco.json (and valid/, test/)
        or annotations/instances_train*.json (and val, test).
      config: its settings of own data.

    Raises:
      DataError: if pycocotools is missing, or a file, category or picture is not as it should be.
    """
    root = Path(annotations)
    files = _annotation_files(root, config)
    contents = {split: read_file(file) for split, file in files.items()}
    require_pycocotools()
    where = printable(str(root))
    known = list(dict.fromkeys(name for _, names in contents.values() for name in names))
    everything = [picture for pictures, _ in contents.values() for picture in pictures]
    used = {some.category for picture in everything for some in picture.annotations}
    names = config.class_choice() or tuple(name for name in known if name in used)
    check_names(names, where=f"{where}: categories")
    check_names(names, where=where, known=known)
    least = config.min_object_area
    source = Source(
        where=where,
        layout="COCO annotations",
        class_names=names,
        splits={},
        size_of=lambda item: item.size,
        read=functools.partial(_read, class_names=names, min_area=least),
    )
    source.splits = {
        split: _items(source, contents[split][0], file, config) for split, file in files.items()
    }
    if not any(source.splits.values()) and not source.problems:
        asked = "exactly one object" if config.single_object else "an object"
        smallest = f" of at least {least:g} pixels" if least else ""
        raise DataError(f"{where}: no image has {asked} of {some_names(names)}{smallest}")
    return source


def _read(item: Picture, *, class_names: tuple[str, ...], min_area: float) -> Sample:
    """Read a picture and draw its masks; objects of fewer than ``min_area`` pixels are ignored."""
    for upright in (True, False):  # the way up that has the annotated size; upright if both have
        image = read_image(item.image, upright=upright)
        if image.shape[:2] == item.size:
            break
    else:
        (height, width), size = read_image(item.image).shape[:2], f"{item.size[0]}x{item.size[1]}"
        raise FileProblemError("size mismatch", f"annotated {size}, image {height}x{width}")
    masks = np.zeros((*item.size, len(class_names)), np.uint8)
    hidden, boxes = np.zeros(item.size, bool), []
    for annotation in item.annotations:
        mask = annotation.mask(item.size)
        if annotation.crowd or mask.sum() < min_area:
            hidden |= mask.astype(bool)
            continue
        channel = class_names.index(annotation.category)
        masks[..., channel] |= mask
        boxes.append((channel, annotation.box or Image.fromarray(mask).getbbox() or (0, 0, 0, 0)))
    # What one annotation hides, another may know.
    hidden &= ~masks.any(axis=-1)
    return Sample(image, masks, hidden if hidden.any() else None, boxes)


def _items(
    source: Source, pictures: Sequence[Picture], file: Path, config: Config
) -> list[Picture]:
    """Return the pictures that are wanted and there; tell the source of the others."""
    wanted = []
    for picture in pictures:
        objects = [some for some in picture.annotations if some.category in source.class_names]
        if config.keep_empty or objects:
            wanted.append(dataclasses.replace(picture, annotations=objects))
    folder = _find_images(file, config.images_dir, [picture.name for picture in wanted])
    items, left_out = [], len(pictures) - len(wanted)
    for picture in wanted:
        try:
            whole = [some for some in picture.annotations if not some.crowd]
            if (least := config.min_object_area) > 0:
                whole = [some for some in whole if some.mask(picture.size).sum() >= least]
            if len(whole) == 1 if config.single_object else whole or config.keep_empty:
                path = _inside(folder, picture.name)
                items.append(dataclasses.replace(picture, image=path))
            else:
                left_out += 1
        except FileProblemError as error:
            source.problems.append(error.of(picture.name))
    if left_out:
        source.notes.append(
            f"{printable(file.name)}: {left_out} of {len(pictures)} pictures left out, they"
            f" have no object that was asked for"
        )
    return sorted(items, key=lambda item: item.name)


def _annotation_files(root: Path, config: Config) -> dict[str, Path]:
    where = printable(str(root))
    if not root.exists():
        raise DataError(f"{where}: no such file")
    given = {"val": config.val_annotations, "test": config.test_annotations}
    own = {split: Path(path) for split, path in given.items() if path}
    if root.is_file():
        return {"train" if own else "all": root, **own}
    found: dict[str, Path] = {}
    for split, folders in _SPLIT_FOLDERS.items():
        exports = [root / folder / ROBOFLOW_FILE for folder in folders]
        official = sorted((root / "annotations").glob(f"instances_{split}*.json"))
        present = [path for path in exports if path.is_file()] + official
        if len(present) > 1:
            names = some_names(path.relative_to(root) for path in present)
            raise DataError(
                f"{where}: several files for {split}: {names}; name one with --data=coco:FILE"
            )
        if present:
            found[split] = present[0]
    found |= own
    if "train" not in found:
        raise DataError(
            f"{where}: no train/{ROBOFLOW_FILE} and no annotations/instances_train*.json; name the"
            f" JSON file itself"
        )
    return found


def _find_images(file: Path, images_dir: str, names: Sequence[str]) -> Path:
    """Return the folder of the pictures: the one given, or the first place that has one."""
    if images_dir:
        folder = Path(images_dir)
        if not folder.is_dir():
            raise DataError(f"--images_dir={printable(str(folder))}: no such folder")
        return folder
    stem, beside, above = file.stem.removeprefix("instances_"), file.parent, file.parent.parent
    places = [beside, beside / "images", beside / stem]
    places += [above / stem, above / "images" / stem, above / "images"]
    for place in places:
        if any(_is_file(place / name) for name in names[:20]):
            return place
    if not names:
        return beside
    tried = ", ".join(dict.fromkeys(str(place) for place in places))
    raise DataError(
        f"{printable(str(file))}: cannot find {printable(names[0])}; name the folder of the"
        f" pictures with --images_dir (looked in {tried})"
    )


def _inside(folder: Path, name: str) -> Path:
    """Return the path of a picture; raise FileProblemError if it is not a file of the folder."""
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise FileProblemError("bad annotation", "its file_name leads out of the folder")
    if path.suffix.lower() not in SUFFIXES:
        raise FileProblemError("unsupported format")
    if not _is_file(path):
        raise FileProblemError("missing file", f"in {folder}")
    return path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # its name is too long, say
        return False
