"""The study, from the real data to the finished document.

    python -m scripts.study                    what is missing of the small scale, then the page
    python -m scripts.study --scale=full --vectorised
                                               the report's own size, on a GPU
    python -m scripts.study --list             what is done and what is left
    python -m scripts.study --only=^library    runs whose name has that (a regular expression)
    python -m scripts.study --scale=full --only=report
                                               a part: the report's losses, both kinds of layers
    python -m scripts.study --no_train         no more runs: the page from those that are done
    python -m scripts.study --page             from docs/results/study-SCALE.json alone
    python -m scripts.study --pictures         the full-size runs' pictures, from their records

It resumes where it stopped; several processes may share the work. The page needs
``pip install -e '.[study]'``.
"""

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.docs.markdown import ROOT
from scripts.study.plan import SCALES, runs_of
from segjax.errors import ConfigError, exit_code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study; return the exit code: 0 finished, 1 an error, 3 stopped with runs left."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m scripts.study", description=__doc__, formatter_class=raw
    )
    add = parser.add_argument
    add("--scale", choices=tuple(SCALES), default="cpu", help="default: cpu")
    add("--list", action="store_true", help="say what is done and what is left")
    add("--only", default="", metavar="REGEX", help="only runs of such names, or of a part")
    add("--max_runs", type=int, default=0, metavar="N", help="stop after so many runs, no page")
    add("--vectorised", action="store_true", help="many runs in one program, on an accelerator")
    add("--no_train", action="store_true", help="document what is done")
    add("--page", action="store_true", help="write the page again, without runs")
    add("--pictures", action="store_true", help="draw Figure 2 from the records and the test file")
    add("--runs", type=Path, default=Path("runs/study"), help="folder of the runs")
    add("--docs", type=Path, default=ROOT / "docs", help="folder of the page and its figures")
    return exit_code(
        lambda: study(parser.parse_args(arguments)), told={ConfigError: (1, "{error}")}
    )


def study(given: argparse.Namespace) -> int:
    """Do what the command line says."""
    from scripts.study.execute import Study, execute, listing

    scale, say = SCALES[given.scale], functools.partial(print, flush=True)  # a log shows it at once
    folder = given.runs / scale.name
    records = given.docs / "results" / scale.name
    plan = Study(scale, runs_of(scale, folder=folder), folder, records)
    if given.list:
        print("\n".join(listing(plan, given.only)))
        return 0
    try:
        from scripts.study import page
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error}; the page needs: pip install -e '.[study]'") from None
    if given.pictures:
        page.draw_report(given.docs, say=say)
        return 0
    if given.page:
        page.write_again(given.scale, given.docs, say=say)
        return 0
    ask = {"only": given.only, "max_runs": given.max_runs, "vectorised": given.vectorised}
    if not given.no_train and not execute(plan, **ask, say=say):
        return 3
    page.document(plan, given.docs, say=say)
    return 0


if __name__ == "__main__":
    sys.exit(main())
