"""Plant small changes drawn at random, one at a time, and record which test notices each.

    python -m scripts.parity.mutants --count=100 --seed=1 --out=mutants.json [--room-only]

A change is a sign, an axis, a constant or a comparison in one place of ``ROOMS``. In a copy of the
checkout the tests of its room run first, up to the first failure, then README's test command. The
result of each goes into the file at once; the same command goes on after a stop.
"""

import argparse
import ast
import copy
import itertools
import json
import operator
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scripts.parity.scratch import ROOT, copy_tree, run_tests

# Where changes are drawn, and the tests of that room.
ROOMS = {
    "losses": (["segjax/losses/**/*.py"], ["tests/losses"]),
    "metrics": (["segjax/metrics/**/*.py"], ["tests/metrics"]),
    "networks": (["segjax/networks/**/*.py"], ["tests/networks", "tests/goldens"]),
    "step": (["segjax/training/**/*.py"], ["tests/training"]),
    "loading": (["segjax/data/**/*.py"], ["tests/data"]),
    "checkpoints": (["segjax/runs/**/*.py"], ["tests/runs"]),
}
# Files of those folders that are about neither a step nor a checkpoint, as far as they exist.
BESIDE = {
    "backend", "evaluate", "loop", "many", "processes", "profile", "program", "results",
    "run", "trainer", "vmapped", "folder", "logs", "seeds",
}  # fmt: skip
SIGNS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
CONSTANTS: dict[type, Callable[[Any], Any]] = {
    bool: operator.not_, int: lambda whole: whole + 1, float: lambda real: 2 * real or 1.0,
}  # fmt: skip
# What these hold is words, types or settings of a decorator.
PASSED_OVER = {"annotation", "returns", "decorator_list", "exc", "msg"}


class Mutant(NamedTuple):
    """A change: the bytes ``start`` to ``end`` of ``file``, which are ``old``, become ``new``."""

    room: str
    file: str
    line: int
    kind: str
    start: int
    end: int
    old: str
    new: str

    def __str__(self) -> str:
        old = " ".join(self.old.split())
        return f"{self.file}:{self.line}: {self.kind}: {old} -> {self.new}"


def places(node: ast.AST, *, axis: bool = False) -> Iterator[tuple[str, ast.expr, ast.expr]]:
    """Yield each small change below a node: its kind, the expression, and what it becomes."""
    kind = "axis" if axis else "constant"
    if isinstance(node, ast.BinOp) and type(node.op) in SIGNS:
        yield "sign", node, ast.BinOp(node.left, SIGNS[type(node.op)](), node.right)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield ("axis" if axis else "sign"), node, node.operand
        if axis:
            return
    elif isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            changed = copy.deepcopy(node)
            changed.ops[index] = COMPARISONS[type(operator)]()
            yield "comparison", node, changed
    elif isinstance(node, ast.Constant) and type(node.value) in CONSTANTS:
        yield kind, node, ast.Constant(CONSTANTS[type(node.value)](node.value))
    for name, value in ast.iter_fields(node):
        if name in PASSED_OVER or isinstance(node, ast.JoinedStr):
            continue
        below = isinstance(node, ast.keyword) and node.arg in ("axis", "axes")
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from places(child, axis=axis or below)


def mutants_of(room: str, file: Path, root: Path) -> list[Mutant]:
    """Return every small change of a file."""
    source = file.read_bytes()
    starts = [0, *itertools.accumulate(map(len, source.splitlines(keepends=True)))]
    found = []
    for kind, node, other in places(ast.parse(source)):
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        old = source[start:end].decode()
        # What stands around an expression may bind tighter than what it becomes.
        new = f"({ast.unparse(other)})" if isinstance(node, ast.UnaryOp) else ast.unparse(other)
        name = file.relative_to(root).as_posix()
        found.append(Mutant(room, name, node.lineno, kind, start, end, old, new))
    return found


def draw(count: int, seed: int, root: Path) -> list[Mutant]:
    """Return ``count`` changes, evenly from all that there are; fewer are the first of more."""
    pool = [
        mutant
        for room, (patterns, _) in ROOMS.items()
        for pattern in patterns
        for file in sorted(root.glob(pattern))
        if room not in ("step", "checkpoints") or file.stem not in BESIDE
        for mutant in mutants_of(room, file, root)
    ]
    random.Random(seed).shuffle(pool)
    return pool[:count]


def noticed_by(tree: Path, selection: Sequence[str], given: argparse.Namespace, cache: Path) -> str:
    """Return the first test that fails in a tree, 'time limit', or '' if all pass."""
    workers = ["-n", str(given.workers)] if given.workers else []
    done = run_tests(tree, ["-x", *workers, *selection], cache=cache, limit_s=given.limit_s)
    if done.code is None:
        return "time limit"
    return [*done.failed, *done.output.strip().splitlines()[-1:]][0] if done.code else ""


def examine(mutant: Mutant, tree: Path, given: argparse.Namespace, cache: Path) -> dict[str, Any]:
    """Plant a change in a tree, run the tests, take the change back; return what noticed it."""
    file, started = tree / mutant.file, time.monotonic()
    source = file.read_bytes()
    file.write_bytes(source[: mutant.start] + mutant.new.encode() + source[mutant.end :])
    try:
        found = {"room": noticed_by(tree, ROOMS[mutant.room][1], given, cache)}
        if not found["room"] and not given.room_only:
            found["suite"] = noticed_by(tree, [], given, cache)
    finally:
        file.write_bytes(source)
    return {**mutant._asdict(), "noticed_by": found, "seconds": round(time.monotonic() - started)}


def mutant_of(record: dict[str, Any]) -> Mutant:
    """Return the change that a record is about."""
    return Mutant(*(record[name] for name in Mutant._fields))


def verdict(record: dict[str, Any]) -> str:
    """Return the test that noticed a change, or 'survived'."""
    found = record["noticed_by"]
    return found["room"] or found.get("suite") or "survived"


def summary(records: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line for each room, one for all, and one for each change that nothing noticed."""
    lines, survived = [], [record for record in records if verdict(record) == "survived"]
    for room in [*ROOMS, "all"]:
        those, left = (
            [r for r in group if room in (r["room"], "all")] for group in (records, survived)
        )
        inside = sum(bool(record["noticed_by"]["room"]) for record in those)
        noticed = f"{len(those) - len(left)} of {len(those)} noticed"
        lines.append(f"{room}: {noticed}, {inside} by the room's own tests")
    return lines + [f"survived: {mutant_of(record)}" for record in survived]


def main(arguments: Sequence[str] | None = None) -> int:
    """Examine the changes that have not been; return 1 if the tests fail without any."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--count", type=int, default=100, help="changes to draw")
    add("--seed", type=int, default=1, help="of the draw")
    add("--out", type=Path, required=True, help="JSON file of what was found; read if it is there")
    add("--room-only", action="store_true", help="leave README's test command out")
    add("--workers", type=int, default=2, help="of pytest; 0: none")
    add("--limit_s", type=float, default=1200, help="a run of tests that takes longer has noticed")
    given = parser.parse_args(arguments)
    drawn = draw(given.count, given.seed, ROOT)
    records = json.loads(given.out.read_text("utf-8")) if given.out.exists() else []
    known = {mutant_of(record): record for record in records}
    if strangers := [mutant for mutant in known if mutant not in drawn]:
        sys.exit(f"{given.out}: holds another draw, or of other code: {strangers[0]}")
    with tempfile.TemporaryDirectory() as folder:
        tree, cache = Path(folder, "tree"), Path(folder, "compiled")
        copy_tree(tree)
        half = [] if given.room_only else [{"room": ""}]  # README's command is still to be tried
        todo = [m for m in drawn if m not in known or known[m]["noticed_by"] in half]
        for selection in [ROOMS[room][1] for room in ROOMS] if todo else []:
            if failed := noticed_by(tree, selection, given, cache):
                print(f"{' '.join(selection)} must pass before anything is planted: {failed}")
                return 1
        for mutant in todo:
            known[mutant] = examine(mutant, tree, given, cache)
            records = [known[m] for m in drawn if m in known]
            given.out.write_text(json.dumps(records, indent=1) + "\n", "utf-8")
            print(f"{mutant}: {verdict(known[mutant])}", flush=True)
    print("\n".join(summary(records)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
