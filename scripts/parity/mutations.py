"""Plant one deviation from DLStudio at a time and list the tests that notice.

    python -m scripts.parity.mutations [--report docs/parity.md] [--only NAME]

Each deviation is made in a temporary copy of the tree, so nothing here changes. The same tests must
pass on an unchanged copy first. Needs what the parity suite needs. Exits with 1 if a deviation goes
unnoticed.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from scripts.docs.markdown import table, write_part
from scripts.parity.scratch import copy_tree, run_tests

# Groups of tests, as pytest's arguments: depth 8 is the least at which every row of blocks has
# members, and blocks run twice. Deviations: a file, and the text, found in it once, that becomes
# another.
GROUPS, MUTATIONS = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8")).values()


def check(name: str, tree: Path, cache: Path) -> dict[str, tuple[int, list[str]]]:
    """Plant a deviation ('': none) in a tree, run the groups of tests, and take it back.

    Returns how many tests of each group ran, and the names of those that failed.
    """
    where, old, new = MUTATIONS.get(name, ("segjax/networks/munet.py", "", ""))
    text = (tree / where).read_text(encoding="utf-8")
    if name and text.count(old) != 1:
        sys.exit(f"{name}: {where} holds {old!r} not exactly once")
    (tree / where).write_text(text.replace(old, new), encoding="utf-8")
    found = {}
    for group, selection in GROUPS.items():
        done = run_tests(tree, [*selection, "-m", ""], cache=cache)
        if done.code not in (0, 1):
            sys.exit(f"pytest ended with {done.code}:\n{done.output[-6000:]}")
        found[group] = done.ran, [test.partition("::")[2] for test in done.failed]
    (tree / where).write_text(text, encoding="utf-8")
    counts = {group: f"{len(failed)}/{ran}" for group, (ran, failed) in found.items()}
    print(f"{name or 'unchanged'}: {counts}", flush=True)
    return found


def main() -> None:
    """Check all deviations."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--report", type=Path, help="the Markdown file to write the table into")
    parser.add_argument("--only", default="", help="one deviation, by a part of its name")
    given = parser.parse_args()
    os.environ["SEGJAX_REQUIRE_PARITY"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        tree, cache = Path(folder, "tree"), Path(folder, "compiled")
        copy_tree(tree)
        for group, (ran, failed) in check("", tree, cache).items():
            if failed or not ran:
                sys.exit(f"{group} must run and pass before anything is planted: {failed}")
        results = {name: check(name, tree, cache) for name in MUTATIONS if given.only in name}
    rows, missed = [], []
    for name, groups in results.items():
        cells = [f"{len(failed)} of {ran} fail" for ran, failed in groups.values()]
        # Tests that name what they check say most; else the first that failed.
        tests = [test for group in reversed(GROUPS) for test in groups[group][1]]
        rows.append([name, *cells, f"`{tests[0] if tests else 'none'}`"])
        missed += [] if tests else [name]
    text = "\n".join(table(["deviation", *GROUPS, "for instance"], rows))
    print(text)
    if given.report:
        write_part(given.report, "mutations", "scripts/parity/mutations.py", text)
    if missed:
        sys.exit(f"unnoticed: {missed}")


if __name__ == "__main__":
    main()
