"""From a loss's name on the command line to a function of outputs and targets."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
from jax.typing import ArrayLike

from segjax.errors import ConfigError
from segjax.loss_table import (
    LOSSES,
    LossSpec,
    Term,
    Value,
    check_pairing,
    parse,
    parse_class_weights,
    spec,
)
from segjax.losses import kaggle
from segjax.losses.compose import Weight, linear_weight, weighted_sum
from segjax.losses.compound import dice_ce, dice_focal, exp_log, unified_focal
from segjax.losses.distance import boundary, hausdorff
from segjax.losses.entropy import bce, cross_entropy, focal, topk
from segjax.losses.lovasz import lovasz_hinge, lovasz_softmax
from segjax.losses.overlap import (
    dice_prob,
    focal_tversky,
    generalized_dice,
    jaccard,
    log_cosh_dice,
    mcc,
    tversky,
)
from segjax.losses.regression import combo, dice, mse
from segjax.losses.topology import cldice

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


_KEYWORDS: Mapping[str, str] = {  # flag -> keyword, where all losses agree
    "dice_scale": "dice_scale",
    "loss_smooth": "smooth",
    "loss_over": "over",
    "loss_per_class": "per_class",
    "loss_absent": "absent",
    "loss_class_weights": "class_weights",
    "label_smoothing": "label_smoothing",
    "bce_fp": "fp_weight",
    "bce_fn": "fn_weight",
    "focal_gamma": "gamma",
    "focal_fp": "fp_weight",
    "focal_fn": "fn_weight",
    "tversky_fp": "fp_weight",
    "tversky_fn": "fn_weight",
    "tversky_exponent": "exponent",
    "dice_weight": "dice_weight",
    "ce_weight": "ce_weight",
    "focal_weight": "focal_weight",
    "dice_squared": "squared",
    "topk_fraction": "fraction",
    "exp_log_gamma": "gamma",
    "exp_log_dice": "dice_weight",
    "exp_log_ce": "ce_weight",
    "unified_focal": "focal_weight",
    "unified_fn": "fn_weight",
    "unified_gamma": "gamma",
    "unified_variant": "variant",
    "distance_unit": "unit",
    "hausdorff_power": "power",
    "cldice_iterations": "iterations",
    "kaggle_alpha": "alpha",
    "kaggle_combo_alpha": "alpha",
}

_LOGITS = {"pred_is": "logits"}
_INDEPENDENT = {"pred_is": "logits", "classes": "independent"}
_EXCLUSIVE = {"pred_is": "logits", "classes": "exclusive"}

_BOTH: tuple[tuple[str, str, Callable[..., jax.Array]], ...] = (  # sigmoid's name, softmax's name
    ("dice_prob", "dice_softmax", dice_prob),
    ("jaccard", "jaccard_softmax", jaccard),
    ("tversky", "tversky_softmax", tversky),
    ("focal_tversky", "focal_tversky_softmax", focal_tversky),
    ("log_cosh_dice", "log_cosh_dice_softmax", log_cosh_dice),
    ("generalized_dice", "generalized_dice_softmax", generalized_dice),
    ("mcc", "mcc_softmax", mcc),
    ("focal", "focal_softmax", focal),
    ("bce_dice", "dice_ce", dice_ce),
    ("dice_focal", "dice_focal_softmax", dice_focal),
    ("exp_log", "exp_log_softmax", exp_log),
    ("unified_focal", "unified_focal_softmax", unified_focal),
    ("topk_bce", "topk_ce", topk),
    ("boundary", "boundary_softmax", boundary),
    ("hausdorff", "hausdorff_softmax", hausdorff),
    ("cldice", "cldice_softmax", cldice),
)

# name -> (function, what is fixed)
_FUNCTIONS: Mapping[str, tuple[Callable[..., jax.Array], Mapping[str, Any]]] = {
    "mse": (mse, {}),
    "dice": (dice, {}),
    "combo": (combo, {}),
    "bce": (bce, _LOGITS),
    "ce": (cross_entropy, _LOGITS),
    "lovasz_hinge": (lovasz_hinge, _LOGITS),
    "lovasz_softmax": (lovasz_softmax, _EXCLUSIVE),
    **{name: (function, _INDEPENDENT) for name, _, function in _BOTH},
    **{name: (function, _EXCLUSIVE) for _, name, function in _BOTH},
    "kaggle_bce": (kaggle.bce, _LOGITS),
    "kaggle_dice": (kaggle.dice, _LOGITS),
    "kaggle_bce_dice": (kaggle.bce_dice, _LOGITS),
    "kaggle_jaccard": (kaggle.jaccard, _LOGITS),
    "kaggle_focal": (kaggle.focal, _LOGITS),
    "kaggle_tversky": (kaggle.tversky, _LOGITS),
    "kaggle_focal_tversky": (kaggle.focal_tversky, _LOGITS),
    "kaggle_lovasz": (kaggle.lovasz_hinge, _LOGITS),
    "kaggle_combo": (kaggle.combo, _LOGITS),
}


def _make_term(term: Term, parameters: Mapping[str, Value]) -> Callable[..., jax.Array]:
    function, fixed = _FUNCTIONS[term.name]
    settings = dict(LOSSES[term.name].parameters)
    settings.update({k: v for k, v in parameters.items() if k in settings})
    bound: dict[str, Any] = {_KEYWORDS[flag]: value for flag, value in settings.items()}
    if "class_weights" in bound:
        bound["class_weights"] = parse_class_weights(bound["class_weights"])

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
