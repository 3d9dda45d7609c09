"""Measure segjax's speed, beside DLStudio on PyTorch where that is installed, into one JSON file.

    python -m scripts.benchmark --out=docs/results/benchmark-cpu.json
    python -m scripts.benchmark.page docs/results/benchmark-cpu.json

Both sides run as processes of their own and take turns, so that what disturbs one disturbs the
other; ratios are taken turn by turn. Needs ``pip install -e '.[test]'``; the comparison also
``pip install -e '.[parity]' && pip install --no-deps DLStudio==2.3.6``.
"""

import argparse
import contextlib
import datetime
import importlib.util
import json
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from scripts.benchmark import ours, theirs
from scripts.benchmark.worker import Side, ask_once

BUSY = 0.1  # of all cores; more than that by others spoils a measurement


def busy_share() -> float | None:
    """Return the share of all cores that others use within a second; None where not known."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None

    def times() -> tuple[int, int]:
        numbers = [int(word) for word in stat.read_text().splitlines()[0].split()[1:9]]
        return sum(numbers), numbers[3] + numbers[4]

    total, idle = times()
    time.sleep(1)
    total_after, idle_after = times()
    return 1 - (idle_after - idle) / max(1, total_after - total)


def measure_network(
    depth: int, batch: int, dtype: str, rounds: int, others: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Return one record a kind of pass: seconds of every side, turn by turn."""
    calls = 2 if batch <= 32 else 1
    settings = {"depth": depth, "batch": batch, "dtype": dtype}
    records = []
    modules = {"segjax": ours, **dict.fromkeys(others, theirs)}
    with contextlib.ExitStack() as stack:
        sides = {name: stack.enter_context(Side()) for name in modules}

        def ask(name: str, do: str, **own: Any) -> dict[str, Any]:
            return sides[name].ask(getattr(modules[name], do), **own)

        modes = {name: {} if name == "segjax" else {"mode": name} for name in modules}
        built = {name: ask(name, "build", **settings, **modes[name]) for name in modules}
        for kind in ("step", "forward"):
            answers: dict[str, list[dict[str, Any]]] = {name: [] for name in modules}
            for name in modules:
                ask(name, "measure", kind=kind, count=1)
            for _ in range(rounds):
                for name in modules:
                    answers[name].append(ask(name, "measure", kind=kind, count=calls))
            records.append(
                {
                    "kind": kind,
                    **settings,
                    "seconds": {n: [min(a["seconds"]) for a in v] for n, v in answers.items()},
                    "first_step": {name: b["first_step"] for name, b in built.items()},
                    "peak_bytes": {n: v[-1]["peak_bytes"] for n, v in answers.items()},
                    "device_bytes": {n: v[-1]["device_bytes"] for n, v in answers.items()},
                }
            )
    return records


def measure_loads(file: Path, rounds: int, with_theirs: bool) -> list[dict[str, Any]]:
    """Return seconds and memory of loading ``file``: the first time, later, and by DLStudio."""
    results = []
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(rounds):
            one = {
                "first": ask_once(ours.load, file=str(file), cache_dir=cache, cached=False),
                "later": ask_once(ours.load, file=str(file), cache_dir=cache, cached=True),
            }
            if with_theirs:
                one["pickle"] = ask_once(theirs.load, file=str(file))
            results.append(one)
    return results


def measure_jobs(
    train_file: Path, test_file: Path, depth: int, batch: int, rounds: int, with_theirs: bool
) -> list[dict[str, Any]]:
    """Return seconds from the data file to the end of the first epoch, cold and warm."""
    settings = {"train_file": str(train_file), "depth": depth, "batch": batch}
    mine = {**settings, "test_file": str(test_file)}
    results = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            one = {
                "cold": ask_once(ours.whole_job, cache_dir=cache, **mine),
                "warm": ask_once(ours.whole_job, cache_dir=cache, **mine),
            }
        if with_theirs:
            one["dlstudio"] = ask_once(theirs.whole_job, **settings)
        results.append(one)
    return results


def main() -> None:
    """Measure what the flags name."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--out", type=Path, required=True, help="JSON file to write")
    add("--batches", type=int, nargs="*", default=[4, 32, 256])
    add("--depths", type=int, nargs="*", default=[8, 16])
    add("--dtypes", nargs="*", default=["float32"], choices=["float32", "bfloat16"])
    add("--rounds", type=int, default=5, help="turns of each side")
    add("--compile", action="store_true", help="torch.compile as well as eager PyTorch")
    add("--parts", nargs="*", default=["network", "load", "job"])
    add("--job_depth", type=int, default=16)
    job_images = "images of the whole job: the test file's 1,000 or the training file's 10,000"
    add("--job_images", type=int, default=1000, choices=[1000, 10000], help=job_images)
    add("--job_rounds", type=int, default=2)
    add("--allow_busy", action="store_true", help="measure although others use the machine")
    args = parser.parse_args()

    busy = busy_share()
    if busy is not None and busy > BUSY and not args.allow_busy:
        sys.exit(
            f"other processes use {busy:.0%} of this machine; wait for them, or --allow_busy, "
            "which the report then says"
        )
    from segjax.data.fetch import fetch

    with_theirs = all(importlib.util.find_spec(name) for name in ("torch", "DLStudio"))
    others = (("eager",) + (("compile",) if args.compile else ())) if with_theirs else ()
    report: dict[str, Any] = {"date": datetime.date.today().isoformat(), "busy_before": busy}
    with Side() as side:
        report["environment"] = side.ask(ours.about)
        if with_theirs:
            report["environment"]["versions"] |= {p: version(p) for p in ("torch", "DLStudio")}
        size = 2048 if report["environment"]["platform"] == "cpu" else 8192
        report["matmul"] = {
            dtype: side.ask(ours.matmul, size=size, dtype=dtype, count=5)["flops_a_second"]
            for dtype in args.dtypes
        }
        report["forward_flops"] = {
            str(depth): side.ask(ours.size_of, depth=depth)["forward_flops"]
            for depth in args.depths
        }
    files = fetch()
    if "network" in args.parts:
        report["network"] = []
        for dtype in args.dtypes:
            for depth in args.depths:
                for batch in args.batches:
                    print(f"depth {depth}, batch {batch}, {dtype}", flush=True)
                    rounds = args.rounds if batch <= 32 else max(2, args.rounds // 2)
                    report["network"] += measure_network(depth, batch, dtype, rounds, others)
    if "load" in args.parts:
        print("loading the training file", flush=True)
        report["load"] = measure_loads(files.train, 2, with_theirs)
    if "job" in args.parts:
        print(f"data file to the end of an epoch of {args.job_images:,} images", flush=True)
        report |= {"job_depth": args.job_depth, "job_images": args.job_images}
        file = files.train if args.job_images == 10000 else files.test
        report["job"] = measure_jobs(
            file, files.test_20, args.job_depth, 4, args.job_rounds, with_theirs
        )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
