"""clDice: overlap of each mask with the other's centre line. Shit et al. 2021."""

import functools
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from segjax.errors import ConfigError
from segjax.losses._arguments import Reduction, check_number, divide, reduce_cells
from segjax.losses._prediction import Classes, PredIs, prepare
from segjax.losses.overlap import Absent, Over, cell_axes, cell_sums, cell_weights

Pick = Literal["min", "max"]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _window(x: jax.Array, axis: int, pick: Pick) -> jax.Array:
    """Smallest or largest of each pixel and its two neighbours along an axis.

    Reverse mode only: its own gradient is two more windows, where a pooling's is slow on a CPU and
    not deterministic on a GPU, and chains of shifted arrays take XLA a minute to compile.
    """
    size = _three(x.ndim, axis)
    if pick == "max":
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, size, [1] * x.ndim, "SAME")
    return jax.lax.reduce_window(x, jnp.inf, jax.lax.min, size, [1] * x.ndim, "SAME")


def _three(ndim: int, axis: int) -> list[int]:
    return [3 if i == axis else 1 for i in range(ndim)]


def _sum_of_picked(
    x: jax.Array, values: jax.Array, axis: int, pick: Pick
) -> tuple[jax.Array, jax.Array]:
    """Return each window's smallest or largest x, and the sum of `values` over its places."""
    worst = jnp.asarray(-jnp.inf if pick == "max" else jnp.inf, x.dtype)

    def better(
        one: tuple[jax.Array, jax.Array], two: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        first = one[0] > two[0] if pick == "max" else one[0] < two[0]
        both = jnp.where(one[0] == two[0], one[1] + two[1], two[1])
        return jnp.where(first, one[0], two[0]), jnp.where(first, one[1], both)

    picked, total = jax.lax.reduce_window(
        (x, values),
        (worst, jnp.zeros_like(worst)),
        better,
        _three(x.ndim, axis),
        [1] * x.ndim,
        "SAME",
    )
    return picked, total


def _window_forward(
    x: jax.Array, axis: int, pick: Pick
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array]]:
    picked, ties = _sum_of_picked(x, jnp.ones_like(x), axis, pick)
    return picked, (x, picked, ties)


def _window_backward(
    axis: int, pick: Pick, saved: tuple[jax.Array, jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array]:
    """Give each window's gradient to the pixel it picked; equal ones share it.

    Of the windows around a pixel, those that picked it have the value nearest to its own, as each
    picked that or a better one.
    """
    x, picked, ties = saved
    other: Pick = "min" if pick == "max" else "max"
    nearest, total = _sum_of_picked(picked, gradient / ties, axis, other)
    return (jnp.where(nearest == x, total, 0),)


_window.defvjp(_window_forward, _window_backward)


def _erode(x: jax.Array, axes: range) -> jax.Array:
    """Minimum over a cross."""
    lines = [_window(x, axis, "min") for axis in axes]
    least = lines[0]
    for line in lines[1:]:
        least = jnp.minimum(least, line)
    return least


def _dilate(x: jax.Array, axes: range) -> jax.Array:
    """Maximum over a square or cube."""
    for axis in axes:
        x = _window(x, axis, "max")
    return x


def soft_skeleton(probs: ArrayLike, *, iterations: int) -> jax.Array:
    """Return the soft centre line of masks: what openings remove, over repeated erosions.

    Args:
      probs: [B, ..., C], floating, in [0, 1].
      iterations: erosions; at least half the width of the widest object, else its core is lost.

    Returns:
      As probs.

    Raises:
      ConfigError: no spatial axis, or fewer than 0 iterations.
    """
    x = jnp.asarray(probs)
    if x.ndim < 3:
        raise ConfigError(f"probs has shape {x.shape}: must be [batch, ..., classes] with an image")
    if iterations < 0:
        raise ConfigError(f"iterations={iterations}: must be >= 0")
    axes = range(1, x.ndim - 1)
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
    pred_is: PredIs,
    classes: Classes = "independent",
    iterations: int = 3,
    smooth: float = 1.0,
    over: Over = "sample",
    per_class: bool = True,
    absent: Absent = "count",
    class_weights: ArrayLike | Sequence[float] | None = None,
    valid: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Return clDice, ``1 - 2 Tprec Tsens / (Tprec + Tsens)``, in [0, 1].

    With S the soft skeleton, ``Tprec = (sum(S(p) t) + s) / (sum(S(p)) + s)`` and
    ``Tsens = (sum(S(t) p) + s) / (sum(S(t)) + s)``. It is meant as a part of a sum with Dice, for
    thin and branching things: the paper's loss is ``0.5*dice_prob+0.5*cldice``. Alone it is blind
    to a prediction that fills the whole image, which has no centre line. Each iteration costs some
    ten passes over the arrays, forward and backward. Arguments, cells and reductions are those of
    `segjax.losses.overlap`; pixels that do not count are background to both skeletons.
    """
    check_number("smooth", smooth)
    inputs = prepare(pred, target, pred_is=pred_is, classes=classes, valid=valid)
    probs, t = inputs.probs, inputs.target
    if inputs.counted is not None:
        probs = probs * inputs.counted
    axes = cell_axes(probs.ndim, over=over, per_class=per_class)
    line_p = soft_skeleton(probs, iterations=iterations)
    line_t = soft_skeleton(t, iterations=iterations)
    precision = divide(
        jnp.sum(line_p * t, axes) + smooth, jnp.sum(line_p, axes) + smooth, empty=1.0
    )
    sensitivity = divide(
        jnp.sum(line_t * probs, axes) + smooth, jnp.sum(line_t, axes) + smooth, empty=1.0
    )
    score = divide(2 * precision * sensitivity, precision + sensitivity, empty=0.0)
    weights = cell_weights(
        cell_sums(probs, t, inputs.counted, axes),
        inputs,
        per_class=per_class,
        absent=absent,
        class_weights=class_weights,
    )
    return reduce_cells(1 - score, weights, reduction)
