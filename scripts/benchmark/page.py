"""Write the tables of docs/performance.md from the JSON that ``scripts.benchmark`` wrote.

python -m scripts.benchmark.page docs/results/benchmark-cpu.json [MORE.json ...]
"""

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.docs.markdown import replace_between, table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- benchmark: scripts/benchmark/page.py -->", "<!-- end of benchmark -->"
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


def ratios(theirs: Sequence[float], ours: Sequence[float]) -> list[float]:
    """Return how many times faster ours was, turn by turn."""
    return [a / b for a, b in zip(theirs, ours, strict=True)]


def gigabytes(count: float | None) -> str:
    """Return bytes as gigabytes, or a dash."""
    return "-" if count is None else f"{count / 1e9:.2f}"


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
        cells = [KINDS[row["kind"]], row["depth"], row["batch"], row["dtype"], len(ours)]
        cells += [f"{images:,.0f}" if images >= 100 else f"{images:.1f}", f"{flops / 1e9:,.0f}"]
        cells.append(f"{flops / report['matmul'][row['dtype']]:.0%}")
        cells += [quartiles(ratios(row["seconds"][mode], ours)) for mode in modes]
        cells.append(f"{row['first_step']['segjax']:.1f}")
        for name in ("segjax", *modes):
            cells.append(gigabytes(row["device_bytes"][name] or row["peak_bytes"][name]))
        rows.append(cells)
    return table(head, rows)


def load_table(report: dict[str, Any]) -> list[str]:
    """Return the table of reading the training file."""
    rows = report["load"]
    with_pickle = "pickle" in rows[0]
    lines = []
    names = {"first": "first load", "later": "later load", "pickle": "pickle, as DLStudio"}
    for name, title in names.items():
        if name not in rows[0]:
            continue
        seconds = [row[name]["seconds"] for row in rows]
        peak = max(row[name]["peak_bytes"] or 0 for row in rows)
        cells = [title, len(rows), quartiles(seconds), gigabytes(peak or None), "", ""]
        if with_pickle and name != "pickle":
            cells[4] = quartiles([row[name]["seconds"] / row["pickle"]["seconds"] for row in rows])
            most = max(row["pickle"]["peak_bytes"] or 0 for row in rows)
            cells[5] = f"{peak / most:.0%}" if most else "-"
        lines.append(cells)
    head = ["training file", "n", "s", "memory, GB", "seconds of pickle's", "memory of pickle's"]
    return table(head, lines)


def job_table(report: dict[str, Any]) -> list[str]:
    """Return the table of the whole job."""
    rows = report["job"]
    names = {
        "cold": "segjax, nothing cached",
        "warm": "segjax, data and programs cached",
        "dlstudio": "DLStudio",
    }
    lines = []
    for name, title in names.items():
        if name not in rows[0]:
            continue
        cells = [title, str(len(rows)), quartiles([row[name]["seconds"] for row in rows]), ""]
        if "dlstudio" in rows[0] and name != "dlstudio":
            cells[3] = quartiles(
                [row["dlstudio"]["seconds"] / row[name]["seconds"] for row in rows]
            )
        lines.append(cells)
    return table(["data file to end of epoch", "n", "s", "times as fast as DLStudio"], lines)


def section(report: dict[str, Any], file: Path) -> list[str]:
    """Return the lines about one machine."""
    about = report["environment"]
    busy = report["busy_before"]
    packages = ", ".join(
        f"{name} {number}" for name, number in about["versions"].items() if number[0].isdigit()
    )
    product = ", ".join(f"{rate / 1e9:,.0f} ({dtype})" for dtype, rate in report["matmul"].items())
    busy_text = "" if busy is None else f"; others used {busy:.0%} of it before"
    lines = [
        f"### {about['device']}, {about['cpu_cores']} CPU cores",
        "",
        f"{report['date']}, commit {about['commit']}; {packages}{busy_text}. JAX's own matrix "
        f"product reaches {product} GFLOP/s. Median and quartiles over n turns. Data: `{file}`.",
    ]
    if "network" in report:
        lines += ["", *network_table(report)]
    if "load" in report:
        lines += ["", *load_table(report)]
    if "job" in report:
        steps = report["job"][0]["cold"]["steps"]
        lines += [
            "",
            f"Depth {report['job_depth']}, {steps:,} steps of 4 on the file of "
            f"{report.get('job_images', 1000):,} images, from the start of the process: imports, "
            "reading, compiling, training, a checkpoint.",
            "",
            *job_table(report),
        ]
    return lines


def main(files: Sequence[str]) -> None:
    """Replace what is between the marks."""
    if not files:
        raise SystemExit(__doc__)
    lines: list[str] = []
    for name in files:
        report = json.loads(Path(name).read_text(encoding="utf-8"))
        lines += ["", *section(report, Path(name))]
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(replace_between(text, BEGIN, END, "\n".join([*lines, ""])), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
