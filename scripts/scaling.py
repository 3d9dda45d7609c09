"""Measure a training step over image sizes, batch sizes and devices, and fit a model of it.

    python -m scripts.scaling --out=docs/results/scaling-cpu.json
    python -m scripts.scaling --draw docs/results/scaling-cpu.json [MORE.json ...]

The first measures what this machine has: on a GPU machine one to all of its GPUs, on a CPU up to
four simulated devices, which share its cores. The second writes the tables into docs/performance.md
and draws the curves. Let nothing else run meanwhile.

The model, in seconds a step, of a batch of B images of SxS pixels shared by D devices:

    fixed + work * B * (S / 64)^2 / D + 2 * (D - 1) / D * bytes / link

``fixed`` and ``work`` are fitted to the steps measured on one device (least squares of relative
errors); the last term is a ring all-reduce of the gradients over a link of so many bytes a second.
"""

import argparse
import datetime
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from scripts.benchmark import ours
from scripts.benchmark.worker import Side, ask_once
from scripts.docs.markdown import ROOT, filled, table, write_part

PAGE = ROOT / "docs" / "performance.md"
FIGURES = ROOT / "docs" / "figures"
# Image sizes with the batches of each: from one small image to 64 of them, in pixels.
SHAPES = {64: (1, 4, 16, 64), 128: (1, 4, 16), 256: (1, 4), 512: (1,)}
SHARED = {"size": 64, "batch": 16}  # what several devices share
SIMULATED = 4
TURNS = 5
BEYOND = (1, 2, 4, 8, 16, 32)  # devices of the modelled table
BATCHES_BEYOND = (4, 64)  # images for each of them


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, help="JSON file to write")
    what.add_argument("--draw", type=Path, nargs="+", help="JSON files to write down and draw")
    add("--depth", type=int, default=8)
    add("--dtype", default="float32", choices=["float32", "bfloat16"])
    add("--link", type=float, default=1.25, help="gigabytes a second between devices, modelled")
    chosen = parser.parse_args(arguments)
    if chosen.draw:
        lines: list[str] = []
        for file in chosen.draw:
            report, figure = json.loads(file.read_text("utf-8")), FIGURES / f"{file.stem}.png"
            draw(report, figure)
            lines += ["", section(report, file, figure)]
        write_part(PAGE, "scaling", "scripts/scaling.py", "\n".join([*lines, ""]))
        return
    report = measure(chosen.depth, chosen.dtype)
    report["model"] = fit(report["points"]) | {"link_bytes_a_second": chosen.link * 1e9}
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def measure(depth: int, dtype: str) -> dict[str, Any]:
    """Return the seconds of a step at every point, each from a process of its own."""
    environment = ask_once(ours.about)
    simulated = environment["platform"] == "cpu"
    found = SIMULATED if simulated else environment["devices"]
    points: list[dict[str, Any]] = [
        {"size": s, "batch": b, "devices": 1} for s, batches in SHAPES.items() for b in batches
    ]
    most = min(found, SHARED["batch"])
    points += [{**SHARED, "devices": 2**n} for n in range(1, 10) if 2**n <= most]
    for point in points:
        flag = f"--xla_force_host_platform_device_count={point['devices']}"
        with Side(XLA_FLAGS=flag if simulated else "") as side:
            side.ask(ours.build, depth=depth, dtype=dtype, **point)
            side.ask(ours.measure, kind="step", count=2)
            seconds = side.ask(ours.measure, kind="step", count=TURNS)["seconds"]
        print(point, f"{statistics.median(seconds):.4f} s", flush=True)
        point["seconds"] = seconds
    return {
        "date": datetime.date.today().isoformat(),
        "environment": environment,
        "simulated": simulated,
        "depth": depth,
        "dtype": dtype,
        "parameters": ask_once(ours.size_of, depth=depth)["parameters"],
        "points": points,
    }


def fit(points: list[dict[str, Any]]) -> dict[str, float]:
    """Return the model's ``fixed`` and ``work``, in seconds, from the points of one device."""
    alone = [p for p in points if p["devices"] == 1]
    seconds = np.array([statistics.median(p["seconds"]) for p in alone])
    images = np.array([small_images(p) for p in alone])
    terms = np.stack([np.ones_like(images), images], axis=1) / seconds[:, None]
    (fixed, work), *_ = np.linalg.lstsq(terms, np.ones(len(alone)), rcond=None)
    if fixed < 0:  # no time of its own that could be told from the noise
        fixed, work = 0.0, 1 / np.mean(images / seconds)
    return {"fixed": float(fixed), "work": float(work)}


def small_images(point: dict[str, Any]) -> float:
    """Return the pixels of a batch, in images of 64x64."""
    return float(point["batch"] * (point["size"] / 64) ** 2)


def predict(report: dict[str, Any], point: dict[str, Any]) -> float:
    """Return the model's seconds of a step."""
    model, devices = report["model"], point["devices"]
    exchanged = 2 * (devices - 1) / devices * 4 * report["parameters"]
    work = model["work"] * small_images(point) / devices
    return float(model["fixed"] + work + exchanged / model["link_bytes_a_second"])


def section(report: dict[str, Any], file: Path, figure: Path) -> str:
    """Return the part of the page that one report fills."""
    model, simulated = report["model"], report["simulated"]
    rows = []
    for point in report["points"]:
        shown = point | ({"devices": 1} if simulated else {})  # the cores are the same
        by_model = point["batch"] / predict(report, shown)
        several = " simulated" if simulated and point["devices"] > 1 else ""
        images = [point["batch"] / seconds for seconds in point["seconds"]]
        low, middle, high = statistics.quantiles(images, n=4, method="inclusive")
        rates = (f"{middle:.3g} ({low:.3g} to {high:.3g})", f"{by_model:.3g}")
        rows.append([point["size"], point["batch"], f"{point['devices']}{several}", *rates])
    more = [[n, *(f"{beyond(report, each, n):,.0f}" for each in BATCHES_BEYOND)] for n in BEYOND]
    titles = ["devices", *(f"{each} images each: images/s" for each in BATCHES_BEYOND)]
    head = ["image size", "batch", "devices", "images/s", "by the model"]
    shared = "\n\nSimulated devices share the cores: they show what sharing a batch costs."
    return filled(
        __file__,
        **report,
        figure=figure.name,
        turns=TURNS,
        file=file.resolve().relative_to(ROOT).as_posix(),
        fixed_ms=1e3 * model["fixed"],
        work_ms=1e3 * model["work"],
        measured="\n".join(table(head, rows)),
        shared=shared if simulated else "",
        link_gb=model["link_bytes_a_second"] / 1e9,
        exchanged_mb=4e-6 * report["parameters"],
        modelled="\n".join(table(titles, more)),
    )


def beyond(report: dict[str, Any], each: int, devices: int) -> float:
    """Return the modelled images a second of ``devices`` with ``each`` images of 64x64."""
    point = {"size": 64, "batch": each * devices, "devices": devices}
    return each * devices / predict(report, point)


def draw(report: dict[str, Any], figure: Path) -> None:
    """Draw measured points and the model's lines."""
    plot = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = plot.subplots(1, 2)
    for index, (size, batches) in enumerate(SHAPES.items()):
        points = [p for p in report["points"] if p["size"] == size and p["devices"] == 1]
        middle = [p["batch"] / statistics.median(p["seconds"]) for p in points]
        left.plot(batches, middle, "o", color=f"C{index}", label=f"{size}x{size}")
        fine = np.geomspace(min(batches), max(*batches, 2), 50)
        line = [b / predict(report, {"size": size, "batch": b, "devices": 1}) for b in fine]
        left.plot(fine, line, "-", color=f"C{index}", linewidth=1)
    left.set(xscale="log", yscale="log", xlabel="batch", ylabel="images/s", title="One device")
    left.legend(title="points: measured\nlines: model", fontsize="small", title_fontsize="small")
    for index, each in enumerate(BATCHES_BEYOND):
        line = [beyond(report, each, devices) for devices in BEYOND]
        right.plot(BEYOND, line, "--", color=f"C{index}", label=f"{each} images each")
    if not report["simulated"]:
        points = [p for p in report["points"] if {**p, **SHARED} == p]
        shared = [p["batch"] / statistics.median(p["seconds"]) for p in points]
        right.plot([p["devices"] for p in points], shared, "ko", label="16 images in all, measured")
    right.set(xscale="log", yscale="log", xlabel="devices", title="More devices, modelled")
    right.legend(fontsize="small")
    for axis, ticks in ((left, SHAPES[64]), (right, BEYOND)):
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.minorticks_off()
    plot.savefig(figure, dpi=110, metadata={"Software": ""})


if __name__ == "__main__":
    main()
