"""What the host counts: masks, checked; their boundary pixels; and numbers that add up."""

import dataclasses
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from segjax.errors import ConfigError
from segjax.metrics.counts import as_mask

if TYPE_CHECKING:
    from jaxtyping import Bool


@dataclasses.dataclass(frozen=True, eq=False)
class HostCounts:
    """Numbers per class [C], or per image and class [N, C]; ``+`` sums both sets of images."""

    def leaves(self) -> list[np.ndarray]:
        """Return the arrays in the order of their fields."""
        return list(vars(self).values())

    def total(self) -> Self:
        """Return the counts summed over images, shape [C]."""
        return type(self)(*(leaf.reshape(-1, leaf.shape[-1]).sum(axis=0) for leaf in self.leaves()))

    def __add__(self, other: Self) -> Self:
        if not isinstance(other, type(self)):
            return NotImplemented
        one, two = self.total().leaves(), other.total().leaves()
        if one[0].shape != two[0].shape:
            raise ConfigError(
                f"{type(self).__name__}: cannot add {one[0].size} and {two[0].size} classes"
            )
        return type(self)(*(a + b for a, b in zip(one, two, strict=True)))


def host_masks(
    pred: Any, target: Any, valid: Any = None, *, caller: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return prediction, target and valid pixels as bool NumPy [N, H, W, C], same and [N, H, W]."""
    on = as_mask(np.asarray(pred), f"{caller}: pred")
    true = as_mask(np.asarray(target), f"{caller}: target")
    if on.shape != true.shape or on.ndim != 4:
        raise ConfigError(
            f"{caller}: pred {on.shape} and target {true.shape} must have one shape [N, H, W, C]"
        )
    if valid is None:
        return on, true, np.ones(on.shape[:-1], bool)
    kept = as_mask(np.asarray(valid), f"{caller}: valid")
    if kept.shape != on.shape[:-1]:
        raise ConfigError(f"{caller}: valid {kept.shape} must be {on.shape[:-1]}, as pred is")
    return on, true, kept


def surrounded(
    mask: "Bool[np.ndarray, 'N H W *rest']", *, outside: bool
) -> "Bool[np.ndarray, 'N H W *rest']":
    """Return where a pixel and its four neighbours are all on; ``outside`` is beyond the border."""
    padding = [(0, 0), (1, 1), (1, 1)] + [(0, 0)] * (mask.ndim - 3)
    wide = np.pad(mask, padding, constant_values=outside)
    rows = wide[:, :-2, 1:-1] & wide[:, 2:, 1:-1]
    return mask & rows & wide[:, 1:-1, :-2] & wide[:, 1:-1, 2:]


def boundaries(
    masks: "Bool[np.ndarray, 'N H W C']", valid: "Bool[np.ndarray, 'N H W']"
) -> "Bool[np.ndarray, 'N H W C']":
    """Return the boundary pixels of each mask.

    A boundary pixel is on and has one of its four neighbours off; what lies beyond the image is
    off. A pixel that is not valid, or has such a neighbour, is no boundary pixel: whether it
    would be one is not known.
    """
    return masks & ~surrounded(masks, outside=False) & surrounded(valid, outside=True)[..., None]
