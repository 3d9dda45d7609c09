"""From a loss's name on the command line to a function of outputs and targets."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
from jax.typing import ArrayLike

from segjax.errors import ConfigError
from segjax.loss_table import LOSSES, LossSpec, Term, Value, check_pairing, parse, spec
from segjax.losses.compose import Weight, linear_weight, weighted_sum
from segjax.losses.regression import combo, dice, mse

__all__ = ["LOSSES", "LossSpec", "NamedLoss", "check_pairing", "make_loss", "parse", "spec"]


class NamedLoss(Protocol):
    """A loss made by `make_loss`."""

    def __call__(
        self,
        outputs: ArrayLike,
        targets: ArrayLike,
        /,
        *,
        valid: ArrayLike | None = None,
        step: ArrayLike = 0,
    ) -> jax.Array:
        """Return the scalar loss of raw network outputs [B, H, W, C]."""


# name -> (function, what is fixed, flag -> keyword of the function)
_FUNCTIONS: Mapping[str, tuple[Callable[..., jax.Array], Mapping[str, Any], Mapping[str, str]]] = {
    "mse": (mse, {}, {}),
    "dice": (dice, {}, {}),
    "combo": (combo, {}, {"dice_scale": "dice_scale"}),
}


def _keyword_value(value: Value) -> Any:
    return value


def _make_term(term: Term, parameters: Mapping[str, Value]) -> Callable[..., jax.Array]:
    function, fixed, keywords = _FUNCTIONS[term.name]
    settings = dict(LOSSES[term.name].parameters)
    settings.update({k: v for k, v in parameters.items() if k in settings})
    bound = {keywords[flag]: _keyword_value(value) for flag, value in settings.items()}

    def loss(
        outputs: ArrayLike, targets: ArrayLike, *, valid: ArrayLike | None = None
    ) -> jax.Array:
        return function(outputs, targets, valid=valid, **fixed, **bound)

    return loss


def make_loss(name: str, *, parameters: Mapping[str, Value] | None = None) -> NamedLoss:
    """Return the loss that `name` stands for.

    Args:
      name: a row of `segjax.loss_table`, or a sum of them such as ``bce+0.5*dice_prob``.
      parameters: settings by flag name; those left out have the table's defaults.

    Returns:
      ``loss(outputs, targets, *, valid=None, step=0) -> scalar``. outputs: the network's raw
      outputs [B, H, W, C]. targets, by what the loss reads: raw mask values [B, H, W, C] for
      'values', 0/1 [B, H, W, C] for 'sigmoid', integer labels with background 0 [B, H, W] for
      'softmax'. valid: bool [B, H, W] or None. step: for weights that change.

    Raises:
      ConfigError: unknown name, a setting that the loss does not have, or terms that cannot be
        summed.
    """
    given = dict(parameters or {})
    row = spec(name)
    for key in given:
        if key not in row.parameters:
            own = ", ".join(row.parameters) or "none"
            raise ConfigError(f"loss {name} has no setting {key!r}; it has {own}")
    terms = parse(name)
    weights: dict[str, Weight] = {
        term.name: (
            linear_weight(term.start, term.end, steps=term.steps) if term.steps else term.start
        )
        for term in terms
    }
    return weighted_sum(
        {term.name: (_make_term(term, given), weights[term.name]) for term in terms}
    )
