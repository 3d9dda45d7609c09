"""The page: sentences from template.md, numbers from the summary; Markdown and one HTML file.

In the template, each on a line of its own unless noted:

* ``{{table NAME}}`` and ``{{figure NAME | caption}}``;
* ``{{number NAME}}`` anywhere in a sentence: from ``facts.NUMBERS``;
* ``{{if CLAIM}} ... {{else}} ... {{end}}``: a sentence by hand that stands only while the numbers
  bear it out (``facts.CLAIMS``); without those runs it says that they are missing.
"""

import base64
import html
import re
from collections.abc import Callable
from pathlib import Path

from scripts.study.facts import CLAIMS, NUMBERS
from scripts.study.numbers import Numbers
from scripts.study.tables import TABLES, Table
from segjax.errors import ConfigError
from segjax.runs.folder import write_text

TEMPLATE = Path(__file__).with_name("template.md")
MISSING = "*(The runs for this sentence are not done at this scale.)*"

STYLE = """
body { font: 17px/1.55 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 0 auto;
  max-width: 980px; padding: 1.5rem 1.2rem 4rem; }
h1, h2, h3 { line-height: 1.25; margin: 2em 0 .6em; } h1 { margin-top: .5em; }
img { max-width: 100%; height: auto; display: block; margin: 1rem auto .3rem; }
.caption, .note { color: #444; font-size: .86em; margin: .2rem 0 1.4rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .84em; width: 100%; }
th, td { padding: .32em .6em; border-bottom: 1px solid #ccc; text-align: right;
  font-variant-numeric: tabular-nums; }
th { border-bottom: 2px solid #444; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; }
code { font-size: .92em; background: #f2f2f2; padding: .08em .25em; }
pre { background: #f2f2f2; padding: .8em 1em; overflow-x: auto; } pre code { padding: 0; }
a { color: #005a9c; }
"""


def fill(template: str, numbers: Numbers, *, figures: Callable[[str], str | None]) -> str:
    """Return the page as Markdown.

    Args:
      template: as the module says.
      numbers: what fills it.
      figures: gives the path of a figure by name, None where there is none yet.

    Raises:
      ConfigError: the template names something that does not exist.
    """

    def choose(match: re.Match[str]) -> str:
        name, text, otherwise = match[1], match[2], match[3]
        verdict = _look_up(CLAIMS, name, "claim")(numbers)
        if verdict is None:
            return MISSING
        return (text if verdict else otherwise or "").strip()

    def number(match: re.Match[str]) -> str:
        value = _look_up(NUMBERS, match[1], "number")(numbers)
        return "(not run yet)" if value is None else value

    def table(match: re.Match[str]) -> str:
        return markdown_table(_look_up(TABLES, match[1], "table")(numbers))

    def figure(match: re.Match[str]) -> str:
        path = figures(match[1])
        caption = " ".join(match[2].split())
        return f"![{caption}]({path})" if path else f"*(No figure yet: {caption})*"

    text = re.sub(
        r"\{\{if ([\w-]+)\}\}(.*?)(?:\{\{else\}\}(.*?))?\{\{end\}\}", choose, template, flags=re.S
    )
    text = re.sub(r"\{\{table ([\w-]+)\}\}", table, text)
    text = re.sub(r"\{\{figure ([\w-]+) \|(.*?)\}\}", figure, text, flags=re.S)
    text = re.sub(r"\{\{number ([\w-]+)\}\}", number, text)
    if left := re.search(r"\{\{.*?\}\}", text):
        raise ConfigError(f"template.md: cannot read {left[0]}")
    return re.sub(r"\n{3,}", "\n\n", text)


def _look_up(known: dict[str, Callable], name: str, kind: str) -> Callable:
    if name not in known:
        raise ConfigError(f"template.md: no {kind} {name!r}; there are {', '.join(known)}")
    return known[name]


def markdown_table(table: Table | None) -> str:
    """Write a table with its note."""
    if table is None or not table.rows:
        return "*(The runs for this table are not done at this scale.)*"
    lines = ["| " + " | ".join(table.head) + " |", "|---" + "|---:" * (len(table.head) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in table.rows]
    return "\n".join([*lines, "", f"<small>{table.note}</small>"])


def write_page(numbers: Numbers, *, docs: Path, name: str, figure_folder: Path) -> list[Path]:
    """Write NAME.md and NAME.html into ``docs``; return their paths."""

    def path_of(figure: str) -> str | None:
        file = figure_folder / f"{figure}.png"
        return file.relative_to(docs).as_posix() if file.exists() else None

    template = TEMPLATE.read_text(encoding="utf-8")
    text = fill(template, numbers, figures=path_of)
    markdown, page = docs / f"{name}.md", docs / f"{name}.html"
    write_text(markdown, text)
    write_text(page, to_html(text, folder=docs))
    return [markdown, page]


def to_html(text: str, *, folder: Path) -> str:
    """Turn the page's Markdown into one HTML file with its figures inside.

    Knows what the template uses: headings, paragraphs, lists, tables, code, figures.
    """
    title = re.search(r"^# (.+)$", text, re.M)
    blocks = re.split(r"\n\s*\n", text.strip())
    body = "\n".join(_block(block, folder) for block in _whole_code(blocks))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title[1] if title else 'segjax')}</title>\n"
        f"<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _whole_code(blocks: list[str]) -> list[str]:
    """Join what an empty line inside a code block has split."""
    found: list[str] = []
    for block in blocks:
        if found and found[-1].count("```") % 2:
            found[-1] += "\n\n" + block
        else:
            found.append(block)
    return found


def _block(block: str, folder: Path) -> str:
    lines = block.strip().splitlines()
    if block.startswith("```"):
        return f"<pre><code>{html.escape(chr(10).join(lines[1:-1]))}</code></pre>"
    if match := re.fullmatch(r"(#+) (.+)", block.strip()):
        level = len(match[1])
        return f"<h{level}>{_inline(match[2])}</h{level}>"
    if match := re.fullmatch(r"!\[(.*?)\]\((.*?)\)", block.strip(), re.S):
        data = base64.b64encode((folder / match[2]).read_bytes()).decode()
        caption = _inline(match[1])
        alt = html.escape(re.sub(r"[*`]", "", match[1]), quote=True)
        return (f'<figure style="margin:0"><img alt="{alt}" src="data:image/png;base64,{data}">'
                f'<figcaption class="caption">{caption}</figcaption></figure>')  # fmt: skip
    if match := re.fullmatch(r"<small>(.*)</small>", block.strip(), re.S):
        return f'<p class="note">{_inline(match[1])}</p>'
    if lines[0].startswith("|"):
        return _table(lines)
    if all(re.match(r"(- |\d+\. |  )", line) for line in lines):
        kind = "ul" if lines[0].startswith("- ") else "ol"
        items = re.split(r"^(?:- |\d+\. )", block.strip(), flags=re.M)[1:]
        inner = "".join(f"<li>{_inline(' '.join(item.split()))}</li>" for item in items)
        return f"<{kind}>{inner}</{kind}>"
    return f"<p>{_inline(' '.join(line.strip() for line in lines))}</p>"


def _table(lines: list[str]) -> str:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    head = "".join(f'<th scope="col">{_inline(cell)}</th>' for cell in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in row) + "</tr>\n"
        for row in rows[2:]
    )
    return (f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody>'
            "</table></div>")  # fmt: skip


def _inline(text: str) -> str:
    text = html.escape(text, quote=False)
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)
    text = re.sub(r"(?<![\w*])\*([^*\s][^*]*?)\*(?![\w*])", r"<em>\1</em>", text)
    return re.sub(r"\[([^\]]+)\]\(([^)]+)\)", r'<a href="\2">\1</a>', text)
