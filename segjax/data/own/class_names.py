"""Names, mask values and colours of the classes of own data: classes.txt and classes.json."""

import difflib
import json
from collections.abc import Collection, Sequence
from os.path import lexists
from pathlib import Path
from typing import Any

from segjax.data.own.problems import printable, some_names
from segjax.errors import DataError
from segjax.files import regular

BACKGROUND = ("background", "_background_")
MAX_CLASSES = 254

Colour = tuple[int, int, int]
# The classes in channel order and what stands for each in a mask: a number or a colour.
ClassKey = dict[str, int | Colour]


def read_class_file(folder: Path) -> ClassKey | None:
    """Read classes.txt or classes.json of ``folder``; None if there is neither.

    classes.txt has one name a line, the first for mask value 1 (a first line "background" is
    passed over). classes.json is a list of such names, or an object from name to mask value
    (1..255) or to colour ([r, g, b]).

    Raises:
      DataError: if the file is not like this.
    """
    # Also what is no file: its own error tells more than a folder without names does.
    files = [path for end in ("txt", "json") if lexists(path := folder / f"classes.{end}")]
    if len(files) > 1:
        raise DataError(f"{folder}: has both classes.txt and classes.json; keep one")
    if not files:
        return None
    where = printable(str(files[0]))
    try:
        text = regular(files[0]).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{where}: cannot be read as UTF-8 text ({error})") from None
    content: Any = [line.strip() for line in text.splitlines() if line.strip()]
    if files[0].suffix == ".json":
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: not JSON ({error})") from None
    if isinstance(content, list):
        if content and isinstance(content[0], str) and content[0].lower() in BACKGROUND:
            del content[0]
        check_names(content, where=where)
        return {name: value for value, name in enumerate(content, 1)}
    if not isinstance(content, dict):
        raise DataError(f"{where}: expected a list of names, or an object from name to value")
    background = (0, [0, 0, 0])
    named = {name: value for name, value in content.items() if value not in background}
    key = {name: _value(value, f"{where}: {name!r}") for name, value in named.items()}
    check_names(tuple(key), where=where)
    if len({type(value) for value in key.values()}) > 1:
        raise DataError(f"{where}: mixes mask values and colours")
    if len(set(key.values())) < len(key):
        raise DataError(f"{where}: gives two classes the same value")
    return key


def check_names(names: Sequence[Any], *, where: str, known: Collection[str] | None = None) -> None:
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


def _value(value: Any, about: str) -> int | Colour:
    numbers = value if isinstance(value, list) and len(value) == 3 else [value]
    if not all(type(number) is int and 0 <= number <= 255 for number in numbers):
        raise DataError(f"{about} is neither a mask value of 1..255 nor a colour [r, g, b]")
    return (numbers[0], numbers[1], numbers[2]) if len(numbers) == 3 else int(value)
