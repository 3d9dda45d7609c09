"""The augmentations that the command line knows, by name: a table, free of jax.

`segjax.training.augment` turns its rows into functions.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass

from segjax.errors import ConfigError

OUTSIDE = ("ignore", "background", "reflect")
INTERPOLATION = ("bilinear", "nearest")


@dataclass(frozen=True)
class AugmentSpec:
    """One augmentation: its name, its strength's default and range, and a line about it.

    Attributes:
      name: as on the command line.
      default: strength where none is given; None: it has no strength.
      low: lowest strength.
      high: highest strength.
      unit: what the strength measures.
      summary: what is drawn for each image.
    """

    name: str
    default: float | None
    low: float
    high: float
    unit: str
    summary: str


# The order is the one in which they are applied, whatever the order of the names.
AUGMENTATIONS: Mapping[str, AugmentSpec] = {
    row.name: row
    for row in (
        AugmentSpec(
            "recolour",
            None,
            0,
            0,
            "",
            "a new random colour for each colour inside the masks; for flat-coloured drawings",
        ),
        AugmentSpec("flip", None, 0, 0, "", "mirrored left to right, or not"),
        AugmentSpec("flip_vertical", None, 0, 0, "", "mirrored top to bottom, or not"),
        AugmentSpec("rotate90", None, 0, 0, "", "turned by 0, 90, 180 or 270 degrees, exactly"),
        AugmentSpec(
            "crop",
            0.8,
            0.1,
            1,
            "side",
            "a window of a random side, at least this share of the image's, enlarged to its size",
        ),
        AugmentSpec(
            "scale",
            0.25,
            0,
            4,
            "factor - 1",
            "enlarged or shrunk about the centre by a factor from 1 / (1 + s) to 1 + s",
        ),
        AugmentSpec("rotate", 15.0, 0, 180, "degrees", "turned by an angle from -s to s"),
        AugmentSpec("translate", 0.1, 0, 1, "side", "moved by -s to s of its sides"),
        AugmentSpec(
            "colour",
            0.2,
            0,
            1,
            "share",
            "contrast, brightness and each channel multiplied by factors from 1 - s to 1 + s",
        ),
        AugmentSpec("noise", 8.0, 0, 128, "grey levels", "normal noise of this deviation"),
    )
}


def parse_augment(names: str) -> dict[str, float]:
    """Read a list such as ``flip,rotate:15,colour`` into {name: strength}.

    Those without a strength get 0. The result is in the order of application.

    Raises:
      ConfigError: unknown name (with the close match and the list), a name given twice, or a
        strength that is not a number, out of range, or given to one that has none.
    """
    given: dict[str, float] = {}
    if not names.strip():
        return given
    for term in names.split(","):
        name, colon, number = (part.strip() for part in term.partition(":"))
        if name not in AUGMENTATIONS:
            near = difflib.get_close_matches(name, AUGMENTATIONS, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(
                f"--augment={names}: unknown augmentation {name!r}: {hint}known are "
                f"{', '.join(AUGMENTATIONS)}"
            )
        if name in given:
            raise ConfigError(f"--augment={names}: {name} is in the list twice")
        given[name] = _strength(AUGMENTATIONS[name], number, names) if colon else _default(name)
    return {name: given[name] for name in AUGMENTATIONS if name in given}


def check_augment(names: str) -> None:
    """Raise ConfigError unless ``names`` can be read; see `parse_augment`."""
    parse_augment(names)


def _default(name: str) -> float:
    default = AUGMENTATIONS[name].default
    return 0.0 if default is None else default


def _strength(row: AugmentSpec, number: str, names: str) -> float:
    if row.default is None:
        raise ConfigError(f"--augment={names}: {row.name} has no strength; write {row.name} alone")
    try:
        strength = float(number)
    except ValueError:
        strength = math.nan
    if not row.low <= strength <= row.high:
        raise ConfigError(
            f"--augment={names}: {row.name}:{number}: the strength ({row.unit}) must be a number "
            f"from {row.low:g} to {row.high:g}, as in {row.name}:{row.default:g}"
        )
    return strength
