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
    """One loss: its name, what it reads, its settings with their defaults, and a line about it."""

    name: str
    reads: Reads
    parameters: Mapping[str, Value]
    summary: str


PARAMETERS: Mapping[str, Parameter] = {
    parameter.name: parameter
    for parameter in (
        Parameter("dice_scale", 20.0, "weight of the Dice term in combo = MSE + dice_scale * Dice"),
    )
}


def _spec(name: str, reads: Reads, parameters: Iterable[str], summary: str) -> LossSpec:
    return LossSpec(name, reads, {p: PARAMETERS[p].default for p in parameters}, summary)


LOSSES: Mapping[str, LossSpec] = {
    entry.name: entry
    for entry in (
        _spec("mse", "values", (), "mean squared error, the report's first loss"),
        _spec("dice", "values", (), "the report's Dice on raw values, whole batch flattened"),
        _spec("combo", "values", ("dice_scale",), "the report's MSE + dice_scale * Dice"),
    )
}


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
