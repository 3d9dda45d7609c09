"""Checks data before any training: ``python -m segjax.data.check PATH``.

Reads every picture and mask once and reports counts, sizes, class balance, files that cannot be
read or do not fit together, mask values out of range and equal pictures in different splits, and
draws a contact sheet to look at. Exit code 0: nothing wrong, 1: problems, 2: wrong usage.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from segjax.config import Config, flag_fields
from segjax.data.check.contact_sheet import Tile, make_tile, write_sheet
from segjax.data.check.near_duplicates import difference_hash, near_pairs
from segjax.data.check.report import Report, SplitReport
from segjax.data.check.shapes import scan_shapes
from segjax.data.own.problems import FileProblemError, Problem, printable
from segjax.data.own.resize import Size, choose_size
from segjax.data.own.samples import Source
from segjax.data.own.source import data_of, divide, scan_source
from segjax.errors import ConfigError, DataError, exit_code, leave

SHEET_IMAGES = 24
# The settings of a run by which own data is read; each is a flag here, too.
SETTINGS = (
    "image_size", "fit", "classes", "ignore_value", "val_share", "test_share", "images_dir",
    "val_annotations", "test_annotations", "min_object_area", "single_object", "keep_empty",
)  # fmt: skip


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


def check(given: argparse.Namespace) -> int:
    """Check what the arguments name, and write the report; return the exit code."""
    config = Config(**{name: getattr(given, name) for name in SETTINGS})
    how = {"look_for_near_duplicates": given.near_duplicates, "progress": sys.stderr.isatty()}
    report, tiles = check_source(open_for_check(given.paths, config), config, **how)
    sys.stdout.write(report.text())
    if given.json:
        Path(given.json).write_text(report.json())
    if given.sheet and tiles:
        write_sheet(Path(given.sheet), tiles, report.class_names)
        sys.stdout.write(f"contact sheet: {given.sheet}\n")
    return int(report.failed)


def make_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        prog="python -m segjax.data.check",
        description="Check data before any training.",
        epilog="Exit code 0: nothing wrong, 1: problems, 2: wrong usage.",
    )
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", help="folder, COCO .json, .npz or PurdueShapes .gz")
    add("--sheet", default="contact-sheet.png", help="where to draw it; empty: nowhere")
    add("--json", default="", help="also write the report to this file")
    add("--near_duplicates", action="store_true", help="look for almost equal pictures, too")
    for field in flag_fields():
        if field.name in SETTINGS:
            how: dict[str, Any] = {"type": type(field.default)}
            if isinstance(field.default, bool):
                how = {"action": "store_true"}
            elif field.metadata["choices"]:
                how = {"choices": field.metadata["choices"]}
            add(f"--{field.name}", default=field.default, help=field.metadata["help"], **how)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    told = {OSError: (2, "{file}: cannot be written ({error.strerror})")}
    return exit_code(lambda: check(make_parser().parse_args(argv)), prefix="error", told=told)


if __name__ == "__main__":
    leave(main())
