"""From a loss's name on the command line to a function of outputs and targets."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

from jax import Array

from segjax.errors import ConfigError
from segjax.loss_table import LOSSES, PARAMETERS, Term, Value, parse, parse_class_weights, spec
from segjax.losses.compose import WeightedSum, linear_weight, weighted_sum


def make_loss(name: str, *, parameters: Mapping[str, Value] | None = None) -> WeightedSum:
    """Return the loss that `name` stands for.

    Args:
      name: a row of `segjax.loss_table`, or a sum of them such as ``bce+0.5*dice_prob``.
      parameters: settings by flag name; those left out have the table's defaults.

    Returns:
      ``loss(outputs, targets, *, valid=None, step=0) -> scalar``. outputs: the network's raw
      outputs [B, H, W, C]. targets, by what the loss reads: raw mask values [B, H, W, C] for
      'values', 0/1 [B, H, W, C] for 'sigmoid', integer labels with background 0 [B, H, W] for
      'softmax'. valid: None, bool [B, H, W], or weights. step: for weights that change.

    Raises:
      ConfigError: unknown name, a setting that the loss does not have, or terms that cannot be
        summed.
    """
    given = dict(parameters or {})
    known = spec(name).parameters
    for key in given:
        if key not in known:
            own = ", ".join(known) or "none"
            raise ConfigError(f"loss {name} has no setting {key!r}; it has {own}")
    return weighted_sum({term.name: _part(term, given) for term in parse(name)})


def _part(term: Term, given: Mapping[str, Value]) -> tuple[Callable[..., Array], Any]:
    """Return the function of one term with its settings bound, and its weight."""
    row = LOSSES[term.name]
    module, function = row.function.split(".")
    bound: dict[str, Any] = dict(row.fixed)
    for flag, default in row.parameters.items():
        bound[PARAMETERS[flag].keyword] = given.get(flag, default)
    if "class_weights" in bound:
        bound["class_weights"] = parse_class_weights(bound["class_weights"])
    weight = linear_weight(term.start, term.end, steps=term.steps) if term.steps else term.start
    loss = partial(getattr(import_module(f"segjax.losses.{module}"), function), **bound)
    flags = {PARAMETERS[flag].keyword: flag for flag in row.parameters}

    def told_by_flag(*arrays: Any, **how: Any) -> Array:
        """Call the loss; an error names a setting as it was given."""
        try:
            return loss(*arrays, **how)
        except ConfigError as error:
            told = re.sub(r"^\w+", lambda first: flags.get(first[0], first[0]), str(error))
            raise ConfigError(told) from None

    return told_by_flag, weight
