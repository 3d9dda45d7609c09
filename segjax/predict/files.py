"""The files of a prediction: which images are meant, and the results of each."""

import contextlib
import glob
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image

from segjax.classes import class_rgb
from segjax.data.own.pictures import SUFFIXES
from segjax.errors import ConfigError
from segjax.files import replacing

if TYPE_CHECKING:
    from segjax.predict.predictor import Prediction

OVERLAY_SHARE = 0.5  # of the class's colour, over the image


def find_images(patterns: Sequence[str], out: Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Return the images that ``patterns`` name, each once, and the patterns that name none.

    An image comes with its path below the folder that was named, which its results will have, too.
    Results of an earlier prediction in ``out`` are no images. Raises ConfigError if a folder of
    images lies in ``out``.
    """
    images: dict[Path, tuple[Path, Path]] = {}
    missing, earlier = [], out.resolve()
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
        else:
            found = [pattern] if path.is_file() else sorted(glob.glob(pattern, recursive=True))
            listed = [(file, Path(file.name)) for file in map(Path, found) if file.is_file()]
        if not listed:
            missing.append(pattern)
        for file, below in listed:
            images.setdefault(file.resolve(), (file, below))
    return list(images.values()), missing


def output_names(files: Sequence[tuple[Path, Path]], out: Path) -> list[Path]:
    """Return for each image the start of its results' names, no two alike in any letter case.

    Raises ConfigError if a result would lie where one of the images does.
    """
    names: dict[str, Path] = {}
    for _, below in files:
        first = below.with_name(below.name.replace(".", "_"))
        more = (first.with_name(f"{first.name}-{number}") for number in itertools.count(2))
        for name in itertools.chain((below.with_suffix(""), first), more):
            if str(name).lower() not in names:
                names[str(name).lower()] = name
                break
    inputs = {path.resolve() for path, _ in files}
    for name in names.values():
        for ending in ("_mask.png", "_overlay.png"):
            target = (out / name).with_name(name.name + ending)
            if target.resolve() in inputs:
                raise ConfigError(f"{target} is one of the images; name another --out")
    return list(names.values())


def write(
    prediction: "Prediction", image: np.ndarray, start: Path, *, scores: str, overlay: bool
) -> list[Path]:
    """Write an image's results beside each other, each whole or not at all; return their paths."""
    start.parent.mkdir(parents=True, exist_ok=True)
    written = []

    @contextlib.contextmanager
    def file(ending: str) -> Iterator[BinaryIO]:
        path = start.with_name(start.name + ending)
        with replacing(path) as temporary, open(temporary, "wb") as opened:
            yield opened
        written.append(path)

    indexed = Image.fromarray(prediction.labels)
    indexed.putpalette(palette(len(prediction.class_names)))
    with file("_mask.png") as out:
        indexed.save(out, "PNG", optimize=True)
    if overlay:
        with file("_overlay.png") as out:
            Image.fromarray(overlay_picture(image, prediction.labels)).save(out, "PNG")
    if scores == "npz":
        names = np.array(prediction.class_names)
        with file("_scores.npz") as out:
            np.savez_compressed(out, scores=prediction.scores, classes=names)
    elif scores == "png":
        wide = np.round(np.clip(prediction.scores, 0, 1) * 65535).astype(np.uint16)
        for number, channel in enumerate(np.moveaxis(wide, -1, 0), start=1):
            with file(f"_score{number}.png") as out:
                Image.fromarray(np.ascontiguousarray(channel)).save(out, "PNG")
    return written


def palette(classes: int) -> list[int]:
    """Return red, green, blue of index 0 (black) and of each class, as a PNG's palette."""
    return [0, 0, 0, *(level for index in range(classes) for level in class_rgb(index))]


def overlay_picture(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Lay the classes' colours over an image uint8 [H, W, 3], full at their edges."""
    colour = np.array(palette(int(labels.max())), np.float32).reshape(-1, 3)[labels]
    around = np.pad(labels, 1, mode="edge")
    neighbours = (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:])
    edge = np.any([labels != other for other in neighbours], axis=0)
    share = np.where(labels > 0, np.where(edge, 1.0, OVERLAY_SHARE), 0.0)[..., None]
    return np.round((1 - share) * image + share * colour).astype(np.uint8)
