"""A trained run on labelled images: ``python -m segjax.evaluate RUN_FOLDER [DATA]``."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from segjax.config import argument_of, flag_fields
from segjax.errors import ConfigError, Parser, exit_code, leave, to_stderr
from segjax.settings import shows_progress

MOST, MOST_SHOWN = 10**6, 100
# Settings of own data that other data may need otherwise than the run's.
SETTINGS = ("images_dir", "ignore_value", "min_object_area", "single_object", "keep_empty")


def make_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = Parser(
        prog="segjax evaluate",
        description="Measure a trained run on labelled images: scores per class and per image, "
        "what was read as what, and the worst images.",
        epilog="Exit code 0: measured; 1: the data or the run cannot be used; 2: wrong usage.",
    )
    add = parser.add_argument
    add("run_folder", help="folder of a run")
    kinds = "PurdueShapes .gz file, folder, COCO .json or .npz, with the run's classes"
    add("data", nargs="?", default="", help=f"{kinds}; default: the run's own test images")
    add("--out", help="folder for the results; default: evaluate/NAME in the run's")
    add("--which", default="best", help="checkpoint: best (default), newest or a step's number")
    add("--stats", choices=("running", "batch"), help="batch norm; default: as the run's test")
    add("--batch_size", type=int, help="images at a time; default: as the run's test")
    add("--worst", type=int, default=8, help="show the N worst images; default: 8")
    add("--progress", default="auto", choices=("auto", "on", "off"), help="progress bar")
    for field in flag_fields():
        if field.name in SETTINGS:
            add(f"--{field.name}", help=f"Of DATA: {field.metadata['help']}", **argument_of(field))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    return exit_code(
        lambda: evaluate(make_parser().parse_args(argv)),
        told={MemoryError: (1, "out of memory: try a smaller --batch_size")},
    )


def evaluate(given: argparse.Namespace) -> None:
    """Measure what the arguments name, print the scores and write the report."""
    for name, most in (("batch_size", MOST), ("worst", MOST_SHOWN)):
        if (value := getattr(given, name)) is not None and not 1 <= value <= most:
            raise ConfigError(f"--{name}={value}: must be in 1..{most}")
    from segjax.evaluate import report
    from segjax.evaluate.labelled import open_labelled, place_of
    from segjax.evaluate.measure import measure
    from segjax.predict.trained import load_trained, which_of
    from segjax.training.program import eval_batch_size
    from segjax.training.results import environment

    trained = load_trained(given.run_folder, which=which_of(given.which))
    asked = {name: getattr(given, name) for name in SETTINGS if getattr(given, name) is not None}
    dataset, trained = open_labelled(given.data, trained, say=to_stderr, **asked)
    place = place_of(given.data).resolve()
    name = (place.name if place.is_dir() else place.stem) if given.data else "test"
    out = Path(given.out or trained.folder / "evaluate" / name)
    if given.data and given.out and out.resolve().is_relative_to(place):
        raise ConfigError(f"--out={out}: lies in the data; name a folder of its own")
    about = {
        "run": str(trained.folder.resolve()),
        "data": str(place) if given.data else dataset.source or dataset.name,
    }
    report.check_out(out, about)
    started, stats = time.perf_counter(), given.stats or trained.config.eval_stats
    shown = shows_progress(given.progress)
    size = given.batch_size or eval_batch_size(trained.config.replace(eval_stats=stats))
    measured = measure(
        trained, dataset, stats=stats, batch_size=size, worst=given.worst, progress=shown
    )
    results = {
        "evaluated": about,
        "tested_step": trained.step,
        "image_size": dataset.image_size,
        "classes": dataset.class_names,
        **report.results_of(measured, dataset),
        "environment": environment(),
    }
    results["test"] |= {"batch_norm": stats, "seconds": round(time.perf_counter() - started, 3)}
    height, width = dataset.image_size
    print(f"{trained.folder}, step {trained.step}, on {dataset.name}, {height}x{width}")
    print("\n".join(report.lines_of(results, windows=trained.objective.reads == "values")))
    report.write(out, results, measured, dataset)
    print(f"{', '.join(report.FILES)} are in {out}")


if __name__ == "__main__":
    leave(main())
