"""From images of any size to masks, in Python: ``Predictor.load(run_folder)(image)``."""

import dataclasses
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from PIL import Image

from segjax.data.own.pictures import read_image
from segjax.data.own.problems import FileProblemError
from segjax.errors import ConfigError, DataError
from segjax.predict.tiling import Blend, make_grid
from segjax.predict.trained import Stats, Trained, Which, load_trained, strongest

Scale = Literal["trained", "native"]

PENDING_PIXELS = 1 << 25  # begun images are finished before more than these are held


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What the network says about one image, in the image's own size.

    Attributes:
      labels: uint8 [H, W], 0 background, else channel + 1; of several classes the strongest.
      scores: float32 [H, W, C], 1 for 'this class'; above one half it counts. Probabilities for
        losses on probabilities, the share of the mask value for regression.
      class_names: the C classes.
    """

    labels: np.ndarray
    scores: np.ndarray
    class_names: tuple[str, ...]

    @property
    def masks(self) -> np.ndarray:
        """Bool [H, W, C]: every class above one half, overlaps included."""
        return self.scores > 0.5


@dataclasses.dataclass
class _Begun:
    """An image of which windows are still to come."""

    key: Any
    size: tuple[int, int]
    padded: np.ndarray
    blend: Blend


_Job = tuple[_Begun, tuple[int, int]]  # an image and the corner of one of its windows


class Predictor:
    """A trained network that takes images of any size.

    Args:
      trained: the network.
      stats: batch norm by the 'running' statistics, so that an image's prediction depends on that
        image alone, or by those of each 'batch', as DLStudio tests.
      scale: 'trained' shows own pictures at the size training did; 'native' leaves them as is.
      tile: larger images are cut into overlapping tiles of this side, a multiple of 8.
      overlap: pixels over which neighbouring tiles blend, a multiple of 8.
      batch_size: windows of one shape that are computed together, at most.

    Raises ConfigError for settings that cannot work.
    """

    def __init__(
        self,
        trained: Trained,
        *,
        stats: Stats = "running",
        scale: Scale = "trained",
        tile: int = 512,
        overlap: int = 64,
        batch_size: int = 8,
    ) -> None:
        make_grid((8, 8), tile=tile, overlap=overlap)
        if batch_size < 1:
            raise ConfigError(f"--batch_size={batch_size}: must be at least 1")
        if stats not in ("running", "batch"):
            raise ConfigError(f"--stats={stats}: choose 'running' or 'batch'")
        if scale not in ("trained", "native"):
            raise ConfigError(f"--scale={scale}: choose 'trained' or 'native'")
        self.trained, self.stats, self.scale = trained, stats, scale
        self.tile, self.overlap, self.batch_size = tile, overlap, batch_size
        self.class_names = trained.class_names  # in channel order
        self._variables = jax.device_put(dict(trained.variables))
        self._scores: Callable[..., jax.Array] = jax.jit(
            lambda variables, images: trained.scores(variables, images, stats=stats)
        )

    @classmethod
    def load(cls, run_folder: str | Path, *, which: Which = "best", **settings: Any) -> "Predictor":
        """Read a run's network; ``settings`` as for the constructor.

        Raises ConfigError if the folder holds no run, CheckpointError if it has no good checkpoint.
        """
        return cls(load_trained(run_folder, which=which), **settings)

    def __call__(self, image: np.ndarray | str | Path) -> Prediction:
        """Predict one image: uint8 [H, W, 3] or grey [H, W], or the path of a file.

        Raises DataError for a file or array that is no such image.
        """
        (_, prediction), *_ = self.predict_each([(None, image)])
        return prediction

    def predict_each(
        self, images: Iterable[tuple[Any, np.ndarray | str | Path]]
    ) -> Iterator[tuple[Any, Prediction]]:
        """Predict (key, image) pairs; (key, Prediction) pairs come as they are done.

        Windows of one shape share a batch, so images of different sizes may come out of order.
        """
        waiting: dict[tuple[int, int], list[_Job]] = defaultdict(list)
        held = 0
        for key, image in images:
            image = as_image(image)
            size = image.shape[:2]
            shown = self.trained.trained_scale(size) if self.scale == "trained" else size
            grid = make_grid(shown, tile=self.tile, overlap=self.overlap)
            blend = Blend(grid, len(self.class_names))
            begun = _Begun(key, size, grid.pad(_resized(image, shown)), blend)
            held += math.prod(begun.padded.shape[:2])
            queue = waiting[grid.window]
            queue.extend((begun, corner) for corner in grid.corners)
            full = len(queue) - len(queue) % self.batch_size
            yield from self._compute(queue[:full])
            del queue[:full]
            if held > PENDING_PIXELS:
                yield from self._compute(*waiting.values())
                waiting.clear()
                held = 0
        yield from self._compute(*waiting.values())

    def notes(self) -> list[str]:
        """Return what a user should know about the network's predictions."""
        trained = self.trained
        lines = [f"classes: {', '.join(trained.class_names)}"]
        if trained.image_size is not None:
            lines[0] += f"; trained on images of {trained.image_size[0]}x{trained.image_size[1]}"
        if trained.config.eval_stats == "batch" and self.stats == "running":
            lines.append(
                "the run was tested with batch statistics; predicting with running ones, so that "
                "an image's mask depends on that image alone (--stats=batch does as the test did)"
            )
        if trained.config.head == "dlstudio":
            why = "head=dlstudio computes one pixel in four, so masks are dotted"
            lines.append(f"{why}; train with --head=dense")
        return lines

    def _compute(self, *queues: list[_Job]) -> Iterator[tuple[Any, Prediction]]:
        size = self.batch_size
        for batch in (jobs[i : i + size] for jobs in queues for i in range(0, len(jobs), size)):
            windows = np.stack([begun.blend.grid.cut(begun.padded, at) for begun, at in batch])
            for (begun, at), scores in zip(batch, self._run(windows), strict=True):
                begun.blend.add(at, scores)
                if not begun.blend.missing:
                    channels = np.moveaxis(begun.blend.result(), -1, 0)
                    maps = [_resized(channel, begun.size) for channel in channels]
                    whole = np.stack(maps, axis=-1)
                    labels = strongest(whole, multiclass=self.trained.multiclass)
                    yield begun.key, Prediction(labels, whole, self.class_names)

    def _run(self, windows: np.ndarray) -> np.ndarray:
        """Return the scores of windows [N, h, w, 3], filled up to a power of two.

        So a remainder of any length needs few compiled programs. With batch statistics nothing is
        filled in, since it would count.
        """
        count = len(windows)
        if self.stats == "running":
            spare = (1 << (count - 1).bit_length()) - count
            windows = np.concatenate([windows, np.repeat(windows[:1], spare, axis=0)])
        return np.asarray(self._scores(self._variables, windows))[:count]


def as_image(image: np.ndarray | str | Path) -> np.ndarray:
    """Return uint8 [H, W, 3] from an array or a file.

    Raises DataError, naming the file, if it is no image that segjax reads.
    """
    if isinstance(image, str | Path):
        try:
            return read_image(Path(image))
        except FileProblemError as problem:
            raise DataError(f"{image}: {problem}") from None
    array = np.asarray(image)
    if array.dtype != np.uint8:
        raise DataError(f"an image has dtype {array.dtype}; uint8, 0 to 255, is needed")
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise DataError(f"an image has shape {array.shape}; [height, width, 3] is needed")
    return array


def _resized(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring an image [h, w, 3] or one channel of scores [h, w] to another size, bilinear."""
    if array.shape[:2] == size:
        return array
    picture = Image.fromarray(np.ascontiguousarray(array))
    return np.asarray(picture.resize(size[::-1], Image.Resampling.BILINEAR))
