"""Finding out which picture of a folder belongs to which mask, without reading any pixel."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

from segjax.data.own.pictures import OTHER_SUFFIXES, SUFFIXES
from segjax.data.own.problems import Problem, printable, some_names
from segjax.errors import DataError

IMAGE_FOLDERS = ("images", "image", "imgs", "img")
MASK_FOLDERS = ("masks", "mask", "labels", "annotations")
SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
MASK_ENDING = "_mask"
IGNORE_FOLDER = "ignore"
NUMBERS = ""  # in the place of a class: the mask that holds the numbers of all classes
LAYOUTS = "images/ and masks/, or NAME.png beside NAME_mask.png; see docs/own-data.md"


@dataclasses.dataclass(frozen=True)
class Entry:
    """One picture and its mask files: that of ``NUMBERS``, or one for each class present."""

    name: str
    image: Path
    masks: Mapping[str, Path]


@dataclasses.dataclass
class Found:
    """What a folder holds: its layout in words, the entries of each split, and what is wrong."""

    layout: str
    splits: dict[str, list[Entry]]
    problems: list[Problem]
    class_folders: list[str]


def find_entries(root: Path) -> Found:
    """Scan ``root`` for one of the layouts that docs/own-data.md states.

    Raises:
      DataError: if there is no such folder, or none of the layouts fits.
    """
    if not root.is_dir():
        raise _wrong(root, "no folder" if root.exists() else "no such folder")
    splits, (images, masks) = _split_folders(root), _images_and_masks(root)
    if splits and images:
        raise _wrong(
            root,
            f"has both {images.name}/ and {some_names(p.name + '/' for p in splits)};"
            f" move the pictures into the splits or remove the empty folders",
        )
    if splits:
        return _merge({part: _find_part(root, part) for part in splits})
    if not images or not masks or not (inner := _split_folders(images)):
        return _find_part(root, root)
    for name in (part.name for part in inner):
        if not (masks / name).is_dir():
            raise _wrong(root, f"has {images.name}/{name}/ but no {masks.name}/{name}/")
    parts = {part: _pair_folders(root, part, masks / part.name) for part in inner}
    if loose := [name for name, _ in _pictures(images, deep=False)]:
        raise _wrong(
            root,
            f"{images.name}/ holds pictures beside its train/, val/ or test/: {some_names(loose)};"
            f" move them into one of these",
        )
    return _merge(parts)


def _find_part(root: Path, part: Path) -> Found:
    """Scan the root, or the folder of one split, in which all pictures are of one layout."""
    images, masks = _images_and_masks(part)
    if images and masks:
        return _pair_folders(root, images, masks)
    if has := images or masks:
        lacks = "masks/" if images else "images/"
        raise _wrong(part, f"has {has.name}/ but no {lacks} beside it; {LAYOUTS}")
    found = _pair_flat(root, part)
    if found.splits["all"] or found.problems:
        return found
    for folder in _folders(part):
        if {inner.name.lower() for inner in _folders(folder)} & {*IMAGE_FOLDERS, *SPLIT_FOLDERS}:
            raise _wrong(part, f"no images here; did you mean {printable(str(folder))}?")
    raise _wrong(part, f"no images here; expected {LAYOUTS}")


def _merge(parts: Mapping[Path, Found]) -> Found:
    """Return the parts, of which each is the folder of a split, as one."""
    layouts = sorted({found.layout for found in parts.values()})
    if len({bool(found.class_folders) for found in parts.values()}) > 1:
        raise DataError("train, val and test mix masks of class numbers with per-class folders")
    return Found(
        layout=" and ".join(layouts),
        splits={SPLIT_FOLDERS[p.name.lower()]: found.splits["all"] for p, found in parts.items()},
        problems=[problem for found in parts.values() for problem in found.problems],
        class_folders=sorted({name for found in parts.values() for name in found.class_folders}),
    )


def _pair_folders(root: Path, images: Path, masks: Path) -> Found:
    """Pair images/**/STEM.* with masks/**/STEM.* or masks/CLASS/**/STEM.*."""
    problems: list[Problem] = []
    pictures = _by_stem(root, images, problems)
    mirrored = {folder.name for folder in _folders(images)}
    classes = [folder.name for folder in _folders(masks) if folder.name not in mirrored]
    if classes and (loose := [name for name, _ in _pictures(masks, deep=False)]):
        raise _wrong(
            masks,
            f"holds masks ({some_names(loose)}) beside folders of classes ({some_names(classes)});"
            f" use one or the other",
        )
    by_class = {name: _by_stem(root, masks / name, problems) for name in classes or [NUMBERS]}
    found = by_class.get(NUMBERS, {})
    if not classes and not found and (tables := sorted(masks.glob("*.json"))):
        raise _wrong(
            masks,
            f"holds no mask but {printable(tables[0].name)}; for COCO annotations use"
            f" --data=coco:{printable(str(tables[0]))}",
        )
    for stem in pictures:
        longer = stem + MASK_ENDING
        if stem not in found and longer in found and longer not in pictures:
            found[stem] = found.pop(longer)
    kind = "one folder of masks for each class" if classes else "masks of class numbers"
    entries = _pair(root, pictures, by_class, problems)
    if not entries and not problems:
        raise _wrong(images, f"no images here; expected {LAYOUTS}")
    layout = f"{images.name}/ with {kind} in {masks.name}/"
    return Found(layout, {"all": entries}, problems, [c for c in classes if c != IGNORE_FOLDER])


def _pair_flat(root: Path, folder: Path) -> Found:
    """Pair NAME.* with NAME_mask.* in one folder."""
    problems: list[Problem] = []
    stems = _by_stem(root, folder, problems, deep=False)
    masks = {s.removesuffix(MASK_ENDING): p for s, p in stems.items() if s.endswith(MASK_ENDING)}
    pictures = {stem: path for stem, path in stems.items() if not stem.endswith(MASK_ENDING)}
    entries = _pair(root, pictures, {NUMBERS: masks}, problems)
    if problems and not entries and all(some.kind == "missing mask" for some in problems):
        raise _wrong(folder, f"{len(problems)} pictures but no mask; expected {LAYOUTS}")
    return Found("NAME.* beside NAME_mask.*", {"all": entries}, problems, [])


def _pair(
    root: Path,
    pictures: Mapping[str, Path],
    by_class: Mapping[str, Mapping[str, Path]],
    problems: list[Problem],
) -> list[Entry]:
    """Return the pictures that have a mask; add a problem for each that has none or is none's."""
    entries = []
    for stem, path in pictures.items():
        own = {name: found[stem] for name, found in by_class.items() if stem in found}
        if own.keys() - {IGNORE_FOLDER}:
            entries.append(Entry(_name(root, path), path, own))
        else:
            problems.append(Problem("missing mask", _name(root, path)))
    problems += [
        Problem("missing image", _name(root, path))
        for found in by_class.values()
        for stem, path in found.items()
        if stem not in pictures
    ]
    return entries


def _by_stem(
    root: Path, folder: Path, problems: list[Problem], *, deep: bool = True
) -> dict[str, Path]:
    """Return relative stem -> file, and add a problem for each name that two files claim."""
    found: dict[str, Path] = {}
    for name, path in _pictures(folder, deep=deep):
        stem = name[: -len(path.suffix)]
        if path.suffix.lower() not in SUFFIXES:
            problems.append(Problem("unsupported format", _name(root, path)))
        elif stem in found:
            problems.append(Problem("duplicate name", _name(root, path), f"and {found[stem].name}"))
        else:
            found[stem] = path
    return found


def _pictures(folder: Path, *, deep: bool = True) -> list[tuple[str, Path]]:
    """Return (relative name, path) of every picture file below ``folder``, sorted."""
    found: list[Path] = []
    for base, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if deep and not name.startswith(".")]
        found += [Path(base) / name for name in files if not name.startswith(".")]
    pictures = [path for path in found if path.suffix.lower() in SUFFIXES + OTHER_SUFFIXES]
    return sorted((_name(folder, path), path) for path in pictures)


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _images_and_masks(folder: Path) -> list[Path | None]:
    by_name = {inner.name.lower(): inner for inner in _folders(folder)}
    return [
        next((by_name[name] for name in names if name in by_name), None)
        for names in (IMAGE_FOLDERS, MASK_FOLDERS)
    ]


def _split_folders(root: Path) -> list[Path]:
    claimed: dict[str, Path] = {}
    for folder in _folders(root):
        if split := SPLIT_FOLDERS.get(folder.name.lower()):
            other = claimed.setdefault(split, folder).name
            if other != folder.name:
                both = f"{other}/ and {folder.name}/ both mean the {split} split"
                raise _wrong(root, f"{both}; keep one")
    if claimed and "train" not in claimed:
        has = some_names(f"{folder.name}/" for folder in claimed.values())
        raise _wrong(root, f"has {has} but no train/")
    return list(claimed.values())


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _wrong(folder: Path, why: str) -> DataError:
    return DataError(f"{printable(str(folder))}: {why}")
