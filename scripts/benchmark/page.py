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

KINDS = {"step": "training step", "forward": "forward"}
# A training step computes gradients by inputs and by weights as well: three times the forward pass.
PASSES = {"step": 3, "forward": 1}


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


def network_table(report: dict[str, Any]) -> list[str]:
    """Return the table of steps and forward passes."""
    modes = [name for name in report["network"][0]["seconds"] if name != "segjax"]
    head = ["pass", "depth", "batch", "dtype", "n", "images/s", "GFLOP/s", "of matrix product"]
    head += [f"times PyTorch {mode}" for mode in modes]
    head += ["first step, s", "memory, GB", *(f"PyTorch {mode}, GB" for mode in modes)]
    rows = []
    for row in report["network"]:
        ours = row["seconds"]["segjax"]
        images = row["batch"] / statistics.median(ours)
        flops = images * report["forward_flops"][str(row["depth"])] * PASSES[row["kind"]]
        peaks = [row["device_bytes"][n] or row["peak_bytes"][n] for n in ("segjax", *modes)]
        cells = [KINDS[row["kind"]], row["depth"], row["batch"], row["dtype"], len(ours)]
        cells += [f"{images:,.0f}" if images >= 100 else f"{images:.1f}", f"{flops / 1e9:,.0f}"]
        cells += [f"{flops / report['matmul'][row['dtype']]:.0%}"]
        cells += [quotients(row["seconds"][mode], ours) for mode in modes]
        rows.append([*cells, f"{row['first_step']['segjax']:.1f}", *map(gigabytes, peaks)])
    return table(head, rows)


def load_table(turns: Sequence[dict[str, Any]]) -> list[str]:
    """Return the table of reading the training file, of what each turn measured."""
    names = {"first": "first load", "later": "later load", "pickle": "pickle, as DLStudio"}
    seconds = {name: [turn[name]["seconds"] for turn in turns] for name in turns[0]}
    peaks = {name: max(turn[name]["peak_bytes"] or 0 for turn in turns) for name in turns[0]}
    rows = []
    for name in seconds:
        against = ["", ""]
        if name != "pickle" and "pickle" in seconds:
            share = f"{peaks[name] / peaks['pickle']:.0%}" if peaks["pickle"] else "-"
            against = [quotients(seconds[name], seconds["pickle"]), share]
        spread = quartiles(seconds[name])
        rows.append([names[name], len(turns), spread, gigabytes(peaks[name]), *against])
    head = ["training file", "n", "s", "memory, GB", "seconds of pickle's", "memory of pickle's"]
    return table(head, rows)


def job_table(turns: Sequence[dict[str, Any]]) -> list[str]:
    """Return the table of the whole job, of what each turn measured."""
    names = {"cold": "segjax, nothing cached", "warm": "segjax, data and programs cached"}
    seconds = {name: [turn[name]["seconds"] for turn in turns] for name in turns[0]}
    rows = []
    for name, taken in seconds.items():
        compared = name != "dlstudio" and "dlstudio" in seconds
        faster = quotients(seconds["dlstudio"], taken) if compared else ""
        rows.append([names.get(name, "DLStudio"), len(turns), quartiles(taken), faster])
    return table(["data file to end of epoch", "n", "s", "times as fast as DLStudio"], rows)


def section(report: dict[str, Any], file: Path) -> list[str]:
    """Return what is told about one machine."""
    about, busy = report["environment"], report["busy_before"]
    versions = about["versions"].items()
    told = {
        "packages": ", ".join(f"{name} {text}" for name, text in versions if text[0].isdigit()),
        "busy": "" if busy is None else f"; others used {busy:.0%} of it before",
        "product": ", ".join(f"{r / 1e9:,.0f} ({kind})" for kind, r in report["matmul"].items()),
    }
    lines = [filled(__file__, **about, **told, **report, file=file)]
    if "network" in report:
        lines += ["", *network_table(report)]
    if "load" in report:
        lines += ["", *load_table(report["load"])]
    if "job" in report:
        steps, images = report["job"][0]["cold"]["steps"], report.get("job_images", 1000)
        job = (
            f"Depth {report['job_depth']}, {steps:,} steps of 4 on the file of {images:,} images, "
            "from the start of the process: imports, reading, compiling, training, a checkpoint."
        )
        lines += ["", job, "", *job_table(report["job"])]
    return lines


def main(files: Sequence[str]) -> None:
    """Replace what is between the marks."""
    if not files:
        raise SystemExit(__doc__)
    lines: list[str] = []
    for name in files:
        report = json.loads(Path(name).read_text(encoding="utf-8"))
        lines += ["", *section(report, Path(name))]
    page = ROOT / "docs" / "performance.md"
    write_part(page, "benchmark", "benchmark/page.py", "\n".join([*lines, ""]))


if __name__ == "__main__":
    main(sys.argv[1:])
