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
    """One augmentation: what is drawn for each image, and its strength if it has one."""

    name: str  # as on the command line
    summary: str  # what is drawn for each image
    default: float | None = None  # strength where none is given; None: it has no strength
    low: float = 0  # the range of the strength, both included
    high: float = 0
    unit: str = ""  # what the strength measures


# fmt: off
_ROWS = (
    AugmentSpec("recolour",
                "a new random colour for each colour inside the masks; for flat-coloured drawings"),
    AugmentSpec("flip", "mirrored left to right, or not"),
    AugmentSpec("flip_vertical", "mirrored top to bottom, or not"),
    AugmentSpec("rotate90", "turned by 0, 90, 180 or 270 degrees, exactly"),
    AugmentSpec("crop",
                "a window of a random side, at least this share of the image's, enlarged to its "
                "size", 0.8, 0.1, 1, "side"),
    AugmentSpec("scale",
                "enlarged or shrunk about the centre by a factor from 1 / (1 + s) to 1 + s",
                0.25, 0, 4, "factor - 1"),
    AugmentSpec("rotate", "turned by an angle from -s to s", 15.0, 0, 180, "degrees"),
    AugmentSpec("translate", "moved by -s to s of its sides", 0.1, 0, 1, "side"),
    AugmentSpec("colour",
                "contrast, brightness and each channel multiplied by factors from 1 - s to 1 + s",
                0.2, 0, 1, "share"),
    AugmentSpec("noise", "normal noise of this deviation", 8.0, 0, 128, "grey levels"),
)
# fmt: on
# The order is the one in which they are applied, whatever the order of the names.
AUGMENTATIONS: Mapping[str, AugmentSpec] = {row.name: row for row in _ROWS}


def parse_augment(names: str) -> dict[str, float]:
    """Read a list such as ``flip,rotate:15,colour`` into {name: strength}.

    Those without a strength get 0. The result is in the order of application.

    Raises:
      ConfigError: unknown name (with the close match and the list), a name given twice, or a
        strength that is not a number, out of range, or given to one that has none.
    """
    given: dict[str, float] = {}
    for term in names.split(",") if names.strip() else ():
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
        row = AUGMENTATIONS[name]
        given[name] = row.default or 0.0
        if not colon:
            continue
        if row.default is None:
            raise ConfigError(f"--augment={names}: {name} has no strength; write {name} alone")
        try:
            given[name] = float(number)
        except ValueError:
            given[name] = math.nan
        if not row.low <= given[name] <= row.high:
            raise ConfigError(
                f"--augment={names}: {name}:{number}: the strength ({row.unit}) must be a number "
                f"from {row.low:g} to {row.high:g}, as in {name}:{row.default:g}"
            )
    return {name: given[name] for name in AUGMENTATIONS if name in given}
