"""Plant one deviation from DLStudio at a time and list the tests that notice.

    python -m scripts.parity.mutations [--report docs/parity.md] [--only NAME]

Each deviation is made in a temporary copy of the tree, so nothing here changes. The same tests must
pass on an unchanged copy first. Needs what the parity suite needs. Exits with 1 if a deviation goes
unnoticed.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- mutations: begin -->", "<!-- mutations: end -->"
INTRODUCTION = """
## What the suite notices

Each deviation was planted alone in a copy of the tree, and these tests were run; the same tests
pass without it. Written by `python -m scripts.parity.mutations --report docs/parity.md`. "Goldens"
needs no PyTorch; "parity" computes the other side with DLStudio at that moment.

"""

# Depth 8 is the least at which every row of blocks has members, and blocks run twice.
GROUPS = {
    "goldens": ["tests/goldens", "-k", "8-True and (passes or mse)"],
    "parity": [
        "tests/parity/test_parity_network.py",
        "-k",
        "one_pass and 8-True",
    ],
    "layers and network": [
        "tests/networks/test_layers.py",
        "tests/networks/test_munet.py",
        "-k",
        "running or normalises or twice or pytorchs",
    ],
}


@dataclass(frozen=True)
class Mutation:
    """A deviation: ``old``, found once in ``file``, becomes ``new``."""

    name: str
    file: str
    old: str
    new: str


MUTATIONS = (
    Mutation(
        "a block used once instead of twice",
        "segjax/networks/munet.py",
        'x = batch_norm(x, "bn1UP")\n        x = run(x, *twice)',
        'x = batch_norm(x, "bn1UP")',
    ),
    Mutation(
        "biased running variance",
        "segjax/networks/layers.py",
        "unbiased = var * (count / max(count - 1, 1))",
        "unbiased = var",
    ),
    Mutation(
        "an unflipped transposed kernel",
        "segjax/dlstudio/weights.py",
        "return weight if weight.shape[-1] == 2 else weight[:, :, ::-1, ::-1]",
        "return weight",
    ),
    Mutation(
        "save2 taken before its batch norm",
        "segjax/networks/munet.py",
        'x = batch_norm(x, "bn1DN")\n        saved2 = x[..., :32]',
        'saved2 = x[..., :32]\n        x = batch_norm(x, "bn1DN")',
    ),
    Mutation(
        "skip halves swapped: the identity's first channels added",
        "segjax/networks/munet.py",
        "x[..., self.features :]",
        "x[..., : self.features]",
    ),
    Mutation(
        "skip halves swapped: save3 joined on as the last channels",
        "segjax/networks/munet.py",
        "jnp.concatenate([saved3, x[..., 64:]], axis=-1)",
        "jnp.concatenate([x[..., 64:], saved3], axis=-1)",
    ),
    Mutation(
        "momentum 0.99",
        "segjax/networks/layers.py",
        "BATCH_NORM_MOMENTUM = 0.9 ",
        "BATCH_NORM_MOMENTUM = 0.99 ",
    ),
)


def copy_tree(target: Path) -> None:
    """Copy what the tests need."""
    for name in ("segjax", "tests", "pyproject.toml"):
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, target / name, ignore=ignored)
        else:
            shutil.copy(source, target / name)


def plant(mutation: Mutation, tree: Path) -> None:
    """Make the change; an error if the text is not there exactly once."""
    file = tree / mutation.file
    text = file.read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        sys.exit(f"{mutation.name}: {mutation.file} holds {mutation.old!r} not exactly once")
    file.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")


def failures(tree: Path, selection: list[str], cache: Path) -> tuple[int, list[str]]:
    """Run tests in ``tree``; return how many ran and the names of those that failed."""
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(tree),
        "SEGJAX_REQUIRE_PARITY": "1",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3",
    }
    environment.pop("SEGJAX_PARITY_REPORT", None)
    done = subprocess.run(
        [*command, *selection, "-m", ""],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        sys.exit(
            f"pytest ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
    ran = sum(int(n) for n in re.findall(r"(\d+) (?:passed|failed|error)", done.stdout))
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return ran, [name.partition("::")[2] for name in failed]


def check(mutation: Mutation | None, cache: Path) -> dict[str, tuple[int, list[str]]]:
    """Return, for each group of tests, how many ran and which failed."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        copy_tree(tree)
        if mutation is not None:
            plant(mutation, tree)
        return {group: failures(tree, selection, cache) for group, selection in GROUPS.items()}


def table(results: dict[str, dict[str, tuple[int, list[str]]]]) -> str:
    """Return the results in Markdown."""
    lines = ["| deviation | " + " | ".join(GROUPS) + " | for instance |"]
    lines.append("|---" * (len(GROUPS) + 2) + "|")
    for name, groups in results.items():
        cells = [f"{len(failed)} of {ran} fail" for ran, failed in groups.values()]
        # Tests that name what they check say most; else the first that failed.
        failed = [test for group in reversed(GROUPS) for test in groups[group][1]]
        lines.append(
            f"| {name} | " + " | ".join(cells) + f" | `{failed[0] if failed else 'none'}` |"
        )
    return "\n".join(lines) + "\n"


def write(report: Path, text: str) -> None:
    """Replace the report's part between the marks, or append it."""
    before, mark, rest = report.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    if not mark:
        before, after = before.rstrip("\n") + "\n" + INTRODUCTION, "\n"
    report.write_text(before + BEGIN + "\n" + text + END + after, encoding="utf-8")


def main() -> None:
    """Check all deviations."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--report", type=Path, help="the Markdown file to write the table into")
    parser.add_argument("--only", help="one deviation, by a part of its name")
    given = parser.parse_args()
    results = {}
    # Most of the time goes into compiling, and a deviation leaves many programs as they were.
    with tempfile.TemporaryDirectory() as cache:
        for group, (ran, failed) in check(None, Path(cache)).items():
            print(f"unchanged, {group}: {ran} tests", flush=True)
            if failed or not ran:
                sys.exit(f"{group} must run and pass before anything is planted: {failed}")
        for mutation in MUTATIONS:
            if given.only and given.only not in mutation.name:
                continue
            found = results[mutation.name] = check(mutation, Path(cache))
            counts = {group: f"{len(failed)}/{ran}" for group, (ran, failed) in found.items()}
            print(f"{mutation.name}: {counts}", flush=True)
    text = table(results)
    print(text)
    if given.report:
        write(given.report, text)
    missed = [n for n, groups in results.items() if not any(f for _, f in groups.values())]
    if missed:
        sys.exit(f"unnoticed: {missed}")


if __name__ == "__main__":
    main()
