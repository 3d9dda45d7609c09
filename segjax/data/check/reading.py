"""Every picture and mask of a data set read once, and what is wrong with them."""

from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from segjax.config import Config
from segjax.data.check.contact_sheet import Tile, make_tile
from segjax.data.check.near_duplicates import difference_hash, near_pairs
from segjax.data.check.report import Report, SplitReport
from segjax.data.check.shapes import scan_shapes
from segjax.data.own.problems import FileProblemError, Problem, printable
from segjax.data.own.resize import Size, choose_size
from segjax.data.own.samples import Source
from segjax.data.own.source import data_of, divide, scan_source
from segjax.errors import ConfigError, DataError

SHEET_IMAGES = 24


def check_source(
    source: Source,
    config: Config,
    *,
    look_for_near_duplicates: bool = False,
    progress: bool = False,
) -> tuple[Report, list[Tile]]:
    """Read every picture of ``source`` once; return the report and cells for a contact sheet.

    Nothing that is wrong with single files raises; it is all in the report.
    """
    problems, repeated = list(source.problems), list[Problem]()
    try:
        splits = divide(source, config)
    except DataError:
        splits = {name: list(items) for name, items in source.splits.items()}
    splits = {name: items for name, items in splits.items() if items}
    # About 24 cells, evenly over each split, some of every split.
    shown, total = set(), sum(map(len, splits.values()))
    for split, items in splits.items():
        share = min(len(items), max(3, SHEET_IMAGES * len(items) // total))
        places = np.linspace(0, len(items) - 1, share).round().astype(int)
        shown |= {(split, items[place].name) for place in places}
    parts = {split: SplitReport() for split in splits}
    sizes: list[Size] = []
    tiles: list[Tile] = []
    first: dict[str, tuple[str, str]] = {}
    hashes: list[tuple[str, str, np.ndarray]] = []
    everything = [(split, item) for split, items in splits.items() for item in items]
    for split, item in tqdm(everything, unit="image", disable=not progress):
        try:
            digest, sample = source.digest(item), source.read(item)
        except FileProblemError as error:
            problems.append(error.of(item.name))
            continue
        other_split, other = first.setdefault(digest, (split, item.name))
        if other_split != split:
            detail = f"{split}, same as {printable(other)} in {other_split}"
            repeated.append(Problem("duplicate across splits", item.name, detail))
        elif other != item.name:
            detail = f"same as {printable(other)}"
            repeated.append(Problem("duplicate within split", item.name, detail))
        sizes.append(sample.size)
        parts[split].add(sample, source.class_names)
        if (sample.image == sample.image[0, 0]).all():
            problems.append(Problem("constant image", item.name))
        elif look_for_near_duplicates:
            hashes.append((split, item.name, difference_hash(sample.image)))
        if (split, item.name) in shown:
            tiles.append(make_tile(sample, split=split, name=item.name))
    problems += repeated
    problems += [Problem("near duplicate", *pair) for pair in near_pairs(hashes)]
    if sizes and not any(part.class_pixels.total() for part in parts.values()):
        problems.append(Problem("no foreground", "all splits"))
    else:
        problems += [
            Problem("absent class" if split == "train" else "unmeasured class", name, f"in {split}")
            for split, part in parts.items()
            for name in source.class_names
            if part.images and not part.class_pixels[name]
        ]
    size = choose_size(config.image_size, sizes) if sizes else None
    about = (source.where, source.layout, source.class_names)
    return Report(*about, size, parts, problems, list(source.notes)), tiles


def open_for_check(paths: Sequence[str], config: Config) -> Source:
    """Return the data that a path, or a value of --data, names.

    A folder, a COCO .json file, an .npz file, or one or two .gz files of PurdueShapes.

    Raises:
      ConfigError: if the path is of no known kind.
      DataError: if the data cannot be understood.
    """
    if all(path.lower().endswith(".gz") for path in paths) and len(paths) <= 2:
        return scan_shapes(paths)
    if len(paths) > 1:
        raise ConfigError("one PATH at a time, except for two .gz files: train and test")
    return scan_source(config.replace(data=data_of(paths[0])))
