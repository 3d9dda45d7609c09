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
        rows.append(
            [
                *(KINDS[row["kind"]], row["depth"], row["batch"], row["dtype"], len(ours)),
                f"{images:,.0f}" if images >= 100 else f"{images:.1f}",
                f"{flops / 1e9:,.0f}",
                f"{flops / report['matmul'][row['dtype']]:.0%}",
                *(quotients(row["seconds"][mode], ours) for mode in modes),
                f"{row['first_step']['segjax']:.1f}",
                *(
                    gigabytes(row["device_bytes"][name] or row["peak_bytes"][name])
                    for name in ("segjax", *modes)
                ),
            ]
        )
    return table(head, rows)


def load_table(report: dict[str, Any]) -> list[str]:
    """Return the table of reading the training file."""
    rows = report["load"]
    names = {"first": "first load", "later": "later load", "pickle": "pickle, as DLStudio"}
    seconds = {name: [row[name]["seconds"] for row in rows] for name in rows[0]}
    peaks = {name: max(row[name]["peak_bytes"] or 0 for row in rows) for name in rows[0]}
    lines = []
    for name in filter(seconds.__contains__, names):
        against = ["", ""]
        if name != "pickle" and "pickle" in seconds:
            most = peaks["pickle"]
            share = f"{peaks[name] / most:.0%}" if most else "-"
            against = [quotients(seconds[name], seconds["pickle"]), share]
        spread = quartiles(seconds[name])
        lines.append([names[name], len(rows), spread, gigabytes(peaks[name]), *against])
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
    seconds = {name: [row[name]["seconds"] for row in rows] for name in rows[0]}
    lines = []
    for name in filter(seconds.__contains__, names):
        compared = name != "dlstudio" and "dlstudio" in seconds
        faster = quotients(seconds["dlstudio"], seconds[name]) if compared else ""
        lines.append([names[name], len(rows), quartiles(seconds[name]), faster])
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
        steps, images = report["job"][0]["cold"]["steps"], report.get("job_images", 1000)
        job = (
            f"Depth {report['job_depth']}, {steps:,} steps of 4 on the file of {images:,} images, "
            "from the start of the process: imports, reading, compiling, training, a checkpoint."
        )
        lines += ["", job, "", *job_table(report)]
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
