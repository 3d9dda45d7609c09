"""Wrong calls, as strangers make them: each ends in lines, with no traceback and no hang.

    python -m scripts.parity.strangers --out=strangers.json     all; half an hour on two cores
    python -m scripts.parity.strangers --count=30 --seed=1      some, drawn

Every flag of the commands gets values that it was not made for; every kind of file that a command
reads is damaged in many ways. Each call is a process of its own, in a folder of its own. It is good
if it ends within a minute with an exit code of the documentation (0 done, 1 failed, 2 refused) and
without a traceback.
"""

import argparse
import collections
import concurrent.futures
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scripts.docs.markdown import ROOT
from scripts.make_example_folder import Example, write_coco, write_indexed
from segjax import show
from segjax.config import flag_fields
from segjax.data.check import __main__ as check
from segjax.errors import exit_code
from segjax.evaluate import __main__ as evaluate
from segjax.export import __main__ as export
from segjax.loss_table import LOSSES, PARAMETERS
from segjax.predict import __main__ as predict

VALUES = ("-1", "0", "1e30", "nan", "inf", "abc", "", str(2**31), str(2**63))
LIMIT_S = 60
GOOD_CODES = (0, 1, 2)
SMALL = [
    "--data=synthetic", "--synthetic_train=8", "--synthetic_test=4", "--network=unet",
    "--head=dense", "--unet_widths=8", "--unet_patch=4", "--max_steps=2", "--progress=off",
]  # fmt: skip
# Left out: they name a place or another machine, where a wrong value waits for a network.
NOT_TRIED = ("coordinator", "dataroot", "help", "h")
COMMANDS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (predict, ("predict", "run", "images")), (evaluate, ("evaluate", "run", "scenes.gz")),
    (export, ("export", "run", "out")), (check, ("data.check", "data.npz")),
    (show, ("show", "run")), (show, ("show", "--summary")),
)  # fmt: skip
Damage = Callable[[Path, random.Random], Any]


class Call(NamedTuple):
    """What is called, in a folder in which ``file``, if it is given, is damaged."""

    name: str
    arguments: tuple[str, ...]  # after python -m segjax.
    file: str = ""
    damage: str = ""


def flags() -> Iterator[Call]:
    """Yield each flag of each command with each value."""
    asked: list[tuple[tuple[str, ...], str, list[str]]] = []  # what comes before it; the rest
    for field in flag_fields():
        given = [flag for flag in SMALL if not flag.startswith(f"--{field.name}=")]
        given += ["--data=folder:pictures"] * ("own" in field.metadata["of_data"])
        asked.append((("main",), f"--{field.name}", given))
    for name in PARAMETERS:
        loss = next(loss for loss, row in LOSSES.items() if name in row.parameters)
        asked.append((("main",), f"--{name}", [*SMALL, f"--loss={loss}"]))
    layer, outward = ("interop.dlstudio", "layer"), ("interop.dlstudio", "export", "run", "new")
    asked += [(layer, "--input", []), (layer, "--masks", []), (outward, "--step", [])]
    for module, call in COMMANDS:
        asked += [(call, flag, []) for flag in module.make_parser()._option_string_actions]
    tried = [one for one in asked if one[1].lstrip("-") not in NOT_TRIED]
    for (call, flag, rest), value in itertools.product(tried, VALUES):
        yield Call(f"{' '.join(call)} {flag}={value}", (*call, *rest, f"{flag}={value}"))


def damages() -> Iterator[Call]:
    """Yield each kind of file, damaged in each way, with the commands that read it."""
    uses: dict[str, tuple[tuple[str, ...], ...]] = {
        "data.npz": (("data.check", "data.npz"), ("evaluate", "run", "data.npz")),
        "images/a.png": (("predict", "run", "images"),),
        "pictures/masks/a.png": (("data.check", "folder:pictures"),),
        "pictures/classes.txt": (("data.check", "folder:pictures"),),
        "annotations.json": (("data.check", "coco:annotations.json", "--images_dir=images"),),
        "saved_model": (("interop.dlstudio", "import", "saved_model", "new"),),
        "scenes.gz": (("main", *SMALL, "--data=purdue", "--train_file=scenes.gz",
                       "--test_file=scenes.gz"), ("evaluate", "run", "scenes.gz"),
                      ("interop.dlstudio", "layer", "--masks=scenes.gz")),
    }  # fmt: skip
    resume = ("main", "--resume", "--run_dir=run", "--max_steps=4")
    for file in ("config.json", "run.json", "results.json", "metrics.jsonl"):
        uses[f"run/{file}"] = (("show", "run"), ("predict", "run", "images"), resume)
    uses["run/checkpoints/step_00000002/manifest.json"] = (("predict", "run", "images"), resume)
    for file, commands in uses.items():
        ways = [way for way in DAMAGES if ".json" in file or way not in JSON_ONLY]
        for damage, command in itertools.product(ways, commands):
            yield Call(f"{command[0]} {file} {damage}", command, file, damage)


def _bytes(change: Callable[[bytes, random.Random], bytes]) -> Damage:
    return lambda path, rng: path.write_bytes(change(path.read_bytes(), rng))


def _value(value: Any) -> Damage:
    """Put a value in a random place of a JSON file, or of a random line of one of lines."""

    def damage(path: Path, rng: random.Random) -> None:
        lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        at = rng.randrange(len(lines))
        below = tree = json.loads(lines[at])
        while isinstance(below, dict | list) and below and (below is tree or rng.random() < 0.8):
            branch = below
            key = rng.choice(list(branch) if isinstance(branch, dict) else range(len(branch)))
            below = branch[key]
        branch[key] = value
        lines[at] = json.dumps(tree)
        path.write_text("\n".join(lines) + "\n")

    return damage


def _instead(make: Callable[[Path], Any]) -> Damage:
    def damage(path: Path, rng: random.Random) -> None:
        path.unlink()
        make(path)

    return damage


def _flip(content: bytes, rng: random.Random) -> bytes:
    at, bit = rng.randrange(len(content)), 1 << rng.randrange(8)
    return content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :]


def _noise(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + rng.randbytes(64) + content[at + 64 :]


DAMAGES: dict[str, Damage] = {
    "empty": _bytes(lambda content, rng: b""),
    "half": _bytes(lambda content, rng: content[: len(content) // 2]),
    "short": _bytes(lambda content, rng: content[:-1]),
    "long": _bytes(lambda content, rng: content + b"\0"),
    "twice": _bytes(lambda content, rng: content + content),
    "zeros": _bytes(lambda content, rng: bytes(len(content))),
    "flip": _bytes(_flip),
    "flip again": _bytes(_flip),
    "noise": _bytes(_noise),
    "text": _bytes(lambda content, rng: b"hello"),
    "gone": _instead(lambda path: None),
    "folder": _instead(lambda path: path.mkdir()),
    "pipe": _instead(os.mkfifo),
    "link to itself": _instead(lambda path: path.symlink_to(path.name)),
    "link to zeros": _instead(lambda path: path.symlink_to("/dev/zero")),
    "null": _value(None),
    "words": _value("words"),
    "negative": _value(-1),
    "huge": _value(10**400),
    "much": _value(1e308),
    "list": _value([]),
    "object": _value({"a": 1}),
    "nested": _bytes(lambda content, rng: b"[" * 100_000),
    "array": _bytes(lambda content, rng: b"[1, 2]"),
    "no UTF-8": _bytes(lambda content, rng: b'{"a": "\xff"}'),
}
JSON_ONLY = [*DAMAGES][[*DAMAGES].index("null") :]


def make_place(folder: Path) -> None:
    """Make what the calls read: a run, pictures, data of own kinds, scenes, a file of PyTorch's."""
    from segjax.data import synthetic
    from segjax.data.purdue.synthetic import write_gz
    from segjax.dlstudio.torchfile import write_torch_file

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 16, 24, 3), np.uint8)
    masks = rng.integers(0, 3, (6, 16, 24), np.uint8)
    example = Example(("cat", "dog"), tuple("abcdef"), images, masks, masks.astype(np.int32))
    write_coco(example, folder)
    tables = json.loads((folder / "annotations.json").read_text("utf-8"))
    for annotation in tables["annotations"][::2]:  # the others are run lengths
        annotation["segmentation"] = [[1, 1, 9, 1, 9, 9, 1, 9]]
    (folder / "annotations.json").write_text(json.dumps(tables))
    write_indexed(example, folder / "pictures")
    np.savez(folder / "data.npz", images=images, masks=masks)
    write_gz(synthetic(8, seed=0), folder / "scenes.gz")
    write_torch_file(folder / "saved_model", {"conv_out.bias": np.zeros(5, np.float32)})
    done = outcome(Call("run", ("main", *SMALL, "--run_dir=run")), folder)
    assert done["code"] == 0, done


def outcome(call: Call, folder: Path) -> dict[str, Any]:
    """Make a call in a folder; return how it ended, and what is not good about that."""
    paths = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", f"segjax.{call.arguments[0]}", *call.arguments[1:]]
    how: dict[str, Any] = {"cwd": folder, "env": paths, "stdin": subprocess.DEVNULL}
    how |= {"capture_output": True, "text": True, "errors": "replace", "timeout": LIMIT_S}
    try:
        done = subprocess.run(command, **how, check=False)
    except subprocess.TimeoutExpired:
        return {"call": call.name, "code": None, "bad": f"not over after {LIMIT_S} s"}
    bad, code, told = "", done.returncode, done.stderr
    if "Traceback" in told:
        bad = "a traceback: " + told.splitlines()[-1][:200]
    elif code not in GOOD_CODES:
        bad = f"exit code {code}"
    elif code and not (told + done.stdout).strip():
        bad = f"exit code {code} without a word"
    return {"call": call.name, "code": code, "bad": bad, "told": told[-300:]}


def tried(call: Call, place: Path, seed: int) -> dict[str, Any]:
    """Make a call in a copy of a place."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "place"
        shutil.copytree(place, copy)
        if call.file:
            DAMAGES[call.damage](copy / call.file, random.Random(f"{seed} {call.name}"))
        return outcome(call, copy)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the calls; return 1 if one of them is not good."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--count", type=int, default=0, help="so many, drawn; 0: all")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn")
    parser.add_argument("--jobs", type=int, default=2, help="calls at a time; default: 2")
    parser.add_argument("--out", type=Path, help="file for the outcomes, as JSON")
    return exit_code(lambda: _run(parser.parse_args(arguments)))


def _run(given: argparse.Namespace) -> int:
    calls = [*flags(), *damages()]
    if given.count:
        calls = random.Random(given.seed).sample(calls, given.count)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "place"
        make_place(place)
        with concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
            for one in pool.map(lambda call: tried(call, place, given.seed), calls):
                found.append(one)
                if one["bad"]:
                    print(f"{one['call']}: {one['bad']}", flush=True)
    counts = collections.Counter("bad" if one["bad"] else one["code"] for one in found)
    said = {0: "done", 1: "failed in lines", 2: "refused", "bad": "not good"}
    told = ", ".join(f"{counts[key]} {text}" for key, text in said.items())
    print(f"{len(found)} calls: {told}")
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n")
    return 1 if counts["bad"] else 0


if __name__ == "__main__":
    sys.exit(main())
