"""COCO annotations (polygons and run lengths) as a data set; needs pycocotools."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from segjax.data.dataset import Dataset
from segjax.data.own import pictures, samples
from segjax.data.own.class_names import check_names, unknown_class
from segjax.data.own.coco_masks import area_mask, require_pycocotools
from segjax.data.own.coco_tables import Annotation, Tables, read_tables
from segjax.data.own.problems import FileProblemError, Problem, printable, refuse, some_names
from segjax.data.own.resize import Size, choose_size
from segjax.errors import ConfigError, DataError

ROBOFLOW_FILE = "_annotations.coco.json"
_SPLIT_FOLDERS = {"train": ("train",), "val": ("valid", "val"), "test": ("test",)}


@dataclasses.dataclass(frozen=True)
class CocoItem:
    """One picture and its annotations of the chosen categories."""

    name: str
    image: Path
    size: Size
    objects: tuple[Annotation, ...]


@dataclasses.dataclass
class CocoSource:
    """Scanned annotations; see ``samples.Source``."""

    where: str
    layout: str
    class_names: tuple[str, ...]
    splits: Mapping[str, Sequence[CocoItem]]
    problems: list[Problem]
    notes: list[str]
    min_area: float
    whole_splits: bool = False

    def size_of(self, item: CocoItem) -> Size:
        """Returns the height and width that the annotations state."""
        return item.size

    def digest(self, item: CocoItem) -> str:
        """Returns the SHA-256 of the picture's file."""
        return samples.file_digest(item.image)

    def read(self, item: CocoItem) -> samples.Sample:
        """Reads a picture and draws the masks of its annotations."""
        image = _read_picture(item)
        masks = np.zeros((*item.size, len(self.class_names)), np.uint8)
        hidden = np.zeros(item.size, bool)
        boxes = []
        for annotation in item.objects:
            mask = area_mask(annotation, item.size)
            if annotation.crowd or mask.sum() < self.min_area:
                hidden |= mask.astype(bool)
                continue
            channel = self.class_names.index(annotation.category)
            masks[..., channel] |= mask
            boxes.append((channel, annotation.box or _tight_box(mask)))
        # What one annotation hides, another may know.
        hidden &= ~masks.any(axis=-1)
        return samples.Sample(image, masks, hidden if hidden.any() else None, boxes)


def scan_coco(
    annotations: str | Path,
    *,
    images_dir: str | Path | None = None,
    val_annotations: str | Path | None = None,
    test_annotations: str | Path | None = None,
    categories: Sequence[str] | None = None,
    min_area: float = 0,
    single_object: bool = False,
    keep_empty: bool = False,
) -> CocoSource:
    """Reads COCO annotation files and finds their pictures; the arguments are ``load_coco``'s.

    Raises:
      DataError: if pycocotools is missing, or a file, category or picture is not as it should be.
    """
    require_pycocotools()
    if min_area < 0:
        raise ConfigError(f"--min_object_area={min_area}: must be at least 0")
    root = Path(annotations)
    files = _annotation_files(root, val_annotations, test_annotations)
    tables = {split: read_tables(file) for split, file in files.items()}
    where = printable(str(root))
    known = list(dict.fromkeys(name for table in tables.values() for name in table.categories))
    used = {some.category for table in tables.values() for some in table.annotations}
    names = list(categories) if categories else [name for name in known if name in used]
    check_names(names, where=f"{where}: categories")
    for name in names:
        if name not in known:
            raise DataError(unknown_class(name, known, where=where))
    source = CocoSource(
        where=where,
        layout="COCO annotations",
        class_names=tuple(names),
        splits={},
        problems=[],
        notes=[],
        min_area=min_area,
    )
    rule = _Choice(frozenset(names), min_area, single_object, keep_empty)
    source.splits = {
        split: _items(source, tables[split], file, images_dir, rule)
        for split, file in files.items()
    }
    if not any(source.splits.values()) and not source.problems:
        asked = "exactly one object" if single_object else "an object"
        smallest = f" of at least {min_area:g} pixels" if min_area else ""
        raise DataError(f"{where}: no image has {asked} of {some_names(names)}{smallest}")
    return source


def load_coco(
    annotations: str | Path,
    images_dir: str | Path | None = None,
    *,
    categories: Sequence[str] | None = None,
    min_area: float = 0,
    image_size: int | Size | None = None,
    fit: str = "resize",
    single_object: bool = False,
    keep_empty: bool = False,
    split: str = "all",
    val_share: float = samples.VAL_SHARE,
    test_share: float = samples.TEST_SHARE,
) -> Dataset:
    """Loads pictures with the masks and boxes of chosen COCO categories.

    Crowds, and objects of fewer than ``min_area`` pixels (counted in the mask, at the picture's
    own size), are ignored: neither object nor background. ``single_object`` keeps the pictures
    with exactly one object that is neither. Pictures without any object are left out unless
    ``keep_empty``. Other categories are background.

    Args:
      annotations: a JSON file, or a folder with train/_annotations.coco.json (and valid/, test/)
        or annotations/instances_train*.json (and val, test).
      images_dir: where the pictures are; by default beside the JSON file, in images/ there, or
        where COCO's own archives put them (train2017/ for instances_train2017.json).
      categories: names in channel order; by default all that have an annotation.
      image_size: a side or (height, width); see ``resize.choose_size``.
      fit: see ``resize.make_fit``.
      split: 'all', or one of 'train', 'val', 'test'; see ``samples.divide``.

    Raises:
      DataError: one line that names the file, the pictures or annotations and what to do.
    """
    source = scan_coco(
        annotations,
        images_dir=images_dir,
        categories=categories,
        min_area=min_area,
        single_object=single_object,
        keep_empty=keep_empty,
    )
    refuse(source.where, source.problems)
    everything = [item for items in source.splits.values() for item in items]
    if split == "all":
        items = everything
    elif split in samples.SPLITS:
        items = samples.divide(source, val_share=val_share, test_share=test_share)[split]
    else:
        raise ConfigError(f"split={split!r}: choose one of all, {', '.join(samples.SPLITS)}")
    size = choose_size(image_size, [item.size for item in everything])
    return samples.build_dataset(
        source, items, size=size, fit=fit, name=f"{Path(annotations).name} {split}"
    )


@dataclasses.dataclass(frozen=True)
class _Choice:
    """Which pictures are wanted."""

    categories: frozenset[str]
    min_area: float
    single_object: bool
    keep_empty: bool

    def takes(self, objects: Sequence[Annotation], size: Size) -> bool:
        """Whether a picture with these annotations is wanted; raises FileProblemError."""
        whole = [some for some in objects if not some.crowd]
        if self.min_area > 0:
            whole = [some for some in whole if area_mask(some, size).sum() >= self.min_area]
        if self.single_object:
            return len(whole) == 1
        return bool(whole) or self.keep_empty


def _items(
    source: CocoSource,
    tables: Tables,
    file: Path,
    images_dir: str | Path | None,
    rule: _Choice,
) -> list[CocoItem]:
    by_image: dict[int, list[Annotation]] = {}
    for annotation in tables.annotations:
        if annotation.category in rule.categories:
            by_image.setdefault(annotation.image, []).append(annotation)
    wanted = [i for i in tables.images if rule.keep_empty or i in by_image]
    folder = _find_images(file, images_dir, [tables.images[i].file_name for i in wanted])
    items, left_out = [], len(tables.images) - len(wanted)
    for index in wanted:
        picture = tables.images[index]
        objects = tuple(by_image.get(index, ()))
        try:
            if not rule.takes(objects, picture.size):
                left_out += 1
                continue
            path = _inside(folder, picture.file_name)
        except FileProblemError as error:
            source.problems.append(Problem(error.kind, picture.file_name, error.detail))
            continue
        if path.is_file():
            items.append(CocoItem(picture.file_name, path, picture.size, objects))
        else:
            source.problems.append(Problem("missing file", picture.file_name, f"in {folder}"))
    if left_out:
        source.notes.append(
            f"{printable(file.name)}: {left_out} of {len(tables.images)} pictures left out, they"
            f" have no object that was asked for"
        )
    return sorted(items, key=lambda item: item.name)


def _annotation_files(
    root: Path, val: str | Path | None, test: str | Path | None
) -> dict[str, Path]:
    if not root.exists():
        raise DataError(f"{printable(str(root))}: no such file")
    given = {name: Path(path) for name, path in (("val", val), ("test", test)) if path}
    if root.is_file():
        return {"train" if given else "all": root, **given}
    found: dict[str, Path] = {}
    for split, folders in _SPLIT_FOLDERS.items():
        exports = [root / folder / ROBOFLOW_FILE for folder in folders]
        official = sorted((root / "annotations").glob(f"instances_{split}*.json"))
        present = [path for path in exports if path.is_file()] + official
        if len(present) > 1:
            names = some_names(path.relative_to(root) for path in present)
            raise DataError(
                f"{printable(str(root))}: several files for {split}: {names}; name one"
                f" with --data=coco:FILE"
            )
        if present:
            found[split] = present[0]
    found |= given
    if "train" not in found:
        raise DataError(
            f"{printable(str(root))}: no train/{ROBOFLOW_FILE} and no"
            f" annotations/instances_train*.json; name the JSON file itself"
        )
    return found


def _find_images(file: Path, images_dir: str | Path | None, names: Sequence[str]) -> Path:
    """Returns the folder of the pictures: the one given, or the first place that has one."""
    if images_dir is not None:
        folder = Path(images_dir)
        if not folder.is_dir():
            raise DataError(f"--images_dir={printable(str(folder))}: no such folder")
        return folder
    stem = file.stem.removeprefix("instances_")
    above = file.parent.parent
    places = [
        file.parent,
        file.parent / "images",
        file.parent / stem,
        above / stem,
        above / "images" / stem,
        above / "images",
    ]
    for place in places:
        if any((place / name).is_file() for name in names[:20]):
            return place
    if not names:
        return file.parent
    tried = ", ".join(dict.fromkeys(str(place) for place in places))
    raise DataError(
        f"{printable(str(file))}: cannot find {printable(names[0])}; name the folder of the"
        f" pictures with --images_dir (looked in {tried})"
    )


def _inside(folder: Path, name: str) -> Path:
    """Refuses file names that lead out of the folder of pictures."""
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise FileProblemError("bad annotation", "its file_name leads out of the folder")
    if path.suffix.lower() not in pictures.SUFFIXES:
        raise FileProblemError("unsupported format")
    return path


def _read_picture(item: CocoItem) -> np.ndarray:
    """Reads the picture the way up that has the annotated size; upright if both have."""
    image = pictures.read_image(item.image)
    if image.shape[:2] != item.size:
        raw = pictures.read_image(item.image, upright=False)
        if raw.shape[:2] != item.size:
            height, width = image.shape[:2]
            stated = f"{item.size[0]}x{item.size[1]}"
            raise FileProblemError("size mismatch", f"annotated {stated}, image {height}x{width}")
        return raw
    return image


def _tight_box(mask: np.ndarray) -> tuple[float, float, float, float]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return (0.0, 0.0, 0.0, 0.0)
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
