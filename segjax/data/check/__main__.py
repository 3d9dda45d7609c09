"""Checks data before any training: ``python -m segjax.data.check PATH``.

Reads every picture and mask once and reports counts, sizes, class balance, files that cannot be
read or do not fit together, mask values out of range and equal pictures in different splits, and
draws a contact sheet to look at. Exit code 0: nothing wrong, 1: problems, 2: wrong usage.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from segjax.data.check.contact_sheet import Tile, make_tile, write_sheet
from segjax.data.check.near_duplicates import difference_hash, near_pairs
from segjax.data.loading import load
from segjax.data.own import samples
from segjax.data.own.npz import array_source
from segjax.data.own.problems import (
    KINDS,
    FileProblemError,
    Problem,
    by_kind,
    describe,
    printable,
)
from segjax.data.own.resize import FITS, Size, choose_size
from segjax.data.own.source import OwnOptions, is_own, scan_source
from segjax.errors import ConfigError, DataError

SHEET_IMAGES = 24
_SIZES_SHOWN = 6


@dataclasses.dataclass
class SplitReport:
    """What one split holds; pixels are counted in the pictures' own sizes.

    Attributes:
      images: number of pictures read.
      sizes: 'HEIGHTxWIDTH' -> number of pictures.
      class_pixels: class -> pixels.
      class_images: class -> pictures that show it.
      objects: class -> objects (COCO's, otherwise connected regions).
      pixels: all pixels that count.
      ignored_pixels: those that do not.
    """

    images: int = 0
    sizes: Counter[str] = dataclasses.field(default_factory=Counter)
    class_pixels: Counter[str] = dataclasses.field(default_factory=Counter)
    class_images: Counter[str] = dataclasses.field(default_factory=Counter)
    objects: Counter[str] = dataclasses.field(default_factory=Counter)
    pixels: int = 0
    ignored_pixels: int = 0

    def add(self, sample: samples.Sample, class_names: Sequence[str]) -> None:
        """Counts one picture."""
        height, width = sample.image.shape[:2]
        ignored = 0 if sample.ignore is None else int(sample.ignore.sum())
        self.images += 1
        self.sizes[f"{height}x{width}"] += 1
        self.pixels += height * width - ignored
        self.ignored_pixels += ignored
        boxes = sample.boxes
        found = [
            channel
            for channel, _ in (samples.region_boxes(sample.masks) if boxes is None else boxes)
        ]
        for channel, name in enumerate(class_names):
            on = int(np.count_nonzero(sample.masks[..., channel]))
            self.class_pixels[name] += on
            self.class_images[name] += on > 0
            self.objects[name] += found.count(channel)


@dataclasses.dataclass
class Report:
    """Everything the check found; ``failed`` is what the exit code says."""

    where: str
    layout: str
    class_names: tuple[str, ...]
    trained_size: Size | None
    splits: dict[str, SplitReport]
    problems: list[Problem]
    notes: list[str]

    @property
    def failed(self) -> bool:
        """Whether there is a problem that is more than a notice."""
        return any(KINDS[problem.kind].level != "notice" for problem in self.problems)

    def text(self) -> str:
        """Returns the report in lines for a terminal."""
        lines = [f"{self.where}: {self.layout}"]
        if self.trained_size is not None:
            lines.append(f"images are trained on at {_size_text(self.trained_size)} pixels")
        lines += [f"note: {note}" for note in self.notes]
        for split, part in self.splits.items():
            lines += ["", f"{split}: {part.images} images, height x width {_sizes_text(part)}"]
            lines += _class_lines(part, self.class_names)
        lines.append("")
        for some in by_kind(self.problems).values():
            lines.append(f"{KINDS[some[0].kind].level}: {describe(some)}")
        counts = Counter(KINDS[problem.kind].level for problem in self.problems)
        words = [f"{n} {level}{'s' * (n > 1)}" for level, n in sorted(counts.items())]
        lines.append(f"result: {', '.join(words) or 'nothing wrong'}")
        return "\n".join(lines) + "\n"

    def as_json(self) -> dict[str, Any]:
        """Returns the report as plain values."""
        # dataclasses.asdict rebuilds a Counter from its pairs and so counts the pairs.
        splits = {
            split: {
                name: dict(value) if isinstance(value, Counter) else value
                for name, value in vars(part).items()
            }
            for split, part in self.splits.items()
        }
        problems = [dataclasses.asdict(problem) for problem in self.problems]
        return {**vars(self), "splits": splits, "problems": problems, "failed": self.failed}


def check_source(
    source: samples.Source,
    options: OwnOptions,
    *,
    look_for_near_duplicates: bool = False,
    progress: bool = False,
) -> tuple[Report, list[Tile]]:
    """Reads every picture of ``source`` once; returns the report and cells for a contact sheet.

    Nothing that is wrong with single files raises; it is all in the report.
    """
    problems = list(source.problems)
    shares = {"val_share": options.val_share, "test_share": options.test_share}
    if source.whole_splits:
        shares = {"val_share": 0, "test_share": 0}
    try:
        splits = samples.divide(source, **shares)
    except DataError:
        splits = {name: list(items) for name, items in source.splits.items()}
    splits = {name: items for name, items in splits.items() if items}
    shown = _spread(splits, SHEET_IMAGES)
    parts = {split: SplitReport() for split in splits}
    sizes: list[Size] = []
    tiles: list[Tile] = []
    digests: list[tuple[str, str, str]] = []
    hashes: list[tuple[str, str, np.ndarray]] = []
    for split, item in _with_progress(splits, shown=progress):
        try:
            digest = str(source.digest(item))
            sample = source.read(item)
        except FileProblemError as error:
            problems.append(Problem(error.kind, item.name, error.detail))
            continue
        digests.append((split, item.name, digest))
        sizes.append((sample.image.shape[0], sample.image.shape[1]))
        parts[split].add(sample, source.class_names)
        if (sample.image == sample.image[0, 0]).all():
            problems.append(Problem("constant image", item.name))
        elif look_for_near_duplicates:
            hashes.append((split, item.name, difference_hash(sample.image)))
        if item.name in shown[split]:
            tiles.append(make_tile(sample, split=split, name=item.name))
    near = near_pairs(hashes)
    problems += _duplicates(digests)
    problems += [Problem("near duplicate", *pair) for pair in near]
    problems += _absent_classes(parts, source.class_names)
    report = Report(
        where=source.where,
        layout=source.layout,
        class_names=source.class_names,
        trained_size=choose_size(options.image_size, sizes) if sizes else None,
        splits=parts,
        problems=problems,
        notes=list(source.notes),
    )
    return report, tiles


def open_for_check(paths: Sequence[str], options: OwnOptions) -> samples.Source:
    """Returns the data that a path, or a value of --data, names.

    A folder, a COCO .json file, an .npz file, or one or two .gz files of PurdueShapes, for
    training and testing, of which nothing is drawn for other splits.

    Raises:
      ConfigError: if the path is of no known kind.
      DataError: if the data cannot be understood.
    """
    first = paths[0]
    if all(path.lower().endswith(".gz") for path in paths) and len(paths) <= 2:
        parts = {_split_of(path, place): load(path) for place, path in enumerate(paths)}
        if len(parts) < len(paths):
            raise ConfigError("of two .gz files one must be for training, one for testing")
        return array_source(parts, where=first, layout="PurdueShapes images")
    if len(paths) > 1:
        raise ConfigError("one PATH at a time, except for two .gz files: train and test")
    if is_own(first):
        return scan_source(first, options)
    if first.lower().endswith(".json"):
        return scan_source(f"coco:{first}", options)
    if Path(first).is_file():
        raise ConfigError(f"{printable(first)}: expected a folder, .json, .npz or .gz file")
    return scan_source(f"folder:{first}", options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the check from the command line and returns the exit code."""
    parser = _make_parser()
    given = parser.parse_args(arguments)
    try:
        options = OwnOptions(
            image_size=given.image_size,
            fit=given.fit,
            classes=tuple(name for name in given.classes.split(",") if name),
            ignore_value=None if given.ignore_value < 0 else given.ignore_value,
            val_share=given.val_share,
            test_share=given.test_share,
            images_dir=given.images_dir,
            val_annotations=given.val_annotations,
            test_annotations=given.test_annotations,
            min_object_area=given.min_object_area,
            single_object=given.single_object,
            keep_empty=given.keep_empty,
        )
        source = open_for_check(given.paths, options)
        report, tiles = check_source(
            source,
            options,
            look_for_near_duplicates=given.near_duplicates,
            progress=sys.stderr.isatty(),
        )
        sys.stdout.write(report.text())
        if given.json:
            Path(given.json).write_text(json.dumps(report.as_json(), indent=2) + "\n")
        if given.sheet and tiles:
            write_sheet(Path(given.sheet), tiles, report.class_names)
            sys.stdout.write(f"contact sheet: {given.sheet}\n")
    except ConfigError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except DataError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"error: {error.filename}: cannot be written ({error.strerror})\n")
        return 2
    return int(report.failed)


def _make_parser() -> argparse.ArgumentParser:
    defaults = OwnOptions()
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
    add("--image_size", type=int, help="side of the trained images, a multiple of 8")
    add("--fit", default=defaults.fit, choices=FITS, help="how images get that size")
    add("--classes", default="", help="comma-separated classes or COCO categories to use")
    add("--ignore_value", type=int, default=defaults.ignore_value, help="-1: none")
    add("--val_share", type=float, default=defaults.val_share)
    add("--test_share", type=float, default=defaults.test_share)
    add("--images_dir", help="folder of the pictures of COCO annotations")
    add("--val_annotations", help="COCO file of the validation pictures")
    add("--test_annotations", help="COCO file of the test pictures")
    add("--min_object_area", type=float, default=0, help="ignore smaller COCO objects (pixels)")
    add("--single_object", action="store_true", help="only pictures with exactly one COCO object")
    add("--keep_empty", action="store_true", help="also pictures without COCO objects")
    return parser


def _with_progress(
    splits: dict[str, list[Any]], *, shown: bool
) -> Iterator[tuple[str, samples.Item]]:
    total = sum(map(len, splits.values()))
    bar = tqdm(total=total, unit="image") if shown else None
    with bar or contextlib.nullcontext():
        for split, items in splits.items():
            for item in items:
                yield split, item
                if bar is not None:
                    bar.update()


def _spread(splits: dict[str, list[Any]], count: int) -> dict[str, set[str]]:
    """Returns names of about ``count`` items, evenly over each split, some of every split."""
    total = sum(map(len, splits.values()))
    chosen = {}
    for split, items in splits.items():
        share = min(len(items), max(3, count * len(items) // max(total, 1)))
        places = np.linspace(0, len(items) - 1, share).round().astype(int)
        chosen[split] = {items[place].name for place in places}
    return chosen


def _duplicates(digests: Sequence[tuple[str, str, str]]) -> list[Problem]:
    first: dict[str, tuple[str, str]] = {}
    problems = []
    for split, name, digest in digests:
        other_split, other = first.setdefault(digest, (split, name))
        if other_split != split:
            detail = f"{split}, same as {printable(other)} in {other_split}"
            problems.append(Problem("duplicate across splits", name, detail))
        elif other != name:
            detail = f"same as {printable(other)}"
            problems.append(Problem("duplicate within split", name, detail))
    return problems


def _split_of(path: str, place: int) -> str:
    """Returns the split of a PurdueShapes file by its name, otherwise by its place."""
    name = Path(path).name.lower()
    if ("test" in name) != ("train" in name):
        return "test" if "test" in name else "train"
    return ("train", "test")[place]


def _absent_classes(parts: dict[str, SplitReport], names: Sequence[str]) -> list[Problem]:
    if not any(part.images for part in parts.values()):
        return []
    if not any(sum(part.class_pixels.values()) for part in parts.values()):
        return [Problem("no foreground", "all splits")]
    return [
        Problem("absent class" if split == "train" else "unmeasured class", name, f"in {split}")
        for split, part in parts.items()
        for name in names
        if part.images and not part.class_pixels[name]
    ]


def _size_text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def _sizes_text(part: SplitReport) -> str:
    ordered = part.sizes.most_common()
    if len(ordered) == 1:
        return ordered[0][0]
    shown = [f"{size} ({count})" for size, count in ordered[:_SIZES_SHOWN]]
    rest = len(ordered) - len(shown)
    return ", ".join(shown) + (f" and {rest} more sizes" if rest > 0 else "")


def _class_lines(part: SplitReport, names: Sequence[str]) -> list[str]:
    if not part.pixels:
        return []
    width = max(len(printable(name)) for name in [*names, "background"])
    lines = []
    for name in names:
        share = 100 * part.class_pixels[name] / part.pixels
        lines.append(
            f"  {printable(name):{width}} {share:6.2f} % of pixels, in"
            f" {part.class_images[name]} images, {part.objects[name]} objects"
        )
    if part.ignored_pixels:
        share = 100 * part.ignored_pixels / (part.pixels + part.ignored_pixels)
        lines.append(f"  {'(ignored)':{width}} {share:6.2f} % of all pixels")
    return lines


if __name__ == "__main__":
    sys.exit(main())
