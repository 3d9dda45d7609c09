"""Parts of a page that a script writes, between two lines that mark them."""


def replace_between(text: str, begin: str, end: str, block: str) -> str:
    """Return ``text`` with ``block`` between the lines ``begin`` and ``end``, or exit."""
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"the page has no line {begin} with {end} after it")
    return f"{head}{begin}\n{block}\n{end}{tail}"
