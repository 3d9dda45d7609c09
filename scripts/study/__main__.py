"""The study, from the real data to the finished document.

    python -m scripts.study                    what is missing of the small scale, then the page
    python -m scripts.study --scale=full       the report's own size, for a GPU
    python -m scripts.study --list             what is done and what is left
    python -m scripts.study --only=dense       runs with that in their name
    python -m scripts.study --page             no runs: the page from docs/results/study-SCALE.json

It resumes where it stopped; several processes may share the work.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.study.plan import SCALES, runs_of, scale_of
from segjax.errors import SegjaxError

ROOT = Path(__file__).resolve().parents[2]


def make_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scale", choices=tuple(SCALES), default="cpu", help="default: cpu")
    parser.add_argument("--list", action="store_true", help="say what is done and what is left")
    parser.add_argument("--only", default="", metavar="TEXT", help="runs whose name contains this")
    parser.add_argument(
        "--max_runs", type=int, default=0, metavar="N", help="stop after so many runs, no page"
    )
    parser.add_argument("--page", action="store_true", help="write the page again, without runs")
    parser.add_argument("--runs", type=Path, default=Path("runs/study"), help="folder of the runs")
    parser.add_argument(
        "--docs", type=Path, default=ROOT / "docs", help="folder of the page and its figures"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study; return the exit code: 0 finished, 1 an error, 3 stopped with runs left."""
    given = make_parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        return study(given)
    except SegjaxError as error:
        print(f"segjax: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


def study(given: argparse.Namespace) -> int:
    """Do what the command line says."""
    from scripts.study.execute import Study, execute, listing

    scale = scale_of(given.scale)
    folder = given.runs / scale.name
    plan = Study(scale, runs_of(scale, folder=folder), folder)
    if given.list:
        print("\n".join(listing(plan, given.only)))
        return 0
    if not given.page and not execute(
        plan, only=given.only, max_runs=given.max_runs, say=lambda line: print(line, flush=True)
    ):
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
