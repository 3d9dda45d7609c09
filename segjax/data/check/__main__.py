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

from segjax.config import Config, flag_fields
from segjax.errors import Parser, exit_code, leave
from segjax.files import naming

# The settings of a run by which own data is read; each is a flag here, too.
SETTINGS = [field.name for field in flag_fields() if "own" in field.metadata["of_data"]]


def check(given: argparse.Namespace) -> int:
    """Check what the arguments name, and write the report; return the exit code."""
    from segjax.data.check.contact_sheet import write_sheet
    from segjax.data.check.reading import check_source, open_for_check

    config = Config(**{name: getattr(given, name) for name in SETTINGS})
    how = {"look_for_near_duplicates": given.near_duplicates, "progress": sys.stderr.isatty()}
    report, tiles = check_source(open_for_check(given.paths, config), config, **how)
    sys.stdout.write(report.text())
    if given.json:
        with naming(given.json):
            Path(given.json).write_text(report.json())
    if given.sheet and tiles:
        write_sheet(Path(given.sheet), tiles, report.class_names)
        sys.stdout.write(f"contact sheet: {given.sheet}\n")
    return int(report.failed)


def make_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = Parser(
        prog="segjax check",
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
