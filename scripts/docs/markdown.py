"""What the pages that scripts write are made of: marked parts, tables, numbers with a spread."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segjax.files import write_text
from segjax.runs.seeds import spread

ROOT = Path(__file__).resolve().parents[2]


def write_part(page: Path, part: str, script: str, text: str) -> None:
    """Put ``text`` between the marks of a part of a page that ``script`` writes, or exit."""
    begin, end = f"<!-- {part}: {script} -->", f"<!-- end of {part} -->"
    head, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"{page}: has no line {begin} with {end} after it")
    write_text(page, f"{head}{begin}\n{text}\n{end}{tail}")


def filled(script: str, **names: Any) -> str:
    """Return the text that lies beside a script, NAME.md, with what it names."""
    return Path(script).with_suffix(".md").read_text(encoding="utf-8").format(**names)


def table(head: Sequence[str], rows: Sequence[Sequence[object]], *, rule: str = "---") -> list[str]:
    """Return the lines of a table; ``rule`` under each column but the first: '---:' aligns right.

    An empty cell stays empty: its value is written as it is.
    """
    rules = "|---" + f"|{rule}" * (len(head) - 1) + "|"
    titles, *lines = (f"| {' | '.join(map(str, cells))} |" for cells in (head, *rows))
    return [titles, rules, *lines]


def plus_minus(values: Sequence[float], digits: int = 3) -> str:
    """Write the mean and, of two or more, the standard deviation; a dash without values."""
    found = spread(values) if values else {"mean": None}
    if found["mean"] is None:
        return "-"
    mean = f"{found['mean']:.{digits}f}"
    return mean if found["std"] is None else f"{mean} ± {found['std']:.{digits}f}"
