"""Measure segjax's speed, beside DLStudio on PyTorch where that is installed, into one JSON file.

    python -m scripts.benchmark --out=docs/results/benchmark-cpu.json
    python -m scripts.benchmark.page docs/results/benchmark-cpu.json

Both sides run as processes of their own and take turns, so that what disturbs one disturbs the
other; ratios are taken turn by turn. Needs ``pip install -e '.[test]'``; the comparison also
``pip install -e '.[parity]' && pip install --no-deps DLStudio==2.3.6``.
"""

import argparse
import datetime
import importlib.util
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import wait
from importlib.metadata import version
from pathlib import Path
from typing import Any

from scripts.benchmark import ours, theirs
from scripts.benchmark.worker import Answer, Side, ask_once
from segjax.files import write_text

Ask = tuple[Callable[..., Answer], dict[str, Any]]
BUSY = 0.1  # of all cores; more than that by others spoils a measurement


def busy_share() -> float | None:
    """Return the share of all cores that others use within a second; None where not known."""
    read: list[list[int]] = []
    if not (stat := Path("/proc/stat")).exists():
        return None
    for pause in (1, 0):
        read.append([int(word) for word in stat.read_text().splitlines()[0].split()[1:9]])
        time.sleep(pause)
    took = [after - before for before, after in zip(*read, strict=True)]
    return 1 - (took[3] + took[4]) / max(1, sum(took))  # idle, and waiting for the disk


def module_of(side: str) -> Any:
    """Return what a side of this name runs."""
    return theirs if side in theirs.MODES else ours


def measure_network(sides: dict[str, Side], how: dict[str, Any], rounds: int) -> list[Answer]:
    """Return one record a kind of pass: seconds of every side, turn by turn."""
    calls = 2 if how["batch"] <= 32 else 1
    records = []
    built = {n: side.ask(module_of(n).build, **how, mode=n) for n, side in sides.items()}
    for kind in ("step", "forward"):
        answers: dict[str, list[Answer]] = {name: [] for name in sides}
        for count in (1, *[calls] * rounds):  # the first warms up
            for name, side in sides.items():
                answers[name].append(side.ask(module_of(name).measure, kind=kind, count=count))
        record = {"kind": kind, **how}
        record["seconds"] = {n: [min(a["seconds"]) for a in v[1:]] for n, v in answers.items()}
        record["first_step"] = {name: answer["first_step"] for name, answer in built.items()}
        for key in ("peak_bytes", "device_bytes"):
            record[key] = {name: found[-1][key] for name, found in answers.items()}
        records.append(record)
    return records


def in_turns(rounds: int, mine: dict[str, Ask], others: dict[str, Ask]) -> list[dict[str, Answer]]:
    """Return what processes of their own answer, turn by turn; ours share a cache in each turn."""
    turns = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            one = {name: ask_once(do, **how, cache_dir=cache) for name, (do, how) in mine.items()}
        turns.append(one | {name: ask_once(do, **how) for name, (do, how) in others.items()})
    return turns


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
    add("--at_once", action="store_true", help="build everything first, side by side: for a GPU")
    parts_help = "network, load, job; choices: what those for CPUs are worth; runs: 8 at once"
    add("--parts", nargs="*", default=["network", "load", "job"], help=parts_help)
    add("--job_depth", type=int, default=16)
    job_images = "images of the whole job: the test file's 1,000 or the training file's 10,000"
    add("--job_images", type=int, default=1000, choices=[1000, 10000], help=job_images)
    add("--job_rounds", type=int, default=2)
    add("--allow_busy", action="store_true", help="measure although others use the machine")
    args = parser.parse_args()

    busy = busy_share()
    if busy is not None and busy > BUSY and not args.allow_busy:
        told = f"other processes use {busy:.0%} of this machine; wait for them, or --allow_busy"
        sys.exit(f"{told}, which the report then says")
    from segjax.data.fetch import fetch

    with_theirs = all(importlib.util.find_spec(name) for name in ("torch", "DLStudio"))
    others = theirs.MODES[: 1 + args.compile] if with_theirs else ()
    report: dict[str, Any] = {"date": datetime.date.today().isoformat(), "busy_before": busy}
    with Side() as side:
        report["environment"] = side.ask(ours.about)
        if others:
            report["environment"]["versions"] |= {p: version(p) for p in ("torch", "DLStudio")}
        size = 2048 if report["environment"]["platform"] == "cpu" else 8192
        products = {d: side.ask(ours.matmul, size=size, dtype=d, count=5) for d in args.dtypes}
        sizes = {str(depth): side.ask(ours.size_of, depth=depth) for depth in args.depths}
    report["matmul"] = {dtype: found["flops_a_second"] for dtype, found in products.items()}
    report["forward_flops"] = {depth: found["forward_flops"] for depth, found in sizes.items()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for found in measured(args, fetch(), others):
        report |= found
        write_text(args.out, json.dumps(report, indent=1) + "\n")  # kept, whatever comes next
    print(f"wrote {args.out}")


def measured(args: argparse.Namespace, files: Any, others: Sequence[str]) -> Iterator[Answer]:
    """Yield what the report gains, measurement by measurement; ``others``: PyTorch's modes."""
    beside = {"network": others, "choices": ours.CHOICES, "runs": [ours.MANY]}
    found: Answer = {part: [] for part in beside if part in args.parts}
    shapes = itertools.product(found, args.dtypes, args.depths, args.batches)
    asked = [
        (
            part,
            {"depth": depth, "batch": batch, "dtype": dtype},
            {name: Side() for name in ("segjax", *beside[part])},
        )
        for part, dtype, depth, batch in shapes
    ]
    if args.at_once:  # a side that is asked to build the same again answers what it has built
        each = ((*pair, how) for _, how, sides in asked for pair in sides.items())
        wait([side.submit(module_of(n).build, **how, mode=n) for n, side, how in each])
    for part, how, sides in asked:
        print(f"{part}: depth {how['depth']}, batch {how['batch']}, {how['dtype']}", flush=True)
        rounds = args.rounds if how["batch"] <= 32 else max(2, args.rounds // 2)
        found[part] += measure_network(sides, how, rounds)
        for side in sides.values():
            side.shutdown()
        yield found
    if "load" in args.parts:
        print("loading the training file", flush=True)
        about: dict[str, Any] = {"file": str(files.train)}
        loads = {"first": (ours.load, {**about, "cached": False})}
        loads["later"] = (ours.load, {**about, "cached": True})
        pickle = {"pickle": (theirs.load, about)} if others else {}
        yield {"load": in_turns(args.rounds, loads, pickle)}
    if "job" in args.parts:
        print(f"data file to the end of an epoch of {args.job_images:,} images", flush=True)
        file = files.train if args.job_images == 10000 else files.test
        about = {"train_file": str(file), "depth": args.job_depth, "batch": 4}
        job = (ours.whole_job, {**about, "test_file": str(files.test_20)})
        dlstudio = {"dlstudio": (theirs.whole_job, about)} if others else {}
        jobs = in_turns(args.job_rounds, {"cold": job, "warm": job}, dlstudio)
        yield {"job_depth": args.job_depth, "job_images": args.job_images, "job": jobs}


if __name__ == "__main__":
    main()
