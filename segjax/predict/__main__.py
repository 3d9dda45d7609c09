"""Masks of your own images: ``python -m segjax.predict RUN_FOLDER IMAGES...``.

Exit code 0: all done; 1: some images could not be read, the others are done; 2: nothing to do.
"""

import argparse
import glob
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segjax.errors import ConfigError, DataError, SegjaxError

if TYPE_CHECKING:
    import numpy as np

    from segjax.predict.predictor import Prediction, Predictor

LIST_FILE = "predictions.json"
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
SCORES = ("none", "npz", "png")
OVERLAY_SHARE = 0.5  # of the class's colour, over the image


def make_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        prog="python -m segjax.predict",
        description="Write a mask and an overlay for each image, by a trained run's network.",
        epilog="Exit code 0: all done; 1: some images are bad, the rest is done; 2: nothing done.",
    )
    parser.add_argument("run_folder", help="folder of a run")
    parser.add_argument("images", nargs="+", help="files, folders (with all below) and globs")
    parser.add_argument("--out", help="folder for the results; default: predictions in the run's")
    parser.add_argument(
        "--scores",
        choices=SCORES,
        default="none",
        help="also each class's score: npz (float32) or png (16 bits, 65535 for 1)",
    )
    parser.add_argument(
        "--overlay",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="write the image with the classes over it",
    )
    parser.add_argument(
        "--which", default="best", help="checkpoint: best (default), newest or a step's number"
    )
    parser.add_argument(
        "--stats",
        choices=("running", "batch"),
        default="running",
        help="batch norm: running statistics (default), or those of each batch as DLStudio tests",
    )
    parser.add_argument(
        "--scale",
        choices=("trained", "native"),
        default="trained",
        help="show own pictures at the size training showed them (default), or as they are",
    )
    parser.add_argument("--tile", type=int, default=512, help="cut larger images; default: 512")
    parser.add_argument("--overlap", type=int, default=64, help="of tiles, blended; default: 64")
    parser.add_argument("--batch_size", type=int, default=8, help="images at a time; default: 8")
    parser.add_argument(
        "--progress", choices=("auto", "on", "off"), default="auto", help="progress bar"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    try:
        given = make_parser().parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        return predict_files(given)
    except ConfigError as error:
        return _complain(2, error)
    except SegjaxError as error:
        return _complain(1, error)
    except MemoryError:
        return _complain(1, "out of memory: try a smaller --tile or --batch_size")
    except OSError as error:
        return _complain(1, f"{error.filename or 'a file'}: {error.strerror}")
    except KeyboardInterrupt:
        return _complain(130, "stopped; the masks written so far are whole")


def predict_files(given: argparse.Namespace) -> int:
    """Predict all images that the arguments name; return 0, or 1 if some could not be read."""
    from segjax.runs.folder import RunFolder

    folder = RunFolder(given.run_folder)
    folder.config()  # is it a run at all?
    out = Path(given.out) if given.out else folder.path / "predictions"
    files, missing = find_images(given.images, out)
    for pattern in missing:
        _complain(1, f"{pattern}: no such image, folder or match; skipped")
    if not files:
        raise ConfigError(f"no images to predict in {' '.join(given.images)}")
    names = output_names(files)
    _refuse_overwriting([path for path, _ in files], names, out)

    from tqdm import tqdm

    from segjax.predict.predictor import Predictor, as_image

    predictor = Predictor.load(
        given.run_folder,
        which=_which(given.which),
        stats=given.stats,
        scale=given.scale,
        tile=given.tile,
        overlap=given.overlap,
        batch_size=given.batch_size,
    )
    for line in notes(predictor):
        print(line)
    bad: list[dict[str, str]] = []
    done: list[dict[str, Any]] = []
    shown = {"auto": sys.stderr.isatty(), "on": True, "off": False}[given.progress]
    with tqdm(total=len(files), disable=not shown, unit="image", dynamic_ncols=True) as bar:

        def read() -> Iterator[tuple[tuple[Path, Path, Any], Any]]:
            for (path, _), name in zip(files, names, strict=True):
                try:
                    image = as_image(path)
                except DataError as error:
                    with tqdm.external_write_mode():
                        _complain(1, f"{error}; skipped")
                    bad.append({"image": str(path), "why": str(error)})
                    bar.update()
                else:
                    yield (path, name, image), image

        for (path, name, image), prediction in predictor.predict_each(read()):
            written = write(
                prediction, image, out / name, scores=given.scores, overlay=given.overlay
            )
            done.append(
                {
                    "image": str(path),
                    "files": [os.path.relpath(file, out) for file in written],
                    "size": list(prediction.labels.shape),
                    "pixels": shares(prediction),
                }
            )
            bar.update()
    out.mkdir(parents=True, exist_ok=True)
    listed = {
        "run": str(given.run_folder),
        "classes": list(predictor.class_names),
        "stats": given.stats,
        "done": sorted(done, key=lambda row: row["image"]),
        "skipped": bad + [{"image": pattern, "why": "no match"} for pattern in missing],
    }
    from segjax.runs.folder import write_text

    write_text(out / LIST_FILE, json.dumps(listed, indent=2, ensure_ascii=False) + "\n")
    skipped = len(bad) + len(missing)
    print(f"{len(done)} images done, {skipped} skipped; masks are in {out}")
    return 1 if skipped else 0


def notes(predictor: "Predictor") -> list[str]:
    """Return what a user should know about this network's predictions."""
    trained = predictor.trained
    lines = [f"classes: {', '.join(trained.class_names)}"]
    if trained.image_size is not None:
        lines[0] += f"; trained on images of {trained.image_size[0]}x{trained.image_size[1]}"
    if trained.config.eval_stats == "batch" and predictor.stats == "running":
        lines.append(
            "the run was tested with batch statistics; predicting with running ones, so that an "
            "image's mask depends on that image alone (--stats=batch does as the test did)"
        )
    if trained.config.head == "dlstudio":
        lines.append(
            "head=dlstudio computes one pixel in four, so masks are dotted; train with --head=dense"
        )
    return lines


def find_images(patterns: Sequence[str], out: Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Return the images that ``patterns`` name, each once, and the patterns that name none.

    An image comes with its path below the folder that was named, which its results will have, too.
    Results of an earlier prediction in ``out`` are no images. Raises ConfigError if a folder of
    images lies in ``out``.
    """
    found: dict[Path, tuple[Path, Path]] = {}
    missing = []
    earlier = out.resolve()
    for pattern in patterns:
        path = Path(pattern)
        if path.is_dir():
            if path.resolve().is_relative_to(earlier):
                raise ConfigError(f"--out={out}: holds the images; name a folder of its own")
            listed = [
                (file, file.relative_to(path))
                for file in sorted(path.rglob("*"))
                if file.suffix.lower() in SUFFIXES and file.is_file()
                if earlier not in file.resolve().parents
            ]
        elif path.is_file():
            listed = [(path, Path(path.name))]
        else:
            matches = map(Path, sorted(glob.glob(pattern, recursive=True)))
            listed = [(file, Path(file.name)) for file in matches if file.is_file()]
        if not listed:
            missing.append(pattern)
        for file, below in listed:
            found.setdefault(file.resolve(), (file, below))
    return list(found.values()), missing


def output_names(files: Sequence[tuple[Path, Path]]) -> list[Path]:
    """Return for each image the start of its results' names, no two alike in any letter case."""
    taken: set[str] = set()
    names = []
    for _, below in files:
        name = below.with_suffix("")
        if str(name).lower() in taken:
            name = below.with_name(below.name.replace(".", "_"))
        number, first = 2, name
        while str(name).lower() in taken:
            name, number = first.with_name(f"{first.name}-{number}"), number + 1
        taken.add(str(name).lower())
        names.append(name)
    return names


def write(
    prediction: "Prediction",
    image: "np.ndarray",
    start: Path,
    *,
    scores: str,
    overlay: bool,
) -> list[Path]:
    """Write an image's results beside each other; return their paths."""
    import numpy as np
    from PIL import Image

    start.parent.mkdir(parents=True, exist_ok=True)

    def file(ending: str) -> Path:
        return start.with_name(start.name + ending)

    height, width = prediction.labels.shape
    indexed = Image.frombytes("P", (width, height), prediction.labels.tobytes())
    indexed.putpalette(palette(len(prediction.class_names)))
    written = [file("_mask.png")]
    indexed.save(written[0], optimize=True)
    if overlay:
        written.append(file("_overlay.png"))
        Image.fromarray(overlay_picture(image, prediction.labels)).save(written[-1])
    if scores == "npz":
        written.append(file("_scores.npz"))
        names = np.array(prediction.class_names)
        np.savez_compressed(written[-1], scores=prediction.scores, classes=names)
    elif scores == "png":
        wide = np.round(np.clip(prediction.scores, 0, 1) * 65535).astype(np.uint16)
        for channel in range(wide.shape[-1]):
            written.append(file(f"_score{channel + 1}.png"))
            Image.fromarray(np.ascontiguousarray(wide[..., channel])).save(written[-1])
    return written


def palette(classes: int) -> list[int]:
    """Return red, green, blue of index 0 (black) and of each class, as a PNG's palette."""
    from segjax.plots import class_colour

    colours = [round(255 * level) for index in range(classes) for level in class_colour(index)]
    return [0, 0, 0, *colours]


def overlay_picture(image: "np.ndarray", labels: "np.ndarray") -> "np.ndarray":
    """Lay the classes' colours over an image uint8 [H, W, 3], full at their edges."""
    import numpy as np

    colours = np.array(palette(int(labels.max())), np.float32).reshape(-1, 3)
    colour = colours[labels]
    around = np.pad(labels, 1, mode="edge")
    neighbours = (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:])
    edge = np.any([labels != other for other in neighbours], axis=0)
    share = np.where(labels > 0, np.where(edge, 1.0, OVERLAY_SHARE), 0.0)[..., None]
    return np.round((1 - share) * image + share * colour).astype(np.uint8)


def shares(prediction: "Prediction") -> dict[str, int]:
    """Return how many pixels each class has in the mask."""
    import numpy as np

    names = prediction.class_names
    counts = np.bincount(prediction.labels.ravel(), minlength=len(names) + 1)
    return {name: int(count) for name, count in zip(names, counts[1:], strict=True)}


def _refuse_overwriting(images: Sequence[Path], names: Sequence[Path], out: Path) -> None:
    inputs = {path.resolve() for path in images}
    for name in names:
        for ending in ("_mask.png", "_overlay.png"):
            target = (out / name).with_name(name.name + ending)
            if target.resolve() in inputs:
                raise ConfigError(f"{target} is one of the images; name another --out")


def _which(text: str) -> Any:
    if text in ("best", "newest"):
        return text
    if text.isdecimal():
        return int(text)
    raise ConfigError(f"--which={text}: give best, newest or the number of a step")


def _complain(code: int, error: object) -> int:
    print(f"segjax: {' '.join(str(error).split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
