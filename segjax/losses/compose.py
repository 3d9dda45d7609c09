"""Sums of losses, with weights that are numbers or change with the training step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from segjax.errors import ConfigError

Loss = Callable[..., jax.Array]
Schedule = Callable[[ArrayLike], ArrayLike]
Weight = float | Schedule


@dataclass(frozen=True, eq=False)  # eq=False: hashable, so jit may take it as static
class WeightedSum:
    """A weighted sum of losses; call it as any loss, with `step` if its weights move."""

    parts: Mapping[str, tuple[Loss, Weight]]

    def terms(
        self, pred: ArrayLike, target: ArrayLike, *, step: ArrayLike = 0, **keywords: Any
    ) -> dict[str, jax.Array]:
        """Return each part's weighted value, by name; the loss is their sum."""
        values = {}
        for name, (loss, weight) in self.parts.items():
            value = loss(pred, target, **keywords)
            scale = weight(step) if callable(weight) else weight
            values[name] = jnp.asarray(scale, value.dtype) * value
        return values

    def __call__(
        self, pred: ArrayLike, target: ArrayLike, *, step: ArrayLike = 0, **keywords: Any
    ) -> jax.Array:
        """Return the sum; `keywords` (such as valid) go to every part."""
        terms = list(self.terms(pred, target, step=step, **keywords).values())
        return sum(terms[1:], start=terms[0])


def weighted_sum(parts: Mapping[str, tuple[Loss, Weight]]) -> WeightedSum:
    """Return the loss ``sum_i weight_i(step) * loss_i(pred, target)``.

    Args:
      parts: name -> (loss, weight). The loss is called as ``loss(pred, target, **keywords)``; bind
        its settings with `functools.partial`. The weight is a number, or a function from the step
        to a number, such as an optax schedule or `linear_weight`.

    Returns:
      A callable ``(pred, target, *, step=0, **keywords)``; its `terms` gives the parts by name.

    Raises:
      ConfigError: no parts, or a part that is not (loss, weight).
    """
    if not parts:
        raise ConfigError("weighted_sum needs at least one part")
    for name, part in parts.items():
        if not (isinstance(part, tuple) and len(part) == 2 and callable(part[0])):
            raise ConfigError(f"weighted_sum part {name!r}: must be (loss, weight)")
        if not callable(part[1]) and not isinstance(part[1], (int, float, jax.Array)):
            raise ConfigError(f"weighted_sum part {name!r}: weight must be a number or a schedule")
    return WeightedSum(MappingProxyType(dict(parts)))


def linear_weight(start: float, end: float, *, steps: int) -> Schedule:
    """Return the schedule that goes from `start` at step 0 to `end` at `steps`, and stays there."""
    if steps < 1:
        raise ConfigError(f"steps={steps}: must be >= 1")

    def weight(step: ArrayLike) -> jax.Array:
        done = jnp.clip(jnp.asarray(step).astype(jnp.float32) / steps, 0.0, 1.0)
        return start + (end - start) * done

    return weight
