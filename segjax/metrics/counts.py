"""Confusion counts per class that merge exactly over batches, devices and hosts."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from segjax.errors import ConfigError

_INT32_MAX = 2**31 - 1


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Counts:
    """Pixels per class that are true or false positives or negatives; a pytree of four arrays.

    Each array has shape [C], or [N, C] when images are kept apart: int32 on the device, int64 on
    the host. ``a + b`` adds exactly:

    - outside a trace on the host in int64, whatever came in, which waits for the device; a loop
      that must not wait keeps a list for ``Counts.merge``;
    - inside ``jit``, ``scan`` or ``shard_map`` in int32 on the device, so that there a running
      total may cover at most 2^31 - 1 pixels per class (8191 images of 512 x 512).
    """

    tp: Any
    fp: Any
    fn: Any
    tn: Any

    @classmethod
    def zero(cls, classes: int) -> Self:
        """Return counts of nothing: int64 zeros on the host, shape [classes]."""
        if classes < 1:
            raise ConfigError(f"Counts.zero: needs at least one class, got {classes}")
        return cls(*(np.zeros(classes, np.int64) for _ in range(4)))

    @classmethod
    def merge(cls, parts: Iterable[Self]) -> Self:
        """Return the sum of ``parts`` (at least one), exact, int64 on the host."""
        parts = list(parts)
        if not parts:
            raise ConfigError("Counts.merge: nothing to merge; start from Counts.zero(classes)")
        return sum(parts[1:], start=parts[0].to_host())

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Return per-image counts [N1 + N2 + ..., C] from parts of shape [Ni, C], on the host."""
        hosts = [part.to_host() for part in parts]
        if not hosts or any(part.tp.ndim != 2 for part in hosts):
            raise ConfigError(
                "Counts.concatenate: needs per-image counts [N, C]; use count(..., per_image=True)"
            )
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *hosts)

    @classmethod
    def of_matrix(cls, matrix: Any) -> Self:
        """Return the counts per class of a `confusion_matrix`, exact as it is."""
        if not isinstance(matrix, jax.core.Tracer):
            matrix = np.asarray(matrix).astype(np.int64)
        tp = matrix.diagonal().copy()
        fp, fn = matrix.sum(axis=0) - tp, matrix.sum(axis=1) - tp
        return cls(tp, fp, fn, matrix.sum() - tp - fp - fn)

    @property
    def classes(self) -> int:
        """The number of classes C."""
        return int(np.shape(self.tp)[-1])

    @property
    def traced(self) -> bool:
        """Whether the numbers are still unknown because this is inside a JAX trace."""
        return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(self))

    def to_host(self) -> Self:
        """Return the same counts as int64 NumPy arrays; waits for the device."""
        return jax.tree.map(lambda leaf: np.asarray(leaf).astype(np.int64), self)

    def total(self) -> Self:
        """Return counts of shape [C]: images, if kept apart, are summed (int64 on the host)."""
        counts = self if self.traced else self.to_host()
        axes = tuple(range(counts.tp.ndim - 1))
        return jax.tree.map(lambda leaf: leaf.sum(axis=axes), counts)

    def select(self, classes: Sequence[int]) -> Self:
        """Return the counts of some classes only, for instance without the background.

        Raises:
            ConfigError: a class index is outside [0, C) or no whole number, or none is given.
        """
        given = np.asarray(classes)
        if given.size and given.dtype.kind not in "iu":
            raise ConfigError(f"Counts.select: give class indices, such as [0, 2], not {classes}")
        index = given.astype(np.int64).reshape(-1)
        if not index.size or index.min() < 0 or index.max() >= self.classes:
            raise ConfigError(
                f"Counts.select: class indices {list(classes)} must be within 0..{self.classes - 1}"
            )
        return jax.tree.map(lambda leaf: leaf[..., index], self)

    def __add__(self, other: Self) -> Self:
        if not isinstance(other, Counts):
            return NotImplemented
        if np.shape(self.tp) != np.shape(other.tp):
            raise ConfigError(
                f"Counts: cannot add shapes {np.shape(self.tp)} and {np.shape(other.tp)}; sum "
                "per-image counts first with .total(), or join them with Counts.concatenate"
            )
        if self.traced or other.traced:
            return jax.tree.map(lambda a, b: _to_device(a) + _to_device(b), self, other)
        return jax.tree.map(np.add, self.to_host(), other.to_host())

    def __radd__(self, other: Any) -> Self:
        # Lets the builtin sum() start from its 0.
        return self.to_host() if isinstance(other, int) and other == 0 else NotImplemented


def _to_device(leaf: Any) -> Any:
    if isinstance(leaf, np.ndarray):
        most = np.iinfo(jax.dtypes.canonicalize_dtype(np.int64)).max
        if leaf.size and leaf.max() > most:
            raise ConfigError(
                f"Counts: {leaf.max()} does not fit the device's int32; add on the host, not in jit"
            )
    return jnp.asarray(leaf)


def count(
    pred: jax.typing.ArrayLike,
    target: jax.typing.ArrayLike,
    *,
    valid: jax.typing.ArrayLike | None = None,
    per_image: bool = False,
) -> Counts:
    """Count true and false positives and negatives per class.

    Pure; works under jit, vmap, scan and shard_map. Classes are judged one by one, so masks may
    overlap. On a sharded batch under jit the counts are those of the whole batch; inside
    ``shard_map`` they are the shard's, and ``jax.lax.psum(counts, axis_name)`` completes them.

    Args:
        pred: bool or integer [B, ..., C] (images: [B, H, W, C]); a pixel is on where not 0. Of
            rank 3 it must be bool: integers there are most likely labels [B, H, W].
        target: the same shape, bool or integer; file masks of 0 and 50..250 work as they are.
        valid: bool [B, ...] for all classes or [B, ..., C]; pixels that are not valid are left
            out of all four counts. None: all pixels are valid.
        per_image: keep images apart.

    Returns:
        Counts of int32 [C], or [B, C] with ``per_image``; tp + fp + fn + tn is the number of
        valid pixels.

    Raises:
        ConfigError: at trace time, for shapes that do not fit, fewer than 2 dimensions, floating
            inputs (threshold them first), or more than 2^31 - 1 pixels per class.

    Examples:
        >>> from segjax.metrics import dice, iou
        >>> pred = np.array([[[1], [1], [0], [0]]]) > 0
        >>> target = np.array([[[1], [0], [1], [0]]]) > 0
        >>> counts = count(pred, target)  # one image of 4 pixels, one class
        >>> counts.tp.tolist(), iou(counts).round(3).tolist(), dice(counts).tolist()
        ([1], [0.333], [0.5])
    """
    for name, given in (("pred", pred), ("target", target)):
        if np.ndim(given) == 3 and jnp.result_type(given) != np.bool_:
            raise ConfigError(
                f"count: {name} {np.shape(given)} of {jnp.result_type(given)} looks like labels "
                "[B, H, W]; give masks of each class, labels[..., None] == np.arange(C), or bool"
            )
    on = as_mask(jnp.asarray(pred), "count: pred", ", for instance pred > 0.5")
    true = as_mask(jnp.asarray(target), "count: target", ", for instance target > 0.5")
    if on.shape != true.shape or on.ndim < 2:
        raise ConfigError(
            f"count: pred {on.shape} and target {true.shape} must have one shape [B, ..., C]"
        )
    if on.size // max(on.shape[-1], 1) > _INT32_MAX:
        raise ConfigError(f"count: {on.shape} has more than 2^31 - 1 pixels; count smaller batches")
    kept: Any = True
    if valid is not None:
        kept = as_mask(jnp.asarray(valid), "count: valid", ", for instance valid > 0.5")
        if kept.shape == on.shape[:-1]:
            kept = kept[..., None]
        elif kept.shape not in (on.shape, (*on.shape[:-1], 1)):
            raise ConfigError(
                f"count: valid {kept.shape} must be {on.shape[:-1]} or {on.shape}, as pred is"
            )
    axes = tuple(range(1 if per_image else 0, on.ndim - 1))
    kinds = on & true, on & ~true, ~on & true, ~(on | true)
    return Counts(*(jnp.sum(kind & kept, axis=axes, dtype=jnp.int32) for kind in kinds))


def confusion_matrix(
    pred: jax.typing.ArrayLike,
    target: jax.typing.ArrayLike,
    *,
    classes: int,
    valid: jax.typing.ArrayLike | None = None,
) -> jax.Array:
    """Count the pixels of each true class by the class that was predicted.

    Pure; works under jit, vmap, scan and shard_map. Matrices of batches add up; on the host in
    int64 with ``np.asarray(matrix, np.int64)``.

    Args:
        pred: integer labels 0..classes - 1, [B, ...]; of scores [B, ..., C] take ``argmax(-1)``.
        target: labels of the same shape.
        classes: the number of classes C.
        valid: bool of the same shape; pixels that are not valid, whatever their labels, are left
            out. None: all pixels are valid.

    Returns:
        int32 [C, C]: rows are true, columns predicted classes. `Counts.of_matrix` reads it.

    Raises:
        ConfigError: at trace time, for shapes or dtypes that do not fit, classes below 1, or more
            than 2^31 - 1 pixels; where labels are known, that is outside of jit, for labels out of
            range (inside jit such pixels are left out).

    Examples:
        >>> confusion_matrix(np.array([0, 1, 1, 0]), np.array([0, 0, 1, 1]), classes=2).tolist()
        [[1, 1], [1, 1]]
    """
    rows, columns = map(_as_labels, (target, pred))
    if not all(jnp.issubdtype(labels.dtype, jnp.integer) for labels in (rows, columns)):
        raise ConfigError(
            f"confusion_matrix: pred is {columns.dtype} and target {rows.dtype}: must be integer"
        )
    kept: Any = jnp.ones(rows.shape, bool)
    if valid is not None:
        kept = as_mask(jnp.asarray(valid), "confusion_matrix: valid", ", for instance valid > 0.5")
    if not columns.shape == rows.shape == kept.shape:
        shapes = f"pred {columns.shape}, target {rows.shape} and valid {kept.shape}"
        raise ConfigError(f"confusion_matrix: {shapes} must have one shape")
    if classes < 1 or rows.size > _INT32_MAX:
        raise ConfigError("confusion_matrix: needs 1 class or more, and at most 2^31 - 1 pixels")
    rows, columns = rows.astype(jnp.int32), columns.astype(jnp.int32)
    for labels in (rows, columns):
        outside = kept & ((labels < 0) | (labels >= classes))
        if not isinstance(outside, jax.core.Tracer) and outside.any():
            raise ConfigError(
                f"confusion_matrix: labels must be in 0..{classes - 1}; leave others out with valid"
            )
        kept = kept & ~outside
    place = jnp.where(kept, rows * classes + columns, classes**2).ravel()
    table = jnp.bincount(place, length=classes**2 + 1)[:-1]
    return table.reshape(classes, classes).astype(jnp.int32)


def _as_labels(labels: Any) -> jax.Array:
    """Return labels as JAX holds them; what 32 bits cannot hold stays out of range."""
    if isinstance(labels, np.ndarray) and labels.dtype in (np.int64, np.uint64):
        labels = np.clip(labels, -1, _INT32_MAX)
    return jnp.asarray(labels)


def as_mask(array: Any, name: str, hint: str = "") -> Any:
    """Return where a bool or integer array, NumPy's or JAX's, is not 0."""
    if array.dtype != np.bool_ and not jnp.issubdtype(array.dtype, jnp.integer):
        raise ConfigError(
            f"{name} is {array.dtype}, but must be bool or integer; threshold it first{hint}"
        )
    return array.astype(bool)


def merge_hosts(counts: Counts) -> Counts:
    """Return the sum of every process's counts, int64 on the host, the same on all of them.

    Every process must call this, with counts of one shape.
    """
    host = counts.to_host()
    if jax.process_count() == 1:
        return host
    from jax.experimental import multihost_utils

    # Two words of 31 bits: JAX without x64 would cut an int64 to its lower half without a sound.
    stacked = np.stack(jax.tree.leaves(host))
    words = np.stack([stacked & _INT32_MAX, stacked >> 31]).astype(np.int32)
    low, high = np.asarray(multihost_utils.process_allgather(words)).astype(np.int64).sum(axis=0)
    return type(counts)(*(low + (high << 31)))
