"""Names, mask values and colours of the classes of own data: classes.txt and classes.json."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segjax.data.own.problems import printable, some_names
from segjax.errors import DataError

BACKGROUND = ("background", "_background_")
MAX_CLASSES = 254

Colour = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class ClassKey:
    """The classes in channel order and what stands for each in a mask: a number or a colour."""

    names: tuple[str, ...]
    values: tuple[int | Colour, ...]

    def select(self, chosen: Sequence[str], *, where: str) -> ClassKey:
        """Return the key of the ``chosen`` classes alone, in that order; DataError as below."""
        check_names(chosen, where=where, known=self.names)
        values = tuple(self.values[self.names.index(name)] for name in chosen)
        return ClassKey(tuple(chosen), values)


def read_class_file(folder: Path) -> ClassKey | None:
    """Read classes.txt or classes.json of ``folder``; None if there is neither.

    classes.txt has one name a line, the first for mask value 1 (a first line "background" is
    passed over). classes.json is a list of such names, or an object from name to mask value
    (1..255) or to colour ([r, g, b]).

    Raises:
      DataError: if the file is not like this.
    """
    text_file, json_file = folder / "classes.txt", folder / "classes.json"
    if text_file.is_file() and json_file.is_file():
        raise DataError(f"{folder}: has both classes.txt and classes.json; keep one")
    if text_file.is_file():
        lines = map(str.strip, _text(text_file).splitlines())
        return _numbered([line for line in lines if line], where=str(text_file))
    if json_file.is_file():
        return _read_json(json_file)
    return None


def check_names(names: Sequence[Any], *, where: str, known: Sequence[str] | None = None) -> None:
    """Check names of classes.

    Raises:
      DataError: unless they are different, not empty, at most 254, and among ``known``; of an
        unknown one naming those that are close, or all.
    """
    if not names:
        raise DataError(f"{where}: names no class")
    if len(names) > MAX_CLASSES:
        raise DataError(f"{where}: names {len(names)} classes; at most {MAX_CLASSES} fit a mask")
    for index, name in enumerate(names):
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise DataError(f"{where}: {name!r} is not the name of a class")
        if name in names[:index]:
            raise DataError(f"{where}: names the class {name!r} twice")
        if known is not None and name not in known:
            lowered = [other for other in known if other.lower() == name.lower()]
            close = lowered + difflib.get_close_matches(name, known, n=3, cutoff=0.5)
            hint = f"there are {some_names(known)}"
            if close:
                hint = f"did you mean {' or '.join(map(repr, dict.fromkeys(close)))}?"
            raise DataError(f"{where}: no class {name!r}; {hint}")


def _numbered(names: list[Any], *, where: str) -> ClassKey:
    if names and isinstance(names[0], str) and names[0].lower() in BACKGROUND:
        names = names[1:]
    check_names(names, where=where)
    return ClassKey(tuple(names), tuple(range(1, len(names) + 1)))


def _read_json(path: Path) -> ClassKey:
    where = printable(str(path))
    try:
        content = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({error})") from None
    if isinstance(content, list):
        return _numbered(content, where=where)
    if not isinstance(content, dict):
        raise DataError(f"{where}: expected a list of names, or an object from name to value")
    background = (0, [0, 0, 0])
    named = {name: value for name, value in content.items() if value not in background}
    names = tuple(named)
    values = tuple(_value(value, name=name, where=where) for name, value in named.items())
    check_names(names, where=where)
    if len({type(value) for value in values}) > 1:
        raise DataError(f"{where}: mixes mask values and colours")
    if len(set(values)) < len(values):
        raise DataError(f"{where}: gives two classes the same value")
    return ClassKey(names, values)


def _value(value: Any, *, name: str, where: str) -> int | Colour:
    def is_byte(number: Any) -> bool:
        return type(number) is int and 0 <= number <= 255

    if is_byte(value):
        return int(value)
    if isinstance(value, list) and len(value) == 3 and all(map(is_byte, value)):
        return (value[0], value[1], value[2])
    raise DataError(f"{where}: {name!r} is neither a mask value of 1..255 nor a colour [r, g, b]")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{printable(str(path))}: cannot be read as UTF-8 text ({error})") from None
