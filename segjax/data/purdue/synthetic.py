"""Generated data in the style of PurdueShapes5MultiObject, and the writer of its file format."""

import dataclasses
import gzip
import pickle
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from segjax.classes import PURDUE_SHAPES_LABELS
from segjax.data.dataset import Dataset, random_stream
from segjax.data.purdue import shapes
from segjax.data.purdue.objects import objects_of
from segjax.data.purdue.shapes import Rng
from segjax.errors import ConfigError, DataError
from segjax.files import replacing

_CHUNK = 256  # images that share a random stream: the first n images do not depend on N
_MAX_OBJECTS = 5
_FARTHEST = 4  # that a silhouette of other scenes moves inside its tile, in pixels


def synthetic(
    n: int,
    *,
    seed: int = 0,
    image_size: int = 64,
    disk_leak: bool = True,
    class_probs: Sequence[float] | None = None,
    drawers: Mapping[str, shapes.Drawer] = shapes.DRAWERS,
) -> Dataset:
    """Generate images in the style of PurdueShapes5MultiObject.

    Each image has 1 to 5 objects, uniformly; each has its own tile, half the image wide, at one
    of the four quarters or the centre, in random order; it is cut off at the tile's border. A
    flat random colour on exact black; a later object's colour wins, masks keep each whole
    silhouette. Rectangles and ovals have pinholes.

    Args:
      n: number of images.
      seed: of the random stream; the first images of a longer data set are those of a shorter.
      image_size: height and width; a multiple of 64, since all shapes scale by whole factors.
      disk_leak: whether a disk's red value is its radius, as in the real files, by which a
        network can tell disks without looking at their shape.
      class_probs: probability of each class of rectangle, triangle, disk, oval, star; uniform
        by default, as in the real files.
      drawers: by class, what draws silhouettes, (rng, count, tile) -> bool [count, tile, tile].
        A disk without one has `shapes.draw_disks`, which tells its radius.

    Returns:
      A ``Dataset`` with DLStudio's label map.

    Raises:
      ConfigError: if an argument is out of range.
    """
    if n < 1:
        raise ConfigError(f"synthetic data needs at least 1 image, got {n}")
    if image_size < 64 or image_size % 64 or image_size > 1024:
        raise ConfigError(
            f"image_size of synthetic data must be a multiple of 64 up to 1024, got {image_size}"
        )
    if not 0 <= seed < 2**63:
        raise ConfigError(f"seed must be at least 0, got {seed}")
    classes = len(PURDUE_SHAPES_LABELS)
    probs = np.full(classes, 1 / classes) if class_probs is None else np.array(class_probs, float)
    if probs.shape != (classes,) or not np.all(probs >= 0) or not np.isclose(probs.sum(), 1):
        raise ConfigError(f"class_probs must be {classes} probabilities that sum to 1")

    images = np.zeros((n, image_size, image_size, 3), np.uint8)
    masks = np.zeros((n, image_size, image_size, classes), np.uint8)
    boxes: list[np.ndarray] = []
    for start in range(0, n, _CHUNK):
        rng, part = random_stream(seed, start // _CHUNK), slice(start, start + _CHUNK)
        found = _draw_chunk(rng, images[part], masks[part], probs, disk_leak, drawers)
        found[:, 0] += start
        boxes.append(found)
    rows = np.concatenate(boxes)
    return Dataset(
        images,
        masks,
        boxes=rows[:, 2:].astype(np.int32),
        box_image=rows[:, 0].astype(np.int32),
        box_class=rows[:, 1].astype(np.uint8),
        label_map=PURDUE_SHAPES_LABELS,
        name=f"synthetic-{n}",
        source=f"synthetic, seed {seed}",
        check_values=False,
    )


def _draw_chunk(
    rng: Rng,
    images: np.ndarray,
    masks: np.ndarray,
    probs: np.ndarray,
    disk_leak: bool,
    drawers: Mapping[str, shapes.Drawer],
) -> np.ndarray:
    """Draw into zeroed arrays; return int [M, 6]: image, class, x1, y1, x2, y2."""
    # Everything is drawn for a whole chunk and cut, so that a shorter data set is a prefix.
    tile = images.shape[1] // 2
    origins = tile * np.array(shapes.CORNERS) // 2
    counts = rng.integers(1, _MAX_OBJECTS, _CHUNK, endpoint=True)
    places = rng.permuted(np.tile(np.arange(_MAX_OBJECTS), (_CHUNK, 1)), axis=1)
    image, slot = np.nonzero(np.arange(_MAX_OBJECTS) < counts[:, None])
    place = places[image, slot]
    label = rng.choice(len(probs), len(image), p=probs)
    colour = _random_colours(rng, len(image))
    tiles = np.zeros((len(image), tile, tile), bool)
    for channel, name in enumerate(PURDUE_SHAPES_LABELS):
        mine = np.flatnonzero(label == channel)
        if name in drawers:
            tiles[mine] = drawers[name](rng, len(mine), tile)
            continue
        tiles[mine], radius = shapes.draw_disks(rng, len(mine), tile)
        if disk_leak:
            colour[mine, 0] = radius

    values = np.array(list(PURDUE_SHAPES_LABELS.values()), np.uint8)
    kept = image < len(images)
    ox, oy = origins[place].T
    for turn in range(_MAX_OBJECTS):
        now = np.flatnonzero(kept & (slot == turn))
        where, row, column = np.nonzero(tiles[now])
        at = now[where]
        row, column = oy[at] + row, ox[at] + column
        images[image[at], row, column] = colour[at]
        masks[image[at], row, column, label[at]] = values[label[at]]

    sides = [np.asarray(tiles.any(axis=axis)) for axis in (1, 2)]
    x1, y1 = (side.argmax(axis=1) for side in sides)
    x2, y2 = (tile - 1 - side[:, ::-1].argmax(axis=1) for side in sides)
    rows = np.column_stack([image, label, x1 + ox, y1 + oy, x2 + ox, y2 + oy])[kept]
    return rows[np.lexsort((slot[kept], rows[:, 1], rows[:, 0]))]


def _random_colours(rng: Rng, count: int) -> np.ndarray:
    colour = rng.integers(0, 254, (count, 3), endpoint=True).astype(np.uint8)
    colour[:, 1] = np.maximum(colour[:, 1], 1)  # exact black is the background
    return colour


def composed(data: Dataset, n: int, *, seed: int = 0) -> Dataset:
    """Put new scenes together from the objects of PurdueShapes images.

    Numbers, tiles, order and colours are drawn as `synthetic` draws them, silhouettes from those
    that the masks tell whole. One that touches no border of its tile moves by up to four pixels.

    Args:
      data: images of 64x64 with DLStudio's five classes.
      n: number of scenes.
      seed: of the random stream; the first scenes of a longer data set are those of a shorter.

    Returns:
      The scenes; no colour tells a class.

    Raises:
      ConfigError: if the images are others, or lack whole objects of a class.
    """
    banks: list[list[np.ndarray]] = [[] for _ in PURDUE_SHAPES_LABELS]
    fits = data.image_size == (2 * shapes.TILE,) * 2 and data.label_map == PURDUE_SHAPES_LABELS
    for label, at, whole, _, _ in objects_of(data) if fits else ():
        box = np.outer(whole.any(axis=1), whole.any(axis=0))
        # Where two of a class overlap, their mask does not tell them apart.
        if whole.any() and ((data.masks[(*at, label)] > 0) & box <= whole).all():
            banks[label].append(whole)
    if not all(banks):
        raise ConfigError(
            f"{data.name}: scenes are composed of images of 64x64 that show each of the classes "
            + ", ".join(PURDUE_SHAPES_LABELS)
        )
    drawers = {c: partial(_pick, np.array(b)) for c, b in zip(data.label_map, banks, strict=True)}
    scenes = synthetic(n, seed=seed, drawers=drawers)
    return dataclasses.replace(
        scenes, name=f"{n} scenes of {data.name}", source=data.source, check_values=False
    )


def _pick(bank: np.ndarray, rng: Rng, count: int, tile: int) -> np.ndarray:
    """Return silhouettes of a bank, bool [count, tile, tile], moved where nothing is cut off."""
    chosen = bank[rng.integers(len(bank), size=count)]
    places = []
    for axis in (1, 2):
        seen = np.asarray(chosen.any(axis=3 - axis))
        margins = seen.argmax(axis=1), seen[:, ::-1].argmax(axis=1)
        low, high = (np.clip(margin - 1, 0, _FARTHEST) for margin in margins)
        move = rng.integers(-low, high, endpoint=True) * (np.minimum(*margins) > 0)
        places.append((np.arange(tile) - move[:, None]) % tile)
    rows, columns = places
    return chosen[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def recolour(images: np.ndarray, masks: np.ndarray, *, seed: int) -> np.ndarray:
    """Return the same scenes with a new random colour for every object.

    An object's visible part is one flat colour, so each colour of an image's foreground gets a
    new one; the background stays as it is. A disk's red value then says nothing of its shape:
    the drop of a network's score is what it took from the leak.

    Args:
      images: uint8 [N, H, W, 3].
      masks: [N, H, W, C], nonzero where there is an object.
      seed: of the new colours.

    Returns:
      uint8 [N, H, W, 3], a new array.

    Raises:
      DataError: if the shapes or the dtype do not fit.
      ConfigError: if the seed is negative.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        given = f"{images.dtype} images {list(images.shape)}"
        raise DataError(f"recolour needs uint8 images [N, H, W, 3], got {given}")
    if masks.ndim != 4 or masks.shape[:3] != images.shape[:3]:
        raise DataError(f"recolour got masks {list(masks.shape)} for images {list(images.shape)}")
    if not 0 <= seed < 2**63:
        raise ConfigError(f"seed must be at least 0, got {seed}")
    out = images.copy()
    image, row, column = np.nonzero(masks.any(axis=-1))
    code = image << 24 | images[image, row, column] @ np.array([1 << 16, 1 << 8, 1])
    found, inverse = np.unique(code, return_inverse=True)
    out[image, row, column] = _random_colours(random_stream(seed, 2**63), len(found))[inverse]
    return out


def write_gz(dataset: Dataset, path: str | Path, *, protocol: int = 2) -> None:
    """Write a data set in the file format that DLStudio reads.

    The file appears under its name when it is complete. Images are pickled one by one, so the
    whole is never held as Python ints.

    Args:
      dataset: what to write; the label map's values must differ.
      path: the ``.gz`` file.
      protocol: of the pickle: 0 (text, as the real files) to 3. Later ones number their memo
        across the whole file and cannot be written by parts.

    Raises:
      ConfigError: if the protocol is not 0..3.
      DataError: if the label map cannot be told apart, or the file cannot be written.
    """
    if protocol not in range(4):
        raise ConfigError(f"protocol must be 0, 1, 2 or 3, got {protocol}")
    if list(dataset.class_values) != sorted(set(dataset.class_values)):
        raise DataError(f"{dataset.name}: the file format needs class values that rise by channel")
    path, head = Path(path), bytes([0x80, protocol]) if protocol >= 2 else b""

    def fragment(value: Any) -> bytes:
        # Without its first PROTO and last STOP, a pickle is a fragment that pushes one object.
        # Fragments set memo entries again that only earlier fragments read.
        return pickle.dumps(value, protocol=protocol)[len(head) : -1]

    try:
        with (
            replacing(path) as part,
            open(part, "wb") as raw,
            gzip.GzipFile("", "wb", 6, raw, mtime=0) as out,
        ):
            out.write(head + b"(l(d")
            for i in range(len(dataset)):
                out.write(fragment(i) + fragment(_record(dataset, i)) + b"s")
            out.write(b"a" + fragment(dict(dataset.label_map)) + b"a.")
    except OSError as error:
        raise DataError(f"{path}: cannot write the data file ({error.strerror or error})") from None


def _record(dataset: Dataset, index: int) -> list[Any]:
    boxes: dict[int, list[list[int]]] = {c: [] for c in range(dataset.num_classes)}
    for channel, corners in dataset.boxes_of(index):
        boxes[channel].append(list(corners))
    colours = [plane.ravel().tolist() for plane in dataset.images[index].transpose(2, 0, 1)]
    mask = np.ascontiguousarray(dataset.masks[index].transpose(2, 0, 1))
    return [*colours, mask, boxes]
