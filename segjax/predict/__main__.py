"""Masks of your own images: ``python -m segjax.predict RUN_FOLDER IMAGES...``."""

import argparse
import errno
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from segjax.errors import ConfigError, DataError, Parser, exit_code, leave
from segjax.settings import shows_progress

# Name, default and what else can be chosen, help.
FLAGS: tuple[tuple[str, tuple[Any, ...], str], ...] = (
    ("scores", ("none", "npz", "png"),
     "also each class's score: npz (float32) or png (16 bits, 65535 for 1)"),
    ("overlay", (True,), "write the image with the classes over it"),
    ("which", ("best",), "checkpoint: best (default), newest or a step's number"),
    ("stats", ("running", "batch"),
     "batch norm: running statistics (default), or those of each batch as DLStudio tests"),
    ("scale", ("trained", "native"),
     "show own pictures at the size training showed them (default), or as they are"),
    ("tile", (512,), "cut larger images; default: 512"),
    ("overlap", (64,), "of tiles, blended; default: 64"),
    ("batch_size", (8,), "images at a time; default: 8"),
    ("progress", ("auto", "on", "off"), "progress bar"),
)  # fmt: skip


def make_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = Parser(
        prog="segjax predict",
        description="Write a mask and an overlay for each image, by a trained run's network.",
        epilog="Exit code 0: all done; 1: some images are bad, the rest is done; 2: nothing done.",
    )
    parser.add_argument("run_folder", help="folder of a run")
    parser.add_argument("images", nargs="+", help="files, folders (with all below) and globs")
    parser.add_argument("--out", help="folder for the results; default: predictions in the run's")
    for name, (default, *others), text in FLAGS:
        how: dict[str, Any] = {"type": type(default)}
        if default is True:
            how = {"action": argparse.BooleanOptionalAction}
        elif others:
            how = {"choices": (default, *others)}
        parser.add_argument(f"--{name}", default=default, help=text, **how)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    return exit_code(
        lambda: predict_files(make_parser().parse_args(argv)),
        told={
            OSError: (1, "{file}: cannot be written ({reason})"),
            MemoryError: (1, "out of memory: try a smaller --tile or --batch_size"),
            KeyboardInterrupt: (130, "stopped; the masks written so far are whole, and not listed"),
        },
    )


def predict_files(given: argparse.Namespace) -> int:
    """Predict all images that the arguments name; return 0, or 1 if some could not be read."""
    from segjax.files import write_bytes
    from segjax.predict import files
    from segjax.runs.folder import RunFolder

    folder = RunFolder(given.run_folder)
    folder.config()  # is it a run at all?
    out = Path(given.out) if given.out else folder.path / "predictions"
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: is a file; name another --out")
    images, missing = files.find_images(given.images, out)
    if not images:
        raise ConfigError(f"no images to predict in {' '.join(given.images)}")
    for pattern in missing:
        _skip(f"{pattern}: no such image, folder or match")
    names = files.output_names(images, out)

    from tqdm import tqdm

    from segjax.predict.predictor import Predictor, as_image
    from segjax.predict.trained import which_of

    shared = ("stats", "scale", "tile", "overlap", "batch_size")
    settings = {name: getattr(given, name) for name in shared}
    predictor = Predictor.load(given.run_folder, which=which_of(given.which), **settings)
    print(*predictor.notes(), sep="\n")
    bad: list[dict[str, str]] = []
    done: list[dict[str, Any]] = []
    shown = shows_progress(given.progress)
    with tqdm(total=len(images), disable=not shown, unit="image", dynamic_ncols=True) as bar:

        def leave_out(path: Path, told: object, why: str) -> None:
            with tqdm.external_write_mode():
                _skip(told)
            bad.append({"image": str(path), "why": why})
            bar.update()

        def read() -> Iterator[tuple[tuple[Path, Path, Any], Any]]:
            for (path, _), name in zip(images, names, strict=True):
                try:
                    image = as_image(path)
                except DataError as error:
                    leave_out(path, error, str(error))
                else:
                    yield (path, name, image), image

        for (path, name, image), prediction in predictor.predict_each(read()):
            try:
                written = files.write(
                    prediction, image, out / name, scores=given.scores, overlay=given.overlay
                )
            except OSError as error:
                if error.errno not in (errno.ENAMETOOLONG, errno.EILSEQ):
                    raise  # the next one would fare no better
                told = f"{path}: its results cannot be written ({error.strerror})"
                leave_out(path, told, str(error.strerror))
                continue
            row = {"image": str(path), "files": [os.path.relpath(file, out) for file in written]}
            labels, classes = prediction.labels, enumerate(prediction.class_names, 1)
            pixels = {name: int((labels == index).sum()) for index, name in classes}
            done.append(row | {"size": list(labels.shape), "pixels": pixels})
            bar.update()
    out.mkdir(parents=True, exist_ok=True)
    listed = {
        "run": str(given.run_folder),
        "classes": list(predictor.class_names),
        "stats": given.stats,
        "done": sorted(done, key=lambda row: row["image"]),
        "skipped": bad + [{"image": pattern, "why": "no match"} for pattern in missing],
    }
    text = json.dumps(listed, indent=2, ensure_ascii=False) + "\n"
    # A name on the disk may be no Unicode; JSON spells what it is.
    write_bytes(out / "predictions.json", text.encode("utf-8", "backslashreplace"))
    skipped = len(bad) + len(missing)
    print(f"{len(done)} images done, {skipped} skipped; masks are in {out}")
    return 1 if skipped else 0


def _skip(why: object) -> None:
    print(f"segjax: {' '.join(str(why).split())}; skipped", file=sys.stderr)


if __name__ == "__main__":
    leave(main())
