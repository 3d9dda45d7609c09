"""The losses that the command line knows, by name: what each reads and which settings it has.

This is a table, free of jax, so that the flags and their help can be made from it quickly.
`segjax.losses.registry` turns its rows into functions.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from segjax.errors import ConfigError

Reads = Literal["values", "sigmoid", "softmax"]
Value = float | int | bool | str

READS_HELP: Mapping[Reads, str] = {
    "values": "raw outputs against the mask values of the file",
    "sigmoid": "one logit per class against masks of 0 and 1; classes may overlap",
    "softmax": "logits of exclusive classes, background first, against integer labels",
}


@dataclass(frozen=True)
class Parameter:
    """One setting of one or more losses; also one flag of the same name."""

    name: str
    default: Value
    help: str
    choices: tuple[str, ...] = ()

    @property
    def type(self) -> type[float] | type[int] | type[bool] | type[str]:
        """The Python type of the setting's values."""
        return type(self.default)


@dataclass(frozen=True)
class LossSpec:
    """One loss: its name, what it reads, its settings with their defaults, and a line about it.

    cost says why value and gradient take longer than two passes of a mean squared error over the
    same arrays, in the words of `scripts/losses_doc.py`, which measures it; empty if they do not.
    """

    name: str
    reads: Reads
    parameters: Mapping[str, Value]
    summary: str
    cost: str = ""


PARAMETERS: Mapping[str, Parameter] = {
    parameter.name: parameter
    for parameter in (
        Parameter("dice_scale", 20.0, "weight of the Dice term in combo = MSE + dice_scale * Dice"),
        Parameter("loss_smooth", 1.0, "added once above and once below in overlap losses"),
        Parameter(
            "loss_over",
            "sample",
            "what overlap losses sum over: each sample, or the whole batch",
            ("sample", "batch"),
        ),
        Parameter("loss_per_class", True, "overlap losses per class, then averaged; or together"),
        Parameter(
            "loss_absent",
            "count",
            "classes without a target pixel: count them in the mean, or skip them",
            ("count", "skip"),
        ),
        Parameter(
            "loss_class_weights",
            "",
            "weights of the classes, such as 1,1,2,3,3 (only ratios count), or from the training "
            "masks: balanced or median",
        ),
        Parameter("label_smoothing", 0.0, "share of the target spread evenly in cross-entropies"),
        Parameter("bce_fp", 1.0, "weight of background pixels in bce"),
        Parameter("bce_fn", 1.0, "weight of foreground pixels in bce"),
        Parameter("focal_gamma", 2.0, "focal loss: exponent of 1 - p_t"),
        Parameter("focal_fp", 1.0, "focal loss: weight of background pixels (Lin: 0.75)"),
        Parameter("focal_fn", 1.0, "focal loss: weight of foreground pixels (Lin: 0.25)"),
        Parameter("tversky_fp", 0.3, "Tversky: weight of false positives (Salehi's alpha)"),
        Parameter("tversky_fn", 0.7, "Tversky: weight of false negatives (Salehi's beta)"),
        Parameter(
            "tversky_exponent", 0.75, "focal Tversky: (1 - index) ** this, 1 / gamma of the paper"
        ),
        Parameter("dice_weight", 1.0, "weight of Dice in bce_dice, dice_ce and dice_focal"),
        Parameter("ce_weight", 1.0, "weight of the cross-entropy in bce_dice and dice_ce"),
        Parameter("focal_weight", 1.0, "weight of the focal loss in dice_focal"),
        Parameter("dice_squared", False, "Dice with squares in the denominator"),
        Parameter("topk_fraction", 0.1, "share of the pixels, the hardest, that topk losses keep"),
        Parameter(
            "exp_log_gamma", 0.3, "exponential logarithmic loss: exponent of both logarithms"
        ),
        Parameter("exp_log_dice", 0.8, "exponential logarithmic loss: weight of the Dice part"),
        Parameter("exp_log_ce", 0.2, "exponential logarithmic loss: weight of the entropy part"),
        Parameter("unified_focal", 0.5, "unified focal: share of the focal part, against Tversky"),
        Parameter("unified_fn", 0.6, "unified focal: weight of false negatives (delta)"),
        Parameter("unified_gamma", 0.5, "unified focal: how much is focused, below 1"),
        Parameter(
            "unified_variant",
            "asymmetric",
            "unified focal: focus on all classes, or not against rare ones",
            ("asymmetric", "symmetric"),
        ),
        Parameter(
            "distance_unit",
            "pixels",
            "distance maps in pixels, or as shares of the image's diagonal",
            ("pixels", "diagonal"),
        ),
        Parameter("hausdorff_power", 2.0, "Hausdorff: exponent of the distances (alpha)"),
        Parameter("cldice_iterations", 3, "clDice: erosions, at least half the widest object"),
        Parameter("kaggle_alpha", 0.8, "kaggle_focal: its factor alpha"),
        Parameter(
            "kaggle_combo_alpha", 0.5, "kaggle_combo: its alpha, below 0.5 against false positives"
        ),
    )
}


def _spec(name: str, reads: Reads, parameters: Iterable[str], summary: str) -> LossSpec:
    defaults = {p: PARAMETERS[p].default for p in parameters}
    return LossSpec(name, reads, defaults, summary, _COST.get(name, ""))


_SOFTMAX = "softmax: a maximum, exponentials and a sum over the classes of each pixel"
_FOCUS = "exponential, logarithm and quotient of each element, in value and gradient"
_SORT = "sorts the pixels of each cell by their errors"
_COST: Mapping[str, str] = {
    "focal": _FOCUS,
    "dice_focal": f"{_FOCUS}; Dice's sums",
    "bce_dice": "exponential and logarithm of each element, and Dice's sums",
    "kaggle_bce_dice": "exponential and logarithm of each element, and Dice's sums",
    "kaggle_combo": "exponential and two logarithms of each element, and Dice's sums",
    "exp_log": "two exponentials and two logarithms of each element, and Dice's sums",
    "unified_focal": f"{_FOCUS}; a root of each; Tversky's sums of both sides",
    "ce": _SOFTMAX,
    **{
        f"{name}_softmax": _SOFTMAX
        for name in (
            "dice",
            "jaccard",
            "tversky",
            "focal_tversky",
            "log_cosh_dice",
            "generalized_dice",
            "mcc",
        )
    },
    "focal_softmax": f"{_SOFTMAX}; a power of each pixel",
    "dice_ce": f"{_SOFTMAX}; Dice's sums",
    "dice_focal_softmax": f"{_SOFTMAX}; a power of each pixel; Dice's sums",
    "exp_log_softmax": f"{_SOFTMAX}; a power of each pixel; Dice's sums",
    "unified_focal_softmax": f"{_SOFTMAX}; a power of each pixel; Tversky's sums",
    "topk_bce": "compares all elements 31 times to find the threshold",
    "topk_ce": f"{_SOFTMAX}; compares all pixels 31 times to find the threshold",
    "lovasz_hinge": _SORT,
    "lovasz_softmax": _SORT,
    "kaggle_lovasz": _SORT,
    **dict.fromkeys(
        ("boundary", "boundary_softmax"),
        "distance map of the target: one addition per pixel and column",
    ),
    **dict.fromkeys(
        ("hausdorff", "hausdorff_softmax"),
        "distance maps of target and prediction: one addition per pixel and column",
    ),
    **dict.fromkeys(
        ("cldice", "cldice_softmax"), "32 minima and maxima over neighbours, and 16 gradients"
    ),
}


_CELLS = ("loss_smooth", "loss_over", "loss_per_class", "loss_absent", "loss_class_weights")
_SORTED = ("loss_over", "loss_per_class", "loss_absent", "loss_class_weights")
_CLASSES = ("loss_smooth", "loss_over", "loss_absent")
_TVERSKY = ("tversky_fp", "tversky_fn")
_WEIGHTS = ("loss_class_weights",)

# Of each: name, name with a softmax, settings of both, settings of the first alone, summary.
_BOTH: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...], str], ...] = (
    ("dice_prob", "dice_softmax", ("dice_squared", *_CELLS), (), "Dice on probabilities"),
    ("jaccard", "jaccard_softmax", _CELLS, (), "Jaccard (IoU)"),
    ("tversky", "tversky_softmax", (*_TVERSKY, *_CELLS), (), "Tversky: Dice with uneven errors"),
    (
        "focal_tversky",
        "focal_tversky_softmax",
        ("tversky_exponent", *_TVERSKY, *_CELLS),
        (),
        "Tversky to a power: more for hard cells",
    ),
    ("log_cosh_dice", "log_cosh_dice_softmax", _CELLS, (), "log(cosh(Dice)): smooth at its end"),
    (
        "generalized_dice",
        "generalized_dice_softmax",
        _CLASSES,
        (),
        "Dice over all classes, weighted by their inverse squared size",
    ),
    ("mcc", "mcc_softmax", _CELLS, (), "Matthews correlation: counts the background too"),
    (
        "focal",
        "focal_softmax",
        ("focal_gamma", *_WEIGHTS),
        ("focal_fp", "focal_fn"),
        "cross-entropy that fades on easy pixels",
    ),
    (
        "bce_dice",
        "dice_ce",
        ("dice_weight", "ce_weight", "label_smoothing", *_CELLS),
        (),
        "cross-entropy + Dice",
    ),
    (
        "dice_focal",
        "dice_focal_softmax",
        ("dice_weight", "focal_weight", "focal_gamma", *_CELLS),
        (),
        "focal + Dice",
    ),
    (
        "exp_log",
        "exp_log_softmax",
        ("exp_log_gamma", "exp_log_dice", "exp_log_ce", *_CLASSES, *_WEIGHTS),
        (),
        "powers of log Dice and of the cross-entropy",
    ),
    (
        "unified_focal",
        "unified_focal_softmax",
        ("unified_focal", "unified_fn", "unified_gamma", "unified_variant", *_CLASSES),
        (),
        "focal + focal Tversky under common settings",
    ),
    (
        "topk_bce",
        "topk_ce",
        ("topk_fraction", "loss_over"),
        (),
        "cross-entropy of the hardest pixels",
    ),
    (
        "lovasz_hinge",
        "lovasz_softmax",
        _SORTED,
        (),
        "convex surrogate of IoU; costs a sort of the pixels",
    ),
    (
        "boundary",
        "boundary_softmax",
        ("distance_unit", *_WEIGHTS),
        (),
        "signed distance to the border; use in a sum; costs a distance map",
    ),
    (
        "hausdorff",
        "hausdorff_softmax",
        ("hausdorff_power", "distance_unit", *_WEIGHTS),
        (),
        "errors by their distance to both borders; costs two distance maps",
    ),
    (
        "cldice",
        "cldice_softmax",
        ("cldice_iterations", *_CELLS),
        (),
        "overlap of centre lines, for thin things; use in a sum",
    ),
)

LOSSES: Mapping[str, LossSpec] = {
    entry.name: entry
    for entry in (
        _spec("mse", "values", (), "mean squared error, the report's first loss"),
        _spec("dice", "values", (), "the report's Dice on raw values, whole batch flattened"),
        _spec("combo", "values", ("dice_scale",), "the report's MSE + dice_scale * Dice"),
        _spec(
            "bce",
            "sigmoid",
            ("label_smoothing", "bce_fp", "bce_fn", *_WEIGHTS),
            "binary cross-entropy",
        ),
        _spec("ce", "softmax", ("label_smoothing", *_WEIGHTS), "cross-entropy"),
        *(_spec(a, "sigmoid", (*both, *own), text) for a, _, both, own, text in _BOTH),
        *(_spec(b, "softmax", both, text) for _, b, both, _, text in _BOTH),
        *(
            _spec(f"kaggle_{name}", "sigmoid", own, f"the Kaggle library's {text}, batch as one")
            for name, own, text in (
                ("bce", (), "BCE"),
                ("dice", (), "Dice"),
                ("bce_dice", (), "BCE + Dice"),
                ("jaccard", (), "Jaccard"),
                ("focal", ("kaggle_alpha", "focal_gamma"), "focal loss of the batch's mean"),
                ("tversky", (), "Tversky with 0.5 and 0.5"),
                ("focal_tversky", (), "focal Tversky with an exponent of 1"),
                ("lovasz", (), "Lovasz hinge"),
                ("combo", ("kaggle_combo_alpha",), "weighted BCE - Dice"),
            )
        ),
    )
}


# Rules that `segjax.training.class_weights` turns into numbers once it has seen the training masks.
CLASS_WEIGHT_RULES = ("balanced", "median")


def check_class_weights(text: str) -> None:
    """Raise ConfigError unless ``text`` is empty, a rule, or numbers."""
    if text.strip() not in CLASS_WEIGHT_RULES:
        parse_class_weights(text)


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
    while True:
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
        if match["steps"] is not None:
            if int(match["steps"]) == 0:
                raise ConfigError(f"--loss={expression}: linear(...) needs at least 1 step")
            terms.append(
                Term(name, float(match["start"]), float(match["end"]), int(match["steps"]))
            )
        else:
            weight = float(match["weight"] or 1.0)
            terms.append(Term(name, weight, weight, 0))
        position = match.end()
        if position == len(text):
            break
        if text[position] != "+":
            raise ConfigError(f"--loss={expression}: expected + before {text[position:]!r}")
        position += 1
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
    """Return the row of one loss, or of a sum such as ``bce+0.5*dice_prob``.

    A sum has the settings of all its terms.

    Raises:
      ConfigError: as `parse`.
    """
    terms = parse(name)
    rows = [LOSSES[term.name] for term in terms]
    if len(rows) == 1 and terms[0].start == terms[0].end == 1.0:
        return rows[0]
    parameters = {key: value for row in rows for key, value in row.parameters.items()}
    summary = " + ".join(row.summary for row in rows)
    return LossSpec(name, rows[0].reads, parameters, summary)


def check_pairing(name: str, targets_max: float, *, classes: int | None = None) -> None:
    """Refuse targets that the named loss cannot be given.

    Args:
      name: a loss, or a sum of losses.
      targets_max: the largest target value: 250 for the files' masks, 1 for 0/1 masks.
      classes: for losses on labels, how many outputs the network has, background included.

    Raises:
      ConfigError: a loss on probabilities would get targets above 1, or labels that no output has.
    """
    reads = spec(name).reads
    if reads == "sigmoid" and targets_max > 1:
        raise ConfigError(
            f"loss {name} compares probabilities with masks of 0 and 1, but these targets go up to "
            f"{targets_max:g}: use 0/1 targets, or a loss on values (mse, dice, combo)"
        )
    if reads == "softmax" and classes is not None and targets_max >= classes:
        raise ConfigError(
            f"loss {name} reads integer labels below {classes} (one output per class, background "
            f"0), but these targets go up to {targets_max:g}: give labels, or use a loss on "
            "values (mse, dice, combo)"
        )
