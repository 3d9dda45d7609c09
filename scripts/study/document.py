"""From finished runs to docs: the numbers, the figures, the page."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripts.study.execute import Study
from scripts.study.numbers import Numbers
from segjax.errors import ConfigError

Say = Callable[[str], None]
MAX_FIGURE_BYTES = 150_000


def page_name(scale: str) -> str:
    """Return the page's file name: docs/study is the small scale's."""
    return "study" if scale == "cpu" else f"study-{scale}"


def results_file(docs: Path, scale: str) -> Path:
    """Return where the numbers of a scale are kept."""
    return docs / "results" / f"study-{scale}.json"


def document(study: Study, docs: Path, *, say: Say) -> list[Path]:
    """Measure the finished runs, write their numbers, all figures and the page."""
    from scripts.study.collect import collect, write_summary
    from scripts.study.measure import measure_all

    measure_all(study, say=say)
    summary = collect(study)
    if not summary:
        raise ConfigError(f"{study.folder}: no run is done yet")
    file = results_file(docs, study.scale.name)
    write_summary(summary, file)
    say(f"numbers: {file}")
    _draw_pictures(study, docs)
    return write_documents(summary, docs, say=say)


def write_documents(summary: dict[str, Any], docs: Path, *, say: Say) -> list[Path]:
    """Draw the figures that need numbers only, and write the page."""
    from scripts.study.figures import FIGURES
    from scripts.study.page import write_page
    from segjax import plots

    numbers, name = Numbers(summary), page_name(summary["scale"])
    folder = figure_folder(docs, summary["scale"])
    for title, make in FIGURES.items():
        if (figure := make(numbers)) is not None:
            plots.save(figure, folder / f"{title}.png", max_bytes=MAX_FIGURE_BYTES)
    pages = write_page(numbers, docs=docs, name=name, figure_folder=folder)
    say("page: " + ", ".join(str(path) for path in pages))
    return pages


def figure_folder(docs: Path, scale: str) -> Path:
    """Return where the figures of a scale's page lie."""
    return docs / "figures" / page_name(scale)


def _draw_pictures(study: Study, docs: Path) -> None:
    from scripts.study.pictures import PICTURES
    from segjax import plots

    for title, make in PICTURES.items():
        if (figure := make(study)) is not None:
            file = figure_folder(docs, study.scale.name) / f"{title}.png"
            plots.save(figure, file, max_bytes=MAX_FIGURE_BYTES)
