"""The homework report's three losses: raw outputs against raw mask values.

Examples:
  >>> import numpy as np
  >>> float(combo(np.zeros((1, 1, 2, 1)), np.full((1, 1, 2, 1), 2.0), dice_scale=20))
  24.0
"""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from segjax.losses._arguments import check_number, compared, element_weights
from segjax.losses._cells import Reduction, reduce_cells, scaled


def mse(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    valid: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> Array:
    """Return the mean squared error, ``mean((pred - target)**2)``.

    Args:
      pred: raw values [...], any floating dtype; squared and summed in float32 or wider.
      target: values of the same shape, any real dtype.
      valid: None, or bool of the same shape (or without the last axis, or [B]): pixels that
        count; or floating, their weights.
      reduction: 'mean' by weight over the elements that count, 'sum', or 'none' (0 where not
        valid).

    Returns:
      float32 or float64 scalar, or [...] for 'none'; in [0, inf).

    Raises:
      ConfigError: shapes differ, or a wrong reduction; at trace time.
    """
    p, t = compared(pred, target)
    if valid is None:
        return reduce_cells(jnp.square(p - t), None, reduction)
    weights = element_weights(valid, p.shape).astype(p.dtype)
    return reduce_cells(jnp.square(jnp.where(weights > 0, p - t, 0)), weights, reduction)


def dice(
    pred: ArrayLike, target: ArrayLike, *, smooth: float = 1e-6, valid: ArrayLike | None = None
) -> Array:
    """Return the report's Dice loss: the whole batch as one vector, no sigmoid, squared sums.

    ``1 - 2 * sum(p * t) / (sum(p * p) + sum(t * t) + smooth)``, as in the report. With p = 0 the
    loss is 1 whatever the target, an empty target included. It lies in [0, 2]: negative outputs
    on the object give more than 1. See `dice_prob` for Dice on probabilities.

    Args:
      pred: raw values [...], any floating dtype; summed in float32 or wider.
      target: values of the same shape, any real dtype.
      smooth: added to the denominator only; must be above 0.
      valid: as for `mse`; each sum takes weights along. With no pixel left the loss is 0.

    Returns:
      float32 or float64 scalar.

    Raises:
      ConfigError: shapes differ, or smooth is not above 0; at trace time.
    """
    p, t = compared(pred, target)
    check_number("smooth", smooth, above=True)
    if valid is None:
        return 1 - 2 * jnp.sum(p * t) / (jnp.sum(p * p) + jnp.sum(t * t) + smooth)
    weights = element_weights(valid, p.shape).astype(p.dtype)
    p, t = jnp.where(weights > 0, p, 0), jnp.where(weights > 0, t, 0)
    weights, mean = scaled(weights, range(p.ndim))
    both, *squares = (jnp.sum(weights * product) for product in (p * t, p * p, t * t))
    return jnp.where(mean > 0, 1 - 2 * both / (sum(squares) + smooth), 0)


def combo(
    pred: ArrayLike, target: ArrayLike, *, dice_scale: float, valid: ArrayLike | None = None
) -> Array:
    """Return the report's combined loss, ``mse + dice_scale * dice``.

    Args:
      pred: raw values [...], any floating dtype.
      target: values of the same shape, any real dtype.
      dice_scale: weight of the Dice term; the report uses 20 and 400.
      valid: as for `mse`.

    Returns:
      float32 or float64 scalar.

    Raises:
      ConfigError: shapes differ, or dice_scale is negative; at trace time.
    """
    check_number("dice_scale", dice_scale)
    return mse(pred, target, valid=valid) + dice_scale * dice(pred, target, valid=valid)
