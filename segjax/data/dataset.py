"""What a data set is, arrays that belong together, and the order in which an epoch visits it."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from segjax.errors import ConfigError, DataError

_CHECK_ROWS = 256  # images per step of a check, so that no check makes a second data set

Box = tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Images with one mask per class and the objects' boxes, checked on construction.

    Attributes:
      images: uint8 [N, H, W, 3], 0..255.
      masks: uint8 [N, H, W, C], 0 or the value of the channel's class.
      boxes: int32 [M, 4], ``x1, y1, x2, y2`` in pixels, both ends inside the box.
      box_image: int32 [M], the image that a box is in; never decreasing.
      box_class: uint8 [M], the channel of the box's class.
      label_map: class name -> mask value (1..255), in channel order.
      ignore: bool [N, H, W], pixels that no loss and no metric counts, or None.
      name: a short name for reports.
      source: where the arrays came from.
      names: text [N], what the images' files are called, or None.

    Raises:
      DataError: if shapes, dtypes or ranges do not fit together.
    """

    images: np.ndarray
    masks: np.ndarray
    boxes: np.ndarray
    box_image: np.ndarray
    box_class: np.ndarray
    label_map: Mapping[str, int]
    ignore: np.ndarray | None = None
    name: str = "dataset"
    source: str = ""
    names: np.ndarray | None = None
    # Reading 0.3 GB to check it again is what a verified cache avoids; see segjax.data.loading.
    check_values: dataclasses.InitVar[bool] = True

    def __post_init__(self, check_values: bool) -> None:
        object.__setattr__(self, "label_map", dict(self.label_map))
        for wrong in _wrong(self, check_values):
            raise DataError(f"{self.name}: {wrong}")

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in channel order."""
        return tuple(self.label_map)

    @property
    def image_names(self) -> list[str]:
        """What the images are called: their files, or their numbers, from 0."""
        numbers = (f"image {index}" for index in range(len(self)))
        return [*numbers] if self.names is None else self.names.tolist()

    @property
    def class_values(self) -> tuple[int, ...]:
        """Mask values of the classes in channel order."""
        return tuple(self.label_map.values())

    @property
    def num_classes(self) -> int:
        """Number of classes, which is the number of mask channels."""
        return len(self.label_map)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images in pixels."""
        return self.images.shape[1], self.images.shape[2]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: slice) -> "Dataset":
        if not isinstance(key, slice):
            raise TypeError("a Dataset is cut with a slice; use subset([i]) for single images")
        if key.step not in (None, 1):
            return self.subset(range(*key.indices(len(self))))
        start, stop, _ = key.indices(len(self))
        stop = max(start, stop)
        low, high = np.searchsorted(self.box_image, [start, stop])
        rows = slice(low, high)
        return self._part(slice(start, stop), rows, self.box_image[rows] - np.int32(start))

    def __repr__(self) -> str:
        height, width = self.image_size
        return (
            f"Dataset({self.name!r}: {len(self)} images of {height}x{width},"
            f" {len(self.boxes)} objects of {', '.join(self.label_map)})"
        )

    def subset(self, indices: Sequence[int] | np.ndarray | range) -> "Dataset":
        """Return the images named by ``indices`` (ints in 0..N-1) in that order, as a copy.

        Raises:
          DataError: if an index is not the index of an image.
        """
        order = np.asarray(indices)
        if order.size == 0:
            order = order.astype(np.int64)
        if order.ndim != 1 or order.dtype.kind not in "iu":
            raise DataError(f"{self.name}: a subset needs a list of image indices")
        if order.size and (order.min() < 0 or order.max() >= len(self)):
            raise DataError(
                f"{self.name}: image index {order.min() if order.min() < 0 else order.max()}"
                f" is outside 0..{len(self) - 1}"
            )
        starts = np.searchsorted(self.box_image, order, side="left")
        counts = np.searchsorted(self.box_image, order, side="right") - starts
        offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        rows = np.repeat(starts, counts) + offsets
        return self._part(order, rows, np.repeat(np.arange(len(order), dtype=np.int32), counts))

    def _part(
        self, chosen: slice | np.ndarray, rows: slice | np.ndarray, box_image: np.ndarray
    ) -> "Dataset":
        """Return the ``chosen`` images with the boxes of ``rows``, now in images ``box_image``."""
        return dataclasses.replace(
            self,
            images=self.images[chosen],
            masks=self.masks[chosen],
            boxes=self.boxes[rows],
            box_image=box_image,
            box_class=self.box_class[rows],
            ignore=None if self.ignore is None else self.ignore[chosen],
            names=None if self.names is None else self.names[chosen],
            check_values=False,
        )

    def boxes_of(self, index: int) -> list[tuple[int, Box]]:
        """Return ``(channel, (x1, y1, x2, y2))`` of every object in image ``index``.

        Raises:
          DataError: if ``index`` is not the index of an image.
        """
        if not 0 <= index < len(self):
            raise DataError(f"{self.name}: image index {index} is outside 0..{len(self) - 1}")
        low, high = np.searchsorted(self.box_image, [index, index + 1])
        rows = zip(self.box_class[low:high].tolist(), self.boxes[low:high].tolist(), strict=True)
        return [(channel, (x1, y1, x2, y2)) for channel, (x1, y1, x2, y2) in rows]


def epoch_order(n: int, *, seed: int, epoch: int) -> np.ndarray:
    """Return the order in which epoch ``epoch`` visits ``n`` examples.

    The order depends on nothing but the arguments, so a resumed run goes on where it was and no
    random state has to be saved. Epochs of one seed are independent streams (Philox keyed by
    seed and epoch).

    Returns:
      int32 [n], a permutation of 0..n-1.

    Raises:
      ConfigError: if an argument is negative, or ``n`` is above 2**31 - 1.
    """
    if not 0 <= n < 2**31 or not 0 <= seed < 2**64 or not 0 <= epoch < 2**64:
        raise ConfigError(f"epoch_order needs n, seed, epoch of at least 0: {n}, {seed}, {epoch}")
    return random_stream(seed, epoch).permutation(np.arange(n, dtype=np.int32))


def random_stream(seed: int, number: int) -> np.random.Generator:
    """Return stream ``number`` of a seed, each 0..2**64-1 and independent of all others."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, number], np.uint64)))


def _wrong(ds: Dataset, check_values: bool) -> Iterator[str]:
    """Yield what is wrong with a data set; each check relies on those before it."""
    yield from _misshapen(ds, "images", "uint8", None, None, None, 3)
    (count, height, width, _), classes = ds.images.shape, len(ds.label_map)
    if not classes:
        yield "label_map is empty"
    for label, value in ds.label_map.items():
        if not isinstance(label, str) or not isinstance(value, int) or not 1 <= value <= 255:
            yield f"label_map must map names to values of 1..255, got {label!r}: {value!r}"
    yield from _misshapen(ds, "masks", "uint8", count, height, width, classes)
    yield from _misshapen(ds, "boxes", "int32", None, 4)
    yield from _misshapen(ds, "box_image", "int32", len(ds.boxes))
    yield from _misshapen(ds, "box_class", "uint8", len(ds.boxes))
    if ds.ignore is not None:
        yield from _misshapen(ds, "ignore", "bool", count, height, width)
    if ds.names is not None and len(ds.names) != count:
        yield f"there are {len(ds.names)} names for {count} images"
    steps = np.diff(ds.box_image, prepend=0, append=count - 1 if len(ds.boxes) else 0)
    if np.any(steps < 0):
        yield f"box_image must rise from 0 to at most {count - 1}"
    if ds.box_class.max(initial=0) >= classes:
        yield f"box_class must be below {classes}"
    x1, y1, x2, y2 = ds.boxes.T
    inside = (x1 >= 0) & (y1 >= 0) & (x1 <= x2) & (y1 <= y2) & (x2 < width) & (y2 < height)
    for row in np.flatnonzero(~inside):
        box = f"box {ds.boxes[row].tolist()} of image {ds.box_image[row]}"
        yield f"{box} is not x1, y1, x2, y2 inside {width}x{height} pixels"
    values = np.tile(np.array(ds.class_values, np.uint8), width)  # whole rows compare faster
    for start in range(0, count if check_values else 0, _CHECK_ROWS):
        part = ds.masks[start : start + _CHECK_ROWS]
        part = part.reshape(len(part), height, width * classes)
        bad = (part != 0) & (part != values)
        if bad.any():
            image, _, at = np.argwhere(bad)[0]
            yield (
                f"the mask of image {start + image} holds {part[bad][0]} in the channel of"
                f" {ds.class_names[at % classes]!r}, where only 0 and {values[at]} belong"
            )


def _misshapen(ds: Dataset, field: str, dtype: str, *shape: int | None) -> Iterator[str]:
    array = getattr(ds, field)
    fits = isinstance(array, np.ndarray) and array.ndim == len(shape)
    if not fits or any(n not in (None, m) for n, m in zip(shape, array.shape, strict=True)):
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        yield f"{field} has shape {list(np.shape(array))}, expected [{wanted}]"
    if array.dtype != np.dtype(dtype):
        yield f"{field} is {array.dtype}, expected {dtype}"
