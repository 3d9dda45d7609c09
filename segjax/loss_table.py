"""The losses that the command line knows, by name: what each reads and which settings it has.

This is a table, free of jax, so that the flags and their help can be made from it quickly.
`segjax.losses.make_loss` turns its rows into functions.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from segjax.errors import ConfigError

Reads = Literal["values", "sigmoid", "softmax"]
Value = float | int | bool | str

READS_HELP: Mapping[Reads, str] = {
    "values": "raw outputs against the mask values of the file",
    "sigmoid": "one logit per class against masks of 0 and 1; classes may overlap (multilabel)",
    "softmax": "logits, background first, against integer labels; one class a pixel (multiclass)",
}


@dataclass(frozen=True)
class Parameter:
    """One setting of one or more losses: a flag, and the functions' keyword for it."""

    name: str
    keyword: str
    default: Value
    help: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class LossSpec:
    """One loss by name: what it reads, which function it is, its settings, a line about it."""

    name: str
    reads: Reads
    function: str  # one of `segjax.losses`, with its module, called with `fixed` and the settings
    fixed: Mapping[str, str]
    parameters: Mapping[str, Value]
    summary: str
    # Why value and gradient take longer than two passes of a mean squared error over the same
    # arrays, in the words of `scripts/docs/losses.py`, which measures it; empty if they do not.
    cost: str = ""


# Name, which is also the flag; the functions' keyword; default; help; choices.
# fmt: off
_SETTINGS: tuple[tuple[Any, ...], ...] = (
    ("dice_scale", "dice_scale", 20.0,
     "weight of the Dice term in combo = MSE + dice_scale * Dice"),
    ("loss_smooth", "smooth", 1.0, "added once above and once below in overlap losses"),
    ("loss_over", "over", "sample",
     "what overlap losses sum over: each sample, or the whole batch", ("sample", "batch")),
    ("loss_per_class", "per_class", True, "overlap losses per class, then averaged; or together"),
    ("loss_absent", "absent", "count",
     "classes without a target pixel: count them in the mean, or skip them", ("count", "skip")),
    ("loss_class_weights", "class_weights", "",
     "weights of the classes, such as 1,1,2,3,3 (only ratios count), or from the training masks: "
     "balanced or median"),
    ("label_smoothing", "label_smoothing", 0.0,
     "share of the target spread evenly in cross-entropies"),
    ("bce_fp", "fp_weight", 1.0, "weight of background pixels in bce"),
    ("bce_fn", "fn_weight", 1.0, "weight of foreground pixels in bce"),
    ("focal_gamma", "gamma", 2.0, "focal loss: exponent of 1 - p_t"),
    ("focal_fp", "fp_weight", 1.0, "focal loss: weight of background pixels (Lin: 0.75)"),
    ("focal_fn", "fn_weight", 1.0, "focal loss: weight of foreground pixels (Lin: 0.25)"),
    ("tversky_fp", "fp_weight", 0.3, "Tversky: weight of false positives (Salehi's alpha)"),
    ("tversky_fn", "fn_weight", 0.7, "Tversky: weight of false negatives (Salehi's beta)"),
    ("tversky_exponent", "exponent", 0.75,
     "focal Tversky: (1 - index) ** this, 1 / gamma of the paper"),
    ("dice_weight", "dice_weight", 1.0, "weight of Dice in bce_dice, dice_ce and dice_focal"),
    ("ce_weight", "ce_weight", 1.0, "weight of the cross-entropy in bce_dice and dice_ce"),
    ("focal_weight", "focal_weight", 1.0, "weight of the focal loss in dice_focal"),
    ("dice_squared", "squared", False, "Dice with squares in the denominator"),
    ("topk_fraction", "fraction", 0.1, "share of the pixels, the hardest, that topk losses keep"),
    ("exp_log_gamma", "gamma", 0.3, "exponential logarithmic loss: exponent of both logarithms"),
    ("exp_log_dice", "dice_weight", 0.8, "exponential logarithmic loss: weight of the Dice part"),
    ("exp_log_ce", "ce_weight", 0.2, "exponential logarithmic loss: weight of the entropy part"),
    ("unified_focal", "focal_weight", 0.5,
     "unified focal: share of the focal part, against Tversky"),
    ("unified_fn", "fn_weight", 0.6, "unified focal: weight of false negatives (delta)"),
    ("unified_gamma", "gamma", 0.5, "unified focal: how much is focused, below 1"),
    ("unified_variant", "variant", "asymmetric",
     "unified focal: focus on all classes, or not against rare ones", ("asymmetric", "symmetric")),
    ("distance_unit", "unit", "pixels",
     "distance maps in pixels, or as shares of the image's diagonal", ("pixels", "diagonal")),
    ("hausdorff_power", "power", 2.0, "Hausdorff: exponent of the distances (alpha)"),
    ("cldice_iterations", "iterations", 3, "clDice: erosions, at least half the widest object"),
    ("kaggle_alpha", "alpha", 0.8, "kaggle_focal: its factor alpha"),
    ("kaggle_combo_alpha", "alpha", 0.5,
     "kaggle_combo: its alpha, below 0.5 against false positives"),
)
# fmt: on
PARAMETERS: Mapping[str, Parameter] = {row[0]: Parameter(*row) for row in _SETTINGS}

_CELLS = ("loss_smooth", "loss_over", "loss_per_class", "loss_absent", "loss_class_weights")
_SORTED = ("loss_over", "loss_per_class", "loss_absent", "loss_class_weights")
_CLASSES = ("loss_smooth", "loss_over", "loss_absent")
_TVERSKY = ("tversky_fp", "tversky_fn")

_SOFTMAX = "softmax: a maximum, exponentials and a sum over the classes of each pixel"
_FOCUS = "exponential, logarithm and quotient of each element, in value and gradient"
_POWER = f"{_SOFTMAX}; a power of each pixel"
_ENTROPY_DICE = "exponential and logarithm of each element, and Dice's sums"
_SORT = "sorts the pixels of each cell by their errors"
_MAP = "distance map of the target: one addition per pixel and column"
_MAPS = "distance maps of target and prediction: one addition per pixel and column"
_MINIMA = "32 minima and maxima over neighbours, and 16 gradients"
_LOVASZ = "convex surrogate of IoU; costs a sort of the pixels"


def _row(
    name: str,
    reads: Reads,
    function: str,
    parameters: Iterable[str],
    summary: str,
    cost: str = "",
    classes: str = "",
) -> LossSpec:
    fixed = {} if reads == "values" else {"pred_is": "logits"}
    if classes:
        fixed["classes"] = classes
    defaults = {p: PARAMETERS[p].default for p in parameters}
    return LossSpec(name, reads, function, fixed, defaults, summary, cost)


def _pair(
    names: str,
    function: str,
    parameters: Iterable[str],
    summary: str,
    cost: str = "",
    softmax_cost: str = _SOFTMAX,
    *,
    own: tuple[str, ...] = (),
) -> tuple[LossSpec, LossSpec]:
    """Return the rows of one function: on a sigmoid, with settings of its `own`; on a softmax."""
    multilabel, multiclass = names.split(", ")
    return (
        _row(multilabel, "sigmoid", function, (*parameters, *own), summary, cost, "multilabel"),
        _row(multiclass, "softmax", function, parameters, summary, softmax_cost, "multiclass"),
    )


def _kaggle(
    name: str, function: str, parameters: Iterable[str], text: str, cost: str = ""
) -> LossSpec:
    summary = f"the Kaggle library's {text}, batch as one"
    return _row(f"kaggle_{name}", "sigmoid", f"kaggle.{function}", parameters, summary, cost)


# fmt: off
_PAIRS = (
    _pair("dice_prob, dice_softmax", "overlap.dice_prob", ("dice_squared", *_CELLS),
          "Dice on probabilities"),
    _pair("jaccard, jaccard_softmax", "overlap.jaccard", _CELLS, "Jaccard (IoU)"),
    _pair("tversky, tversky_softmax", "overlap.tversky", (*_TVERSKY, *_CELLS),
          "Tversky: Dice with uneven errors"),
    _pair("focal_tversky, focal_tversky_softmax", "overlap.focal_tversky",
          ("tversky_exponent", *_TVERSKY, *_CELLS), "Tversky to a power: more for hard cells"),
    _pair("log_cosh_dice, log_cosh_dice_softmax", "overlap.log_cosh_dice", _CELLS,
          "log(cosh(Dice)): smooth at its end"),
    _pair("generalized_dice, generalized_dice_softmax", "overlap.generalized_dice", _CLASSES,
          "Dice over all classes, weighted by their inverse squared size"),
    _pair("mcc, mcc_softmax", "overlap.mcc", _CELLS,
          "Matthews correlation: counts the background too"),
    _pair("focal, focal_softmax", "entropy.focal", ("focal_gamma", "loss_class_weights"),
          "cross-entropy that fades on easy pixels", _FOCUS, _POWER,
          own=("focal_fp", "focal_fn")),
    _pair("bce_dice, dice_ce", "compound.dice_ce",
          ("dice_weight", "ce_weight", "label_smoothing", *_CELLS),
          "cross-entropy + Dice", _ENTROPY_DICE, f"{_SOFTMAX}; Dice's sums"),
    _pair("dice_focal, dice_focal_softmax", "compound.dice_focal",
          ("dice_weight", "focal_weight", "focal_gamma", *_CELLS),
          "focal + Dice", f"{_FOCUS}; Dice's sums", f"{_POWER}; Dice's sums",
          own=("focal_fp", "focal_fn")),
    _pair("exp_log, exp_log_softmax", "compound.exp_log",
          ("exp_log_gamma", "exp_log_dice", "exp_log_ce", *_CLASSES, "loss_class_weights"),
          "powers of log Dice and of the cross-entropy",
          "two exponentials and two logarithms of each element, and Dice's sums",
          f"{_POWER}; Dice's sums"),
    _pair("unified_focal, unified_focal_softmax", "compound.unified_focal",
          ("unified_focal", "unified_fn", "unified_gamma", "unified_variant", *_CLASSES),
          "focal + focal Tversky under common settings",
          f"{_FOCUS}; a root of each; Tversky's sums of both sides",
          f"{_POWER}; Tversky's sums"),
    _pair("topk_bce, topk_ce", "entropy.topk", ("topk_fraction", "loss_over"),
          "cross-entropy of the hardest pixels",
          "compares all elements 31 times to find the threshold",
          f"{_SOFTMAX}; compares all pixels 31 times to find the threshold"),
    (
        _row("lovasz_hinge", "sigmoid", "lovasz.lovasz_hinge", _SORTED, _LOVASZ, _SORT),
        _row("lovasz_softmax", "softmax", "lovasz.lovasz_softmax", _SORTED, _LOVASZ, _SORT),
    ),
    _pair("boundary, boundary_softmax", "distance.boundary",
          ("distance_unit", "loss_class_weights"),
          "signed distance to the border; use in a sum; costs a distance map", _MAP, _MAP),
    _pair("hausdorff, hausdorff_softmax", "distance.hausdorff",
          ("hausdorff_power", "distance_unit", "loss_class_weights"),
          "errors by their distance to both borders; costs two distance maps", _MAPS, _MAPS),
    _pair("cldice, cldice_softmax", "topology.cldice", ("cldice_iterations", *_CELLS),
          "overlap of centre lines, for thin things; use in a sum", _MINIMA, _MINIMA),
)
_ROWS = (
    _row("mse", "values", "regression.mse", (), "mean squared error, the report's first loss"),
    _row("dice", "values", "regression.dice", (),
         "the report's Dice on raw values, whole batch flattened"),
    _row("combo", "values", "regression.combo", ("dice_scale",),
         "the report's MSE + dice_scale * Dice"),
    _row("bce", "sigmoid", "entropy.bce",
         ("label_smoothing", "bce_fp", "bce_fn", "loss_class_weights"), "binary cross-entropy"),
    _row("ce", "softmax", "entropy.cross_entropy", ("label_smoothing", "loss_class_weights"),
         "cross-entropy", _SOFTMAX),
    *(row for row, _ in _PAIRS),
    *(row for _, row in _PAIRS),
    _kaggle("bce", "bce", (), "BCE"),
    _kaggle("dice", "dice", (), "Dice"),
    _kaggle("bce_dice", "bce_dice", (), "BCE + Dice", _ENTROPY_DICE),
    _kaggle("jaccard", "jaccard", (), "Jaccard"),
    _kaggle("focal", "focal", ("kaggle_alpha", "focal_gamma"), "focal loss of the batch's mean"),
    _kaggle("tversky", "tversky", (), "Tversky with 0.5 and 0.5"),
    _kaggle("focal_tversky", "focal_tversky", (), "focal Tversky with an exponent of 1"),
    _kaggle("lovasz", "lovasz_hinge", (), "Lovasz hinge", _SORT),
    _kaggle("combo", "combo", ("kaggle_combo_alpha",), "weighted BCE - Dice",
            "exponential and two logarithms of each element, and Dice's sums"),
)
# fmt: on
LOSSES: Mapping[str, LossSpec] = {row.name: row for row in _ROWS}


# Rules that `segjax.training.class_weights` turns into numbers once it has seen the training masks.
CLASS_WEIGHT_RULES = ("balanced", "median")


def parse_class_weights(text: str) -> tuple[float, ...] | None:
    """Read ``1,1,2.5``; empty text is None.

    Raises:
      ConfigError: not numbers, negative, or all zero.
    """
    if not text.strip():
        return None
    try:
        weights = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(
            f"--loss_class_weights={text}: must be numbers such as 1,1,2.5, or "
            f"one of {', '.join(CLASS_WEIGHT_RULES)}"
        ) from None
    if min(weights) < 0 or sum(weights) <= 0 or not sum(weights) < float("inf"):
        raise ConfigError(f"--loss_class_weights={text}: must be >= 0 and not all zero")
    return weights


@dataclass(frozen=True)
class Term:
    """One term of a sum of losses; its weight goes from `start` to `end` over `steps`."""

    name: str
    start: float
    end: float
    steps: int


_NUMBER = r"[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?"
_TERM = re.compile(
    rf"(?:(?:(?P<weight>{_NUMBER})"
    rf"|linear\((?P<start>{_NUMBER}),(?P<end>{_NUMBER}),(?P<steps>[0-9]+)\))\*)?"
    r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
)


def parse(expression: str) -> tuple[Term, ...]:
    """Read a sum of losses such as ``bce+0.5*dice_prob`` or ``dice_prob+linear(0,1,500)*boundary``.

    Raises:
      ConfigError: the expression cannot be read, names an unknown loss (with the close matches),
        names one twice, or mixes losses that read different things.
    """
    text = re.sub(r"\s+", "", expression)
    terms: list[Term] = []
    position = 0
    while not terms or position < len(text):
        if terms and text[position] != "+":
            raise ConfigError(f"--loss={expression}: expected + before {text[position:]!r}")
        position += bool(terms)
        match = _TERM.match(text, position)
        if match is None:
            raise ConfigError(
                f"--loss={expression}: cannot read {text[position:] or 'the end'!r}; write a name "
                "or a sum such as bce+0.5*dice_prob or dice_prob+linear(0,1,500)*boundary"
            )
        name = match["name"]
        if name not in LOSSES:
            near = difflib.get_close_matches(name, LOSSES, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            raise ConfigError(f"unknown loss {name!r}: {hint}known are {', '.join(sorted(LOSSES))}")
        if any(term.name == name for term in terms):
            raise ConfigError(f"--loss={expression}: {name} is in the sum twice; add its weights")
        if match["steps"] is not None and int(match["steps"]) == 0:
            raise ConfigError(f"--loss={expression}: linear(...) needs at least 1 step")
        start, end = (float(match[key] or match["weight"] or 1) for key in ("start", "end"))
        terms.append(Term(name, start, end, int(match["steps"] or 0)))
        position = match.end()
    first = terms[0].name
    for term in terms[1:]:
        if LOSSES[term.name].reads != LOSSES[first].reads:
            raise ConfigError(
                f"--loss={expression}: {first} reads {READS_HELP[LOSSES[first].reads]}, but "
                f"{term.name} reads {READS_HELP[LOSSES[term.name].reads]}; one network output "
                "cannot be both"
            )
    return tuple(terms)


def spec(name: str) -> LossSpec:
    """Return the row of one loss, or of a sum, which has the settings of all its terms.

    Raises:
      ConfigError: as `parse`.
    """
    terms = parse(name)
    rows = [LOSSES[term.name] for term in terms]
    if len(rows) == 1 and terms[0].start == terms[0].end == 1.0:
        return rows[0]
    parameters = {key: value for row in rows for key, value in row.parameters.items()}
    summary = " + ".join(row.summary for row in rows)
    return LossSpec(name, rows[0].reads, "", {}, parameters, summary)
