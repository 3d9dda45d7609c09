"""Say which errors recipes make, and how few a reader of such pictures would make.

    python -m scripts.docs.errors runs/speedrun runs/quick

Each folder holds the runs of a recipe, seed-N; the pixels that they have wrong on the validation
images are told apart by kind. Writes docs/results/errors.json and a part of docs/performance.md.
"""

import itertools
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from scripts.docs.markdown import ROOT, filled, plus_minus, table, write_part
from scripts.study.measure import predict_values
from segjax.classes import PURDUE_SHAPES_LABELS
from segjax.config import Config
from segjax.data import Dataset, synthetic
from segjax.data.purdue.objects import Object, objects_of
from segjax.data.purdue.shapes import DRAWERS, TILE, draw_disks
from segjax.data.splits import load_splits
from segjax.files import write_text
from segjax.predict.trained import load_trained

CLASSES = tuple(PURDUE_SHAPES_LABELS)
KINDS = ("nothing", "another class", "no class", "invented", "hidden", "pinhole", "outline", "rest")
AROUND = np.ones((3, 3), bool)
SIZES = (32, 64, 128, TILE**2)  # the bins' upper limits, in visible pixels
BANKS, NEAREST = (50_000, 200_000), 8  # silhouettes of each class; those that complete a hidden one
READ = {"class": "the class of what is whole", "hidden": "what is hidden", "both": "both"}


def kinds_of(on: np.ndarray, data: Dataset, objects: Sequence[Object]) -> tuple[np.ndarray, Any]:
    """Return the kind of each pixel of bool [N, H, W, C], 0 where it is right, and objects' names.

    An object is called another class that is on for over half of its visible pixels; -1, no class,
    if its own is on for less than half. Where rules below name a pixel twice, the last holds.
    """
    truth, shown = data.masks > 0, np.full(on.shape[:3], -1)
    wrong, near = on != truth, np.zeros_like(truth)
    kinds, names = np.where(wrong, 7, 0), []
    for label, at, _, seen, _ in objects:
        shown[at][seen], near[(*at, label)] = label, True
    for image, c in np.argwhere(wrong.any((1, 2))):
        mask, said, kind = (array[image, ..., c] for array in (truth, on, kinds))
        bad, filled = kind > 0, ndimage.binary_fill_holes(mask)
        pieces, _ = ndimage.label(said, AROUND)
        inner, outer = (ndimage.binary_dilation(side, AROUND) for side in (filled, ~filled))
        kind[bad & inner & outer] = 6
        kind[bad & ndimage.binary_dilation(filled & ~mask)] = 5
        kind[bad & (shown[image] >= 0) & (shown[image] != c) & near[image, ..., c]] = 4
        kind[bad & ~mask & ~np.isin(pieces, pieces[mask])] = 3
    for label, at, whole, seen, _ in objects:
        region, name = ndimage.binary_dilation(whole, AROUND), label
        if seen.any():
            others, own = (on[at] & ~truth[at])[seen].mean(0), on[at][seen][:, label].mean()
            name = int(others.argmax()) if others.max() > 0.5 else label if own >= 0.5 else -1
        names.append(name)
        for c in {label, name} - {-1} if name != label else ():
            kinds[(*at, c)][region & wrong[(*at, c)]] = 2 if name < 0 else 1
    return kinds, names


def iou_of(on: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the IoU of each class."""
    return np.round((on & truth).sum((0, 1, 2)) / (on | truth).sum((0, 1, 2)), 5)


def errors_of(folder: Path, data: Dataset, drawn: Dataset) -> dict[str, Any]:
    """Return a run's errors by kind, objects by what they are called, and IoU on drawn scenes."""
    trained, objects, truth = load_trained(folder), objects_of(data), data.masks > 0
    half = np.divide(data.class_values, 2)
    on, there = (predict_values(trained, scenes.images) > half for scenes in (data, drawn))
    kinds, names = kinds_of(on, data, objects)
    called, bars = np.zeros((5, 6), int), np.zeros((2, len(SIZES), 2), int)
    for (label, _, whole, seen, _), name in zip(objects, names, strict=True):
        called[label, name] += 1  # the last column: no class
        if CLASSES[label] in ("rectangle", "oval"):
            cut = int(whole.sum() > whole[1:-1, 1:-1].sum())
            bars[cut, np.searchsorted(SIZES, seen.sum())] += (name != label, 1)
    of_kind = [kinds == kind for kind in range(len(KINDS))]  # those of kind 0 are right
    return {
        "iou": [iou_of(np.where(some, truth, on), truth) for some in of_kind],
        "missing": [(truth & ~on & some).sum((0, 1, 2)) for some in of_kind],
        "added": [(on & ~truth & some).sum((0, 1, 2)) for some in of_kind],
        "called": called,
        "bars": bars,
        "drawn_iou": iou_of(there, drawn.masks > 0),
    }


def trace(silhouette: np.ndarray) -> bytes:
    """Return a silhouette, wherever it is in its tile, and which borders of the tile it meets."""
    [(y1, y2), (x1, x2)] = (np.flatnonzero(silhouette.any(axis))[[0, -1]] for axis in (1, 0))
    borders = np.packbits([y1 == 0, x1 == 0, y2 == TILE - 1, x2 == TILE - 1])
    crop = np.packbits(silhouette[y1 : y2 + 1, x1 : x2 + 1])
    return bytes([y2 - y1, x2 - x1, *borders, *crop])


def read_as(o: Object, twins: Counter[tuple[int, bytes]]) -> int:
    """Return the class of most silhouettes equal to a whole visible one: if none, its own."""
    counts = [twins[c, trace(o.seen)] if o.entire() else 0 for c in range(len(CLASSES))]
    return o.label if counts[o.label] == max(counts) else int(np.argmax(counts))


def ambiguity(bank: Dataset, data: Dataset) -> np.ndarray:
    """Return how many objects are misread by silhouettes of others: of all, and their pixels."""
    twins = Counter((o.label, trace(o.seen)) for o in objects_of(bank) if o.entire())
    wrong = [(1, read_as(o, twins) != o.label, o.seen.sum()) for o in objects_of(data)]
    return np.array([(one, bad, bad * pixels) for one, bad, pixels in wrong]).sum(0)


def read(data: Dataset, count: int) -> dict[str, Any]:
    """Return the IoU of classes with which a bank of ``count`` silhouettes of each reads scenes."""
    drawers = DRAWERS | {"disk": lambda *given: draw_disks(*given)[0]}
    rng, sizes = np.random.default_rng(1), [min(count, 10_000)] * max(1, count // 10_000)
    bank = [np.concatenate([drawers[c](rng, size, TILE) for size in sizes]) for c in CLASSES]
    twins = Counter((c, trace(drawn)) for c, of_class in enumerate(bank) for drawn in of_class)
    packed = [np.packbits(drawn.reshape(count, -1), axis=1).view(np.uint64) for drawn in bank]
    ons = {name: np.zeros(data.masks.shape, bool) for name in READ}
    for o in objects_of(data):
        label, guess = read_as(o, twins), o.seen
        if o.seen.any() and o.others.any():
            known, seen = (np.packbits(side).view(np.uint64) for side in (~o.others, o.seen))
            apart = np.bitwise_count((packed[o.label] & known) ^ seen).sum(1, dtype=np.int32)
            near = bank[o.label][apart <= np.partition(apart, NEAREST - 1)[NEAREST - 1]]
            guess = o.seen | (o.others & (near.mean(0) >= 0.5))
        ons["class"][(*o.at, label)] |= o.whole
        ons["hidden"][(*o.at, o.label)] |= guess
        ons["both"][(*o.at, label)] |= guess
    return {name: iou_of(on, data.masks > 0) for name, on in ons.items()}


def text_of(found: dict[str, Any]) -> str:
    """Return the tables and what they are of."""
    rows, bars, read, there = [], [], [], []
    for name, runs in found["runs"].items():
        title = f"{name} (n = {len(runs['iou'])})"
        wrong = np.sum([runs["missing"], runs["added"]], axis=(0, -1)).mean(0)
        for kind, pixels, ious in zip(KINDS, wrong, np.moveaxis(runs["iou"], 1, 0), strict=True):
            cells = [plus_minus(ious.mean(1).tolist(), 4), *(f"{iou:.3f}" for iou in ious.mean(0))]
            rows.append([title, kind, f"{pixels:,.0f}", *cells])
        shares = np.sum(runs["bars"], axis=0).reshape(-1, 2)
        bars.append([title, *(f"{bad} of {every} ({bad / every:.0%})" for bad, every in shares)])
        there.append(f"{plus_minus(np.mean(runs['drawn_iou'], axis=1).tolist())} ({name})")
    for (key, title), count in itertools.product(READ.items(), found["reader"]):
        ious = found["reader"][count][key]
        read.append(
            [title, f"{int(count):,}", f"{np.mean(ious):.4f}", *(f"{iou:.3f}" for iou in ious)]
        )
    sizes = [f"{where}, to {size}" for where in ("whole", "cut off") for size in SIZES]
    tables = {
        "errors": table(["run", "mended", "wrong pixels", "mean IoU", *CLASSES], rows),
        "bars": table(["run", *sizes], bars),
        "reader": table(["what is read", "silhouettes", "mean IoU", *CLASSES], read),
    }
    texts = {name: "\n".join(lines) for name, lines in tables.items()} | {"there": ", ".join(there)}
    return filled(__file__, nearest=NEAREST, **texts, **found["twins"])


def main(folders: Sequence[str]) -> None:
    """Measure the runs and the reader; write JSON and text."""
    splits = load_splits(Config(val_images=1000), say=lambda line: None)
    assert splits.val is not None
    drawn, more = synthetic(len(splits.val), seed=77), synthetic(len(splits.train), seed=78)
    found: dict[str, Any] = {"classes": CLASSES, "kinds": KINDS, "runs": {}}
    for folder in map(Path, folders):
        seeds = [errors_of(run, splits.val, drawn) for run in sorted(folder.glob("seed-*"))]
        found["runs"][folder.name] = {key: [of[key] for of in seeds] for key in seeds[0]}
    twins = {"files": (splits.train, splits.val), "synthetic": (more, drawn)}
    found["twins"] = {name: ambiguity(*scenes) for name, scenes in twins.items()}
    found["reader"] = {str(count): read(drawn, count) for count in BANKS}
    text = json.dumps(found, default=lambda array: array.tolist())
    write_text(ROOT / "docs/results/errors.json", f"{text}\n")
    page, script = ROOT / "docs/performance.md", "scripts/docs/errors.py"
    write_part(page, "errors", script, text_of(json.loads(text)))


if __name__ == "__main__":
    main(sys.argv[1:])
