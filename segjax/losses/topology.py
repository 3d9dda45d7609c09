"""clDice: overlap of each mask with the other's centre line. Shit et al. 2021.

Examples:
  >>> import numpy as np
  >>> row = np.array([0.0, 1, 1, 1, 0]).reshape(1, 1, 5, 1)
  >>> soft_skeleton(row, iterations=1).ravel().tolist()
  [0.0, 0.0, 1.0, 0.0, 0.0]
  >>> float(cldice(row, row, pred_is="probs", iterations=1))
  0.0
"""

import functools
from typing import Literal, Unpack

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from segjax.errors import ConfigError
from segjax.losses._cells import OverlapOptions, cells_of
from segjax.losses._numerics import divide

MAX_ITERATIONS = 256

Pick = Literal["min", "max"]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _window(x: Array, axis: int, pick: Pick) -> Array:
    """Smallest or largest of each pixel and its two neighbours along an axis.

    Reverse mode only: its own gradient is two more windows, where a pooling's is slow on a CPU and
    not deterministic on a GPU, and chains of shifted arrays take XLA a minute to compile.
    """
    worst, better = (-jnp.inf, jax.lax.max) if pick == "max" else (jnp.inf, jax.lax.min)
    return jax.lax.reduce_window(x, worst, better, _three(x.ndim, axis), [1] * x.ndim, "SAME")


def _three(ndim: int, axis: int) -> list[int]:
    return [3 if i == axis else 1 for i in range(ndim)]


def _sum_of_picked(x: Array, values: Array, axis: int, pick: Pick) -> tuple[Array, Array]:
    """Return each window's smallest or largest x, and the sum of `values` over its places."""
    worst = jnp.asarray(-jnp.inf if pick == "max" else jnp.inf, x.dtype)

    def better(one: tuple[Array, Array], two: tuple[Array, Array]) -> tuple[Array, Array]:
        first = one[0] > two[0] if pick == "max" else one[0] < two[0]
        both = jnp.where(one[0] == two[0], one[1] + two[1], two[1])
        return jnp.where(first, one[0], two[0]), jnp.where(first, one[1], both)

    start, size = (worst, jnp.zeros_like(worst)), _three(x.ndim, axis)
    picked, total = jax.lax.reduce_window((x, values), start, better, size, [1] * x.ndim, "SAME")
    return picked, total


def _window_forward(x: Array, axis: int, pick: Pick) -> tuple[Array, tuple[Array, Array, Array]]:
    picked, ties = _sum_of_picked(x, jnp.ones_like(x), axis, pick)
    return picked, (x, picked, ties)


def _window_backward(
    axis: int, pick: Pick, saved: tuple[Array, Array, Array], gradient: Array
) -> tuple[Array]:
    """Give each window's gradient to the pixel it picked; equal ones share it.

    Of the windows around a pixel, those that picked it have the value nearest to its own, as each
    picked that or a better one.
    """
    x, picked, ties = saved
    other: Pick = "min" if pick == "max" else "max"
    nearest, total = _sum_of_picked(picked, gradient / ties, axis, other)
    return (jnp.where(nearest == x, total, 0),)


_window.defvjp(_window_forward, _window_backward)


def _erode(x: Array, axes: range) -> Array:
    """Minimum over a cross."""
    return functools.reduce(jnp.minimum, [_window(x, axis, "min") for axis in axes])


def _dilate(x: Array, axes: range) -> Array:
    """Maximum over a square or cube."""
    return functools.reduce(lambda x, axis: _window(x, axis, "max"), axes, x)


def soft_skeleton(probs: ArrayLike, *, iterations: int) -> Array:
    """Return the soft centre line of masks: what openings remove, over repeated erosions.

    Args:
      probs: [B, ..., C], floating, in [0, 1].
      iterations: erosions; at least half the width of the widest object, else its core is lost.

    Returns:
      As probs.

    Raises:
      ConfigError: no spatial axis, or iterations outside of 0 to 256.
    """
    x = jnp.asarray(probs)
    if x.ndim < 3:
        raise ConfigError(f"probs has shape {x.shape}: must be [batch, ..., classes] with an image")
    if not 0 <= iterations <= MAX_ITERATIONS:
        raise ConfigError(f"iterations={iterations}: must be >= 0 and <= {MAX_ITERATIONS}")
    axes = range(1, x.ndim - 1)
    # A window's gradient goes to the pixel that equals what was picked. Without the barrier XLA
    # computes x anew, in other bits, where it fuses it with the comparison.
    x = jax.lax.optimization_barrier(x)
    eroded = _erode(x, axes)
    skeleton = jax.nn.relu(x - _dilate(eroded, axes))
    for _ in range(iterations):
        x = eroded
        eroded = _erode(x, axes)
        found = jax.nn.relu(x - _dilate(eroded, axes))
        skeleton = skeleton + jax.nn.relu(found - skeleton * found)
    return skeleton


def cldice(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    iterations: int = 3,
    smooth: ArrayLike = 1.0,
    **options: Unpack[OverlapOptions],
) -> Array:
    """Return clDice, ``1 - 2 Tprec Tsens / (Tprec + Tsens)``, in [0, 1].

    With S the soft skeleton, ``Tprec = (sum(S(p) t) + s) / (sum(S(p)) + s)`` and
    ``Tsens = (sum(S(t) p) + s) / (sum(S(t)) + s)``. It is meant as a part of a sum with Dice, for
    thin and branching things: the paper's loss is ``0.5*dice_prob+0.5*cldice``. Alone it is blind
    to a prediction that fills the whole image, which has no centre line. Each of the iterations (at
    least half the widest object) costs some ten passes over the arrays, forward and backward. The
    options are those that `segjax.losses` describes; pixels that do not count are background to
    both skeletons.
    """
    cells = cells_of(pred, target, **options)
    smooth = cells.number("smooth", smooth)
    probs, t, weights = cells.inputs.probs, cells.inputs.target, cells.weights[0]
    if cells.inputs.valid is not None:
        probs = jnp.where(cells.inputs.valid, probs, 0)

    def covered(line: Array, mask: Array) -> Array:
        """Return the share of a centre line that lies in a mask."""
        line = line if weights is None else line * weights
        top, bottom = jnp.sum(line * mask, cells.axes), jnp.sum(line, cells.axes)
        return divide(top + smooth, bottom + smooth, empty=1.0)

    precision = covered(soft_skeleton(probs, iterations=iterations), t)
    sensitivity = covered(soft_skeleton(t, iterations=iterations), probs)
    score = divide(2 * precision * sensitivity, precision + sensitivity, empty=0.0)
    return cells.reduce(1 - score, cells.sums())
