"""What can be wrong with a file of a data set, and the one line that says so."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from segjax.errors import DataError

NAMES_SHOWN = 5
MOST_SHOWN = 1000  # characters of one name


class Kind(NamedTuple):
    """A sort of problem: what it is called and what mends it.

    ``level``: training refuses an 'error'; the check fails on it and on a 'fault', too; a 'notice'
    is only told.
    """

    headline: str
    advice: str
    level: str = "error"


KINDS = {
    "missing mask": Kind("no mask for the image",
                         "add the mask (all zero if nothing is there) or remove the image"),
    "missing image": Kind("no image for the mask", "add the image or remove the mask"),
    "missing file": Kind("the annotations name a picture that is not there",
                         "check the folder of pictures"),
    "duplicate name": Kind("several files share one name", "rename or remove all but one"),
    "unsupported format": Kind("not a picture format that is read",
                               "convert to PNG, JPEG, BMP or TIFF"),
    "unreadable image": Kind("cannot read the image", "restore or remove the file"),
    "unreadable mask": Kind("cannot read the mask", "restore the file or draw it again"),
    "too many pixels": Kind("refused as a decompression bomb", "scale the picture down"),
    "several pages": Kind("a picture with several pages", "write one file a page"),
    "pixel type": Kind("pixels that are not 8 or 16 bits", "convert to an 8-bit PNG"),
    "lossy mask": Kind("a mask saved as JPEG, which alters its values", "save masks as PNG"),
    "colour mask": Kind("a colour picture where class numbers belong", "save masks as indexed or"
                        " grey PNG, or list each class's colour in classes.json"),
    "size mismatch": Kind("mask and image differ in size", "draw the mask on this very image"),
    "mask values": Kind("mask values out of range", "draw them without smoothing, or list the"
                        " values of the classes in classes.json"),
    "bad annotation": Kind("an annotation that cannot be used", "mend or remove it in the file"),
    "duplicate across splits": Kind("the same picture in more than one split",
                                    "keep each picture in one split only", "fault"),
    "duplicate within split": Kind("the same picture twice in one split", "remove the copies",
                                   "notice"),
    "near duplicate": Kind("almost the same picture in more than one split",
                           "look at them side by side", "notice"),
    "absent class": Kind("a class without any pixel to learn from",
                         "add examples or drop the class", "fault"),
    "unmeasured class": Kind("a class without any pixel to measure it by",
                             "expect no score for it there", "notice"),
    "constant image": Kind("an image of one single colour", "look at the file", "notice"),
    "no foreground": Kind("no mask has any foreground",
                          "draw the objects, or look at the mask values"),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing that is wrong: its kind (a key of ``KINDS``), the file, and what was found."""

    kind: str
    name: str
    detail: str = ""

    def __str__(self) -> str:
        return printable(self.name) + (f" ({self.detail})" if self.detail else "")


class FileProblemError(Exception):
    """Why one file cannot be used; the caller adds the file's name and makes a ``Problem``."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail

    def of(self, name: str) -> Problem:
        """Return the problem of the file ``name``."""
        return Problem(self.kind, name, self.detail)


def printable(name: str) -> str:
    """Return ``name`` fit for one line of a terminal, whatever the file system allows."""
    shown = name if len(name) <= MOST_SHOWN else f"{name[:100]}...{name[-20:]}"
    return shown if shown.isprintable() else ascii(shown)


def some_names(names: Iterable[object]) -> str:
    """Return at most ``NAMES_SHOWN`` names and the count of the rest."""
    listed = [str(name) for name in names]
    text = ", ".join(listed[:NAMES_SHOWN])
    rest = len(listed) - NAMES_SHOWN
    return f"{text} and {rest} more" if rest > 0 else text


def describe(problems: Sequence[Problem]) -> str:
    """Return the line for problems of one kind: what is wrong, where, and what to do."""
    kind = KINDS[problems[0].kind]
    count = f" ({len(problems)} times)" if len(problems) > 1 else ""
    return f"{kind.headline}{count}: {some_names(problems)}; {kind.advice}"


def by_kind(problems: Iterable[Problem]) -> dict[str, list[Problem]]:
    """Return the problems grouped by kind, in the order in which the kinds were met."""
    groups: dict[str, list[Problem]] = {}
    for problem in problems:
        groups.setdefault(problem.kind, []).append(problem)
    return groups


def refuse(where: str, problems: Iterable[Problem]) -> None:
    """Raise one line about the first kind of problem that training must refuse, if there is any.

    Raises:
      DataError: naming ``where``, at most five files, and what to do.
    """
    if groups := by_kind(some for some in problems if KINDS[some.kind].level == "error"):
        first, *others = groups
        more = f" [also: {', '.join(KINDS[kind].headline for kind in others)}]" if others else ""
        raise DataError(f"{printable(where)}: {describe(groups[first])}{more}")
