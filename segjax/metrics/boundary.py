"""How well outlines agree: boundary F1, Hausdorff distance, its 95 % form, and ASSD.

Distances are Euclidean, exact, between the centres of boundary pixels (those of
`segjax.metrics.masks.boundaries`), and computed on the host with SciPy. A class of an
image can lack an outline:

- in both masks: ``absent`` decides, as in `segjax.metrics.scores`; for distances 0 is the
  perfect value, and ``'one'``, a distance of one pixel, is refused;
- in one mask only: boundary F1 is 0. A distance does not exist; ``missing`` decides: ``'inf'``,
  the default, which no average can hide; ``'diagonal'``, the length of the image's diagonal,
  which no distance inside the image exceeds; ``'skip'``, NaN and left out of averages, which
  lets a network win by predicting nothing.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import numpy as np

from segjax.errors import ConfigError
from segjax.metrics.masks import HostCounts, boundaries, host_masks
from segjax.metrics.scores import (
    Absent,
    Average,
    Over,
    Ratio,
    check_choice,
    described,
    mean_of,
    score_classes,
)

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

Missing = Literal["inf", "diagonal", "skip"]
Direction = Literal["both", "pred_to_target", "target_to_pred"]

_COLUMNS = ("hausdorff", "hd95", "assd")


@dataclasses.dataclass(frozen=True, eq=False)
class BoundaryCounts(HostCounts):
    """Boundary pixels per image and class, int64 [N, C], or [C] once summed; ``+`` sums.

    ``pred_near`` of the ``pred_all`` predicted boundary pixels lie within the tolerance of the
    target's boundary; ``target_near`` of ``target_all`` the other way round.
    """

    pred_near: np.ndarray
    pred_all: np.ndarray
    target_near: np.ndarray
    target_all: np.ndarray


def boundary_count(
    pred: Any,
    target: Any,
    *,
    tolerance: float | Sequence[float] = 2.0,
    spacing: float | tuple[float, float] = 1.0,
    valid: Any = None,
) -> BoundaryCounts:
    """Count the boundary pixels that have the other mask's boundary within reach.

    Args:
        pred: bool or integer [N, H, W, C], on where not 0.
        target: the same shape.
        tolerance: the largest distance that counts as near, in units of ``spacing``; at least 0;
            one number, or one for each class.
        spacing: size of a pixel, or its height and width.
        valid: bool [N, H, W]; boundary pixels at or beside an invalid pixel are left out.

    Returns:
        BoundaryCounts of int64 [N, C], in pixels.

    Raises:
        ConfigError: shapes that do not fit, floating masks, a negative tolerance or spacing.

    Examples:
        >>> pred, target = np.zeros((2, 1, 6, 6, 1), bool)
        >>> target[0, 1:4, 1:4], pred[0, 1:4, 2:5] = True, True  # 3 x 3, one pixel to the right
        >>> boundary_f1(boundary_count(pred, target, tolerance=1)).tolist()
        [1.0]
        >>> hausdorff(surface_distances(pred, target)).tolist()
        [1.0]
    """
    if not np.all(np.asarray(tolerance) >= 0):
        raise ConfigError(f"boundary_count: tolerance must be at least 0, got {tolerance}")
    outlines, size = _outlines(pred, target, valid, spacing, caller="boundary_count")
    pixels = outlines.sum(axis=(2, 3), dtype=np.int64)
    near = np.zeros_like(pixels)
    if np.shape(tolerance) not in ((), pixels.shape[2:]):
        raise ConfigError(
            f"boundary_count: tolerance={tolerance}: give one, or one for each of "
            f"{pixels.shape[2]} classes"
        )
    # distances carry rounding: 3 * 0.1 must count as within 0.3
    reach = np.broadcast_to(np.multiply(tolerance, 1 + 1e-9), pixels.shape[2:])
    for index, *ways in _distances(outlines, size):
        near[:, *index] = [np.count_nonzero(way <= reach[index[1]]) for way in ways]
    return BoundaryCounts(near[0], pixels[0], near[1], pixels[1])


_NEAR_ARGUMENTS = """
Args:
    counts: from `boundary_count`.
    average: as for `segjax.metrics.iou`; ``'weighted'`` weighs by the target's boundary
        pixels.
    absent: what a class scores that has no boundary in either mask.
    over: ``'set'`` pools the boundary pixels of all images, ``'image'`` keeps images apart.

Returns:
    float64 [C] or [N, C], without C for an average.

Raises:
    ConfigError: for an unknown choice, or ``over='image'`` on summed counts.
"""


def _near(formula: Callable[..., tuple[np.ndarray, np.ndarray]]) -> Callable[..., Any]:
    """Make (near, drawn, hit, true) -> (num, den) a score."""

    def ratio(near: np.ndarray, drawn: np.ndarray, hit: np.ndarray, true: np.ndarray) -> Ratio:
        return Ratio(*formula(near, drawn, hit, true), gone=drawn + true == 0, weight=true)

    def score(
        counts: BoundaryCounts,
        *,
        average: Average = "none",
        absent: Absent = "skip",
        over: Over = "set",
    ) -> Any:
        check_choice("over", over, Over)
        if over == "image" and counts.pred_all.ndim < 2:
            raise ConfigError("over='image' needs counts that were not summed over images")
        leaves = (counts.total() if over == "set" else counts).leaves()
        return score_classes(ratio, leaves, average=average, absent=absent)

    return described(score, formula, _NEAR_ARGUMENTS)


@_near
def boundary_f1(near: Any, drawn: Any, hit: Any, true: Any) -> tuple[Any, Any]:
    """Return the boundary F1 score, 2 P R / (P + R), in [0, 1].

    P is the share of predicted boundary pixels near the target's boundary, R the share of the
    target's boundary pixels near the predicted one (Csurka et al., "What is a good evaluation
    measure for semantic segmentation?", BMVC 2013; they average over images, which is
    ``over='image'`` and `segjax.metrics.mean_over_images`).
    """
    return 2 * near * hit, near * true + hit * drawn


@_near
def surface_dice(near: Any, drawn: Any, hit: Any, true: Any) -> tuple[Any, Any]:
    """Return normalised surface Dice (NSD), the share of both boundaries that is near, in [0, 1].

    Near is within the ``tolerance`` of `boundary_count`; boundary pixels of both masks are
    pooled. As MONAI; DeepMind's surface-distance weighs the outline's elements by their lengths.

    Source: Nikolov et al., "Clinically applicable segmentation of head and neck anatomy for
    radiotherapy", 2021.
    """
    return near + hit, drawn + true


@dataclasses.dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances between outlines per image and class, float64 [N, C], in units of ``spacing``.

    NaN where neither mask has an outline, infinity where one has none. ``directed`` has the same
    three from the prediction's outline to the target's and back, [2, 3, N, C]; ``diagonal`` is the
    length of the image's diagonal.
    """

    hausdorff: np.ndarray
    hd95: np.ndarray
    assd: np.ndarray
    directed: np.ndarray
    diagonal: float

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Return the distances of all parts' images; the images must be of one size."""
        if len({part.diagonal for part in parts}) != 1:
            raise ConfigError("SurfaceDistances.concatenate: needs parts with one image size")
        columns = {
            name: np.concatenate([getattr(part, name) for part in parts], axis=-2)
            for name in (*_COLUMNS, "directed")
        }
        return cls(**columns, diagonal=parts[0].diagonal)


def surface_distances(
    pred: Any, target: Any, *, spacing: float | tuple[float, float] = 1.0, valid: Any = None
) -> SurfaceDistances:
    """Measure how far outlines lie apart, for each image and class.

    With d(a, B) the distance of boundary pixel a of one mask to the nearest one of the other:

    - Hausdorff: the largest d in either direction;
    - HD95: the 95th percentile of d in each direction (linear between ranks), the larger of both;
    - ASSD: the mean of d over the boundary pixels of both masks together.

    Args:
        pred: bool or integer [N, H, W, C], on where not 0.
        target: the same shape.
        spacing: size of a pixel, or its height and width.
        valid: bool [N, H, W]; boundary pixels at or beside an invalid pixel are left out.

    Returns:
        SurfaceDistances of float64 [N, C], in units of ``spacing``.

    Raises:
        ConfigError: shapes that do not fit, floating masks, a spacing that is not positive.
    """
    outlines, size = _outlines(pred, target, valid, spacing, caller="surface_distances")
    directed = np.tile(np.where(outlines.any(axis=(0, 2, 3)), np.inf, np.nan), (2, 3, 1, 1))
    pooled = directed[0, 2].copy()
    for index, *ways in _distances(outlines, size):
        directed[:, :, *index] = [(w.max(), np.percentile(w, 95), w.mean()) for w in ways]
        pooled[index] = np.concatenate(ways).mean()
    larger = directed.max(axis=0)
    diagonal = float(np.hypot(*(size * outlines.shape[2:4])))
    return SurfaceDistances(larger[0], larger[1], pooled, directed, diagonal)


_ARGUMENTS = """
Args:
    distances: from `surface_distances`, float64 [N, C], in units of its ``spacing``.
    average: ``'none'``, or ``'macro'`` for the mean over classes.
    absent: outline in neither mask: ``'skip'`` (NaN, left out of averages), ``'nan'`` (NaN,
        averages too) or ``'zero'``.
    missing: outline in one mask only: ``'inf'``, ``'diagonal'`` or ``'skip'``.
    over: ``'set'``, the mean over images class by class, or ``'image'``, each image's own.
    direction: ``'both'``, or of one mask's boundary pixels alone: ``'pred_to_target'`` (what was
        made up) or ``'target_to_pred'`` (what was missed).

Returns:
    float64 [C] or [N, C], without C for an average, in units of ``spacing``.

Raises:
    ConfigError: for an unknown choice.
"""


def _distance(column: Callable[[SurfaceDistances], np.ndarray]) -> Callable[..., Any]:
    """Make one column of the distances a score."""
    place = _COLUMNS.index(column.__name__)

    def score(
        distances: SurfaceDistances,
        *,
        average: Average = "none",
        absent: Absent = "skip",
        missing: Missing = "inf",
        over: Over = "set",
        direction: Direction = "both",
    ) -> Any:
        check_choice("average", average, ("none", "macro"))
        check_choice("absent", absent, ("skip", "nan", "zero"))
        check_choice("missing", missing, Missing)
        check_choice("over", over, Over)
        check_choice("direction", direction, Direction)
        way = get_args(Direction).index(direction) - 1
        value = column(distances) if direction == "both" else distances.directed[way, place]
        gone, lacking = np.isnan(value), np.isinf(value)
        fill = {"inf": np.inf, "diagonal": distances.diagonal, "skip": np.nan}[missing]
        value = np.select([lacking, gone & (absent == "zero")], [fill, 0.0], value)
        # What 'skip' leaves out: absent classes, or those that lack one outline, or both.
        kept = ~((gone & (absent == "skip")) | (lacking & (missing == "skip")))
        if over == "set":
            value, kept = mean_of(value, kept, axis=0), kept.any(axis=0)
        return mean_of(value, kept, axis=-1) if average == "macro" else value

    return described(score, column, _ARGUMENTS)


@_distance
def hausdorff(distances: SurfaceDistances) -> np.ndarray:
    """Return the Hausdorff distance, in [0, inf), 0 for equal outlines.

    max(max over a of d(a, B), max over b of d(b, A)), with d as in `surface_distances`.

    Source: Huttenlocher et al., "Comparing images using the Hausdorff distance", 1993.
    """
    return distances.hausdorff


@_distance
def hd95(distances: SurfaceDistances) -> np.ndarray:
    """Return the 95 % Hausdorff distance, in [0, inf), which a few stray pixels do not move.

    max(P95 over a of d(a, B), P95 over b of d(b, A)), with d as in `surface_distances`.
    """
    return distances.hd95


@_distance
def assd(distances: SurfaceDistances) -> np.ndarray:
    """Return the average symmetric surface distance, the outlines' mean gap, in [0, inf).

    (sum over a of d(a, B) + sum over b of d(b, A)) / (|A| + |B|), with d as in
    `surface_distances`.

    Source: Heimann et al., "Comparison and evaluation of methods for liver segmentation from CT
    datasets", 2009.
    """
    return distances.assd


def _outlines(
    pred: Any, target: Any, valid: Any, spacing: Any, *, caller: str
) -> "tuple[Bool[np.ndarray, '2 N H W C'], Float[np.ndarray, '2']]":
    """Return the boundary pixels of both masks, and a pixel's height and width."""
    *masks, kept = host_masks(pred, target, valid, caller=caller)
    if np.shape(spacing) not in ((), (1,), (2,)):
        raise ConfigError(f"spacing={spacing}: give one size, or a height and a width")
    size = np.broadcast_to(np.asarray(spacing, np.float64), (2,))
    if not np.all(size > 0):
        raise ConfigError(f"spacing must be positive, got {spacing}")
    return np.stack([boundaries(mask, kept) for mask in masks]), size


def _distances(
    outlines: "Bool[np.ndarray, '2 N H W C']", size: "Float[np.ndarray, '2']"
) -> Iterator[tuple[tuple[int, int], np.ndarray, np.ndarray]]:
    """Yield (image, class), distances from pred's boundary and from target's, where both exist."""
    # Deferred: who only counts pixels shall not wait for SciPy to load.
    from scipy.ndimage import distance_transform_edt

    for image, channel in np.argwhere(outlines.any(axis=(2, 3)).all(axis=0)):
        one, two = outlines[:, image, :, :, channel]
        # Only the part that holds both outlines matters, and it is often a small one.
        rows, columns = np.nonzero(one | two)
        part = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        one, two = one[part], two[part]
        there = distance_transform_edt(~two, sampling=size)[one]
        back = distance_transform_edt(~one, sampling=size)[two]
        yield (int(image), int(channel)), there, back
