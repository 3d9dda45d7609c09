"""Write the tables of docs/performance.md from the JSON that ``scripts.benchmark`` wrote.

python -m scripts.benchmark.page docs/results/benchmark-cpu.json [MORE.json ...]
"""

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.docs.markdown import ROOT, filled, table, write_part

# What a pass is called, and how many forward passes it costs: a training step computes gradients by
# inputs and by weights as well.
PASSES = {"step": ("training step", 3), "forward": ("forward", 1)}
SIDES = {
    "first": "first load", "later": "later load", "pickle": "pickle, as DLStudio",
    "cold": "segjax, nothing cached", "warm": "segjax, data and programs cached",
    "dlstudio": "DLStudio",
}  # fmt: skip
THEIRS = ("pickle", "dlstudio")
PARTS = {
    "network": "steps", "runs": "runs in one program", "load": "loading", "job": "the whole job",
    "choices": "choices undone",
}  # fmt: skip


def quartiles(values: Sequence[float]) -> str:
    """Return 'median (first to third quartile)'; of fewer than four values, (least to most)."""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    if len(values) < 4:
        low, high = min(values), max(values)
    else:
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{statistics.median(values):.2f} ({low:.2f} to {high:.2f})"


def quotients(one: Sequence[float], other: Sequence[float]) -> str:
    """Return ``quartiles`` of ``one`` over ``other``, turn by turn."""
    return quartiles([a / b for a, b in zip(one, other, strict=True)])


def gigabytes(count: float | None) -> str:
    """Return bytes as gigabytes, or a dash."""
    return f"{count / 1e9:.2f}" if count else "-"


def network_table(report: dict[str, Any], part: str, versus: str) -> list[str]:
    """Return the table of steps and forward passes beside others, of whom it says ``versus``."""
    modes = [name for name in report[part][0]["seconds"] if name != "segjax"]
    head = ["pass", "depth", "batch", "dtype", "n", "images/s", "GFLOP/s", "of matrix product"]
    head += [f"times {versus} {mode}" for mode in modes]
    head += ["first step, s", "memory, GB", *(f"{versus} {mode}, GB" for mode in modes)]
    rows = []
    for row in report[part]:
        ours, (name, passes) = row["seconds"]["segjax"], PASSES[row["kind"]]
        images = row["batch"] / statistics.median(ours)
        flops = images * report["forward_flops"][str(row["depth"])] * passes
        peaks = [row["device_bytes"][n] or row["peak_bytes"][n] for n in ("segjax", *modes)]
        cells = [name, row["depth"], row["batch"], row["dtype"], len(ours)]
        cells += [f"{images:,.0f}" if images >= 100 else f"{images:.1f}", f"{flops / 1e9:,.0f}"]
        cells += [f"{flops / report['matmul'][row['dtype']]:.0%}"]
        cells += [quotients(row["seconds"][mode], ours) for mode in modes]
        rows.append([*cells, f"{row['first_step']['segjax']:.1f}", *map(gigabytes, peaks)])
    return table(head, rows)


def turns_table(turns: Sequence[dict[str, Any]], what: str) -> list[str]:
    """Return the table of what took turns; the last of them is DLStudio's way, if it is there."""
    *_, last = turns[0]
    seconds = {name: [turn[name]["seconds"] for turn in turns] for name in turns[0]}
    peaks = {name: max(turn[name]["peak_bytes"] or 0 for turn in turns) for name in turns[0]}
    rows = []
    for name, taken in seconds.items():
        against = ["", ""]
        if last in THEIRS and name != last:
            share = f"{peaks[name] / peaks[last]:.0%}" if peaks[last] else "-"
            against = [quotients(seconds[last], taken), share]
        rows.append([SIDES[name], len(turns), quartiles(taken), gigabytes(peaks[name]), *against])
    against = ["times as fast as DLStudio", "of its memory"]
    return table([what, "n", "s", "memory, GB", *against], rows)


def section(file: Path) -> list[str]:
    """Return what is told of one machine."""
    report = json.loads(file.read_text(encoding="utf-8"))
    about, busy = report["environment"], report["busy_before"]
    versions = about["versions"].items()
    told = {
        "packages": ", ".join(f"{name} {text}" for name, text in versions if text[0].isdigit()),
        "parts": ", ".join(words for part, words in PARTS.items() if part in report),
        "flags": f", XLA_FLAGS={flags}" if (flags := about.get("xla_flags")) else "",
        "busy": "" if busy is None else f"; others used {busy:.0%} of it before",
        "product": ", ".join(f"{r / 1e9:,.0f} ({kind})" for kind, r in report["matmul"].items()),
    }
    lines = [filled(__file__, **about, **told, **report, file=file)]
    for part, versus in (("network", "PyTorch"), ("choices", "without"), ("runs", "for")):
        lines += ["", *network_table(report, part, versus)] if part in report else []
    if "load" in report:
        lines += ["", *turns_table(report["load"], "training file")]
    if "job" in report:
        steps, images = report["job"][0]["cold"]["steps"], report.get("job_images", 1000)
        job = (
            f"Depth {report['job_depth']}, {steps:,} steps of 4 on the file of {images:,} images, "
            "from the start of the process: imports, reading, compiling, training, a checkpoint."
        )
        lines += ["", job, "", *turns_table(report["job"], "data file to end of epoch")]
    return lines


def main(files: Sequence[str]) -> None:
    """Replace what is between the marks."""
    if not files:
        raise SystemExit(__doc__)
    lines = [line for name in files for line in ("", *section(Path(name)))]
    page = ROOT / "docs" / "performance.md"
    write_part(page, "benchmark", "scripts/benchmark/page.py", "\n".join([*lines, ""]))


if __name__ == "__main__":
    main(sys.argv[1:])
