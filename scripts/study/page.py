"""The page: sentences and headings from template.md, numbers from the summary, figures in folders.

The template is Jinja's. What it may name is in ``fill``: the summary, a function that writes a
group's numbers (None without its runs), the tables' rows, and each claim of ``numbers.CLAIMS``
(None without its runs), on which a sentence by hand stands only while it holds.
"""

import contextlib
import functools
import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl

from scripts.docs.markdown import plus_minus, table
from scripts.study.collect import collect, write_summary
from scripts.study.execute import Say, Study
from scripts.study.figures import FIGURES, PICTURES
from scripts.study.measure import keep_measures, measures_of
from scripts.study.numbers import CLAIMS, MissingRunsError, Numbers
from scripts.study.report import LAYERS, Report, curves, pictures
from scripts.study.tables import NOT_RUN, TABLES, Rows
from segjax import plots
from segjax.errors import ConfigError
from segjax.files import write_text
from segjax.plots._style import STYLE

TEMPLATE = Path(__file__).with_name("template.md")
MISSING = "*(The runs for this {} are not done at this scale.)*"
MAX_FIGURE_BYTES = 150_000


def page_name(scale: str) -> str:
    """Return the page's file name: docs/study is the small scale's."""
    return "study" if scale == "cpu" else f"study-{scale}"


def results_file(docs: Path, scale: str) -> Path:
    """Return where the numbers of a scale are kept."""
    return docs / "results" / f"study-{scale}.json"


def document(study: Study, docs: Path, *, say: Say) -> None:
    """Measure the finished runs, write their numbers, all figures and the page."""
    todo = [run for run in study.done() if measures_of(study.path_of(run)) is None]
    for index, run in enumerate(todo, 1):
        say(f"measuring {run.name} ({index} of {len(todo)})")
        keep_measures(study.path_of(run), run)
    file = results_file(docs, study.scale.name)
    write_summary(collect(study), file)
    say(f"numbers: {file}")
    draw(PICTURES, study, docs, study.scale.name)
    write_again(study.scale.name, docs, say=say)


def write_again(scale: str, docs: Path, *, say: Say) -> None:
    """Write the page and the figures that need numbers only; ConfigError without the numbers."""
    file = results_file(docs, scale)
    if not file.exists():
        raise ConfigError(f"{file}: no such file; run the study first")
    numbers = Numbers(json.loads(file.read_text(encoding="utf-8")))
    draw(FIGURES, numbers, docs, scale)
    report = report_of(numbers, docs)
    if report:
        draw({"report-curves": curves}, report, docs, scale)
    text = fill(TEMPLATE.read_text(encoding="utf-8"), numbers, report, docs=docs)
    page = docs / f"{page_name(scale)}.md"
    write_text(page, text)
    say(f"page: {page}")


def draw_report(docs: Path, *, say: Say) -> None:
    """Draw the report's pictures, for which the test images are read, on the small scale's page."""
    summary = json.loads(results_file(docs, "cpu").read_text(encoding="utf-8"))
    parts = {layers: functools.partial(pictures, layers=layers) for layers in LAYERS}
    makers = {f"report-pictures-{layers}": make for layers, make in parts.items()}
    draw(makers, report_of(Numbers(summary), docs), docs, "cpu")
    say("pictures: " + ", ".join(makers))


def report_of(numbers: Numbers, docs: Path) -> Report:
    """Return the records of the report's own runs, and the floors that they have."""
    floors = numbers.summary["floors"].get("all training images", {})
    return Report(docs / "results" / "full", floors)


def draw(makers: Mapping[str, Callable], source: Any, docs: Path, scale: str) -> None:
    """Draw and save the figures whose runs are there."""
    for name, make in makers.items():
        file = docs / "figures" / page_name(scale) / f"{name}.png"
        with contextlib.suppress(MissingRunsError), mpl.rc_context(STYLE):
            plots.save(make(source), file, max_bytes=MAX_FIGURE_BYTES)


def fill(template: str, numbers: Numbers, report: Report, *, docs: Path) -> str:
    """Return the page as Markdown, with the figures that there are in the folder ``docs``.

    ConfigError: the template names something that does not exist, or is no template.
    """
    asked = {"constant_range": Numbers.constant_range, "deepest": Numbers.deepest, **CLAIMS}
    names: dict[str, Any] = dict.fromkeys(asked)
    for name, ask in asked.items():
        with contextlib.suppress(MissingRunsError):
            names[name] = ask(numbers)
    names |= {f"{make.__name__}_rows": functools.partial(make, numbers) for make in TABLES}
    names |= {"report": report, "study": numbers.summary, "scale_note": scale_note(numbers.summary)}
    ranking: list[str | None] = [*numbers.ranking()]
    names |= {"ranking": ranking or [None], "missing": MISSING.format("sentence")}

    def mean(group: str, digits: int, *keys: str | int, times: int = 1) -> str | None:
        found = numbers.values(group, *keys)
        return plus_minus([times * value for value in found], digits) if found else None

    def figure(name: str, caption: str) -> str:
        file, caption = f"figures/{page_name(numbers.summary['scale'])}/{name}.png", one(caption)
        if not (docs / file).exists():
            return f"*(No figure yet: {caption})*"
        return f"![{caption.partition('.')[0]}]({file})\n\n<small>{caption}</small>"

    made = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        finalize=lambda value: f"({NOT_RUN})" if value is None else value,
    )
    made.filters["fixed"] = lambda value, digits: f"{value:.{digits}f}"
    try:
        return made.from_string(template).render(names, mean=mean, figure=figure, table=with_note)
    except jinja2.TemplateError as error:
        raise ConfigError(f"template.md: {error}") from None


def one(text: str) -> str:
    """Write a paragraph as one line."""
    return " ".join(text.split())


def with_note(head: str, rows: Rows, note: str, *, rule: str = "---:") -> str:
    """Write a table and what every reader has to know about it.

    Headings have ' | ' between them; a row that ends early goes on with empty cells.
    """
    if not rows:
        return MISSING.format("table")
    titles = head.split(" | ")
    filled = [row + [""] * (len(titles) - len(row)) for row in rows]
    return "\n".join([*table(titles, filled, rule=rule), "", f"<small>{one(note)}</small>"])


def scale_note(summary: dict[str, Any]) -> str:
    """Return the sentence on scale, device and versions that each table of trained runs carries."""
    runs: Counter[tuple[str, str]] = Counter()
    for entry in summary["environments"]:  # those that differ in their commit only are one
        versions = f"jax {entry['versions']['jax']}, Python {entry['versions']['python']}"
        runs[f"{entry['device']}, {entry['cpu_cores']} cores", versions] += entry["runs"]
    places = "; ".join(
        f"{place} ({count} runs, other programs running), {versions}"
        for (place, versions), count in runs.items()
    )
    return f"Scale `{summary['scale']}`: {summary['about']}. {places}."
