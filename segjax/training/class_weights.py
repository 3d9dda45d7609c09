"""Weights of the classes from how often they occur in the training masks. NumPy only."""

from collections.abc import Mapping

import numpy as np

from segjax.errors import ConfigError, DataError
from segjax.loss_table import CLASS_WEIGHT_RULES, Reads, Value

CHUNK_IMAGES = 500  # images counted at a time, which bounds the memory for temporaries


def balanced_class_weights(
    masks: np.ndarray,
    *,
    rule: str = "balanced",
    multiclass: bool = False,
    ignore: np.ndarray | None = None,
) -> np.ndarray:
    """Return one weight per class, larger for rarer classes, with a mean of 1.

    With n_c the pixels of class c, 'balanced' is w_c = 1 / n_c (inverse frequency). 'median' is
    median(f) / f_c, where f_c is n_c over all pixels of the images that show c (Eigen and Fergus
    2015, median-frequency balancing): a class that few images show, but largely, is not taken for
    rare. Both are then divided by their mean, so the learning rate keeps its meaning.

    Args:
      masks: uint8 [N, H, W, C], 0 or the class value.
      rule: 'balanced' or 'median'.
      multiclass: count as a softmax loss sees it: background first, so C + 1 weights, and of
        overlapping classes the last wins.
      ignore: bool [N, H, W], pixels that do not count; or None.

    Returns:
      float64 [C] or [C + 1]. A class without a pixel gets 1, as there is nothing to judge it by.

    Raises:
      ConfigError: unknown rule, or shapes that do not fit.
      DataError: no class has a pixel.
    """
    rules = ", ".join(CLASS_WEIGHT_RULES)
    if rule not in CLASS_WEIGHT_RULES:
        raise ConfigError(f"class weights {rule!r}: choose one of {rules}, or numbers")
    if masks.ndim != 4:
        raise ConfigError(f"masks of shape {masks.shape}: must be [N, H, W, C]")
    if ignore is not None and ignore.shape != masks.shape[:3]:
        raise ConfigError(f"ignore of shape {ignore.shape}: must be {masks.shape[:3]}")
    valid = np.broadcast_to(True, masks.shape[:3]) if ignore is None else ~ignore
    parts = [slice(at, at + CHUNK_IMAGES) for at in range(0, len(masks) or 1, CHUNK_IMAGES)]
    pixels = np.concatenate([_pixels(masks[p], valid[p], multiclass=multiclass) for p in parts])
    own = pixels.sum(axis=0).astype(float)  # of each class
    # Of the images that show it. Dividing by the mean cancels the median of the paper's formula.
    counted = valid.sum(axis=(1, 2))[:, None]
    room = ((pixels > 0) * counted).sum(axis=0) if rule == "median" else np.ones(len(own))
    seen = own > 0
    if not seen[int(multiclass) :].any():
        raise DataError("class weights: the training masks have no pixel of any class")
    weights = np.ones(len(own))
    weights[seen] = room[seen] / own[seen]
    weights[seen] /= weights[seen].mean()
    return weights


def resolve_class_weights(
    parameters: Mapping[str, Value],
    masks: np.ndarray,
    *,
    reads: Reads,
    ignore: np.ndarray | None = None,
) -> dict[str, Value]:
    """Return a loss's parameters with ``loss_class_weights=balanced`` turned into numbers.

    They are those of `balanced_class_weights`, which also says what ``masks`` and ``ignore`` are
    and what is raised; a loss that ``reads`` 'softmax' has the background as a class, the first.
    """
    rule = str(parameters.get("loss_class_weights", "")).strip()
    if rule not in CLASS_WEIGHT_RULES:
        return dict(parameters)
    weights = balanced_class_weights(masks, rule=rule, multiclass=reads == "softmax", ignore=ignore)
    return {**parameters, "loss_class_weights": ",".join(f"{weight:.6g}" for weight in weights)}


def _pixels(masks: np.ndarray, valid: np.ndarray, *, multiclass: bool) -> np.ndarray:
    """Return how many pixels that count each class has in each image, [n, C]."""
    present = masks > 0
    if multiclass:
        # Background, then the classes; a class yields to those after it.
        present = np.insert(present, 0, True, axis=-1)
        later = np.logical_or.accumulate(present[..., :0:-1], axis=-1)[..., ::-1]
        present[..., :-1] &= ~later
    return (present & valid[..., None]).sum(axis=(1, 2))
