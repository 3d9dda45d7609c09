"""Small changes are found, planted and taken back, and what noticed them is kept."""

import ast
import functools
import json
import shutil

import pytest

from scripts.parity import mutants, scratch
from scripts.parity.scratch import ROOT, Outcome, run_tests

SOURCE = '''"""Words 1."""
x: int = 3
def f(a, b=True) -> "1":
    if a < 2:
        raise ValueError(f"{a + 1}")
    é = sum(a - b, axis=-1)
    return 2.0 * -a
'''


def test_signs_axes_constants_and_comparisons_are_changed_in_place_and_words_are_not(tmp_path):
    file = tmp_path / "m.py"
    file.write_text(SOURCE, encoding="utf-8")
    found, source = mutants.mutants_of("losses", file, tmp_path), file.read_bytes()
    assert {(m.kind, m.old, m.new) for m in found} == {
        ("constant", "3", "4"),
        ("constant", "True", "False"),
        ("comparison", "a < 2", "a <= 2"),
        ("constant", "2", "3"),
        ("sign", "a - b", "a + b"),
        ("axis", "-1", "(1)"),
        ("sign", "2.0 * -a", "2.0 / -a"),
        ("constant", "2.0", "4.0"),
        ("sign", "-a", "(a)"),
    }
    assert [m.line for m in found if m.kind == "axis"] == [6]
    for mutant in found:
        assert source[mutant.start : mutant.end].decode() == mutant.old
        changed = source[: mutant.start] + mutant.new.encode() + source[mutant.end :]
        assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(source))


def test_every_room_has_code_and_tests_and_the_draw_is_the_seeds():
    drawn = mutants.draw(100_000, 1, ROOT)
    assert mutants.draw(10, 1, ROOT) == drawn[:10] != mutants.draw(10, 2, ROOT)
    assert {mutant.room for mutant in drawn} == set(mutants.ROOMS)
    assert len(drawn) > 1000
    for patterns, tests in mutants.ROOMS.values():
        assert all(list(ROOT.glob(pattern)) for pattern in patterns)
        assert all((ROOT / name).exists() for name in tests)


def test_it_goes_on_after_a_stop_and_tells_what_survived(tmp_path, monkeypatch, capsys):
    rooms, outcomes, passed = tmp_path / "checkout", [], Outcome(0, 5, (), "")
    rooms.mkdir()
    failed = Outcome(1, 1, ("tests/losses/test_x.py::test_y",), "")
    ends = {"losses": failed, "loading": Outcome(None, 0, (), ""), "metrics": passed}
    for name in ends:
        (rooms / f"{name}.py").write_text(SOURCE, encoding="utf-8")

    def run(tree, selection, *, cache, limit_s):  # what is changed decides how the tests end
        names = [n for n in ends if (tree / f"{n}.py").read_bytes() != SOURCE.encode()]
        assert len(names) <= 1
        outcomes.append((selection, names))
        return ends.get(selection[-1], passed) if names else passed

    monkeypatch.setattr(mutants, "ROOT", rooms)
    monkeypatch.setattr(mutants, "ROOMS", {name: ([f"{name}.py"], [name]) for name in ends})
    monkeypatch.setattr(mutants, "copy_tree", functools.partial(shutil.copytree, rooms))
    monkeypatch.setattr(mutants, "run_tests", run)
    out = tmp_path / "mutants.json"
    flags = [f"--out={out}", "--seed=1"]
    assert mutants.main([*flags, "--count=6", "--room-only"]) == 0
    assert len(outcomes) == 3 + 6  # unchanged, then each change
    assert mutants.main([*flags, "--count=20", "--room-only"]) == 0
    records = json.loads(out.read_text())
    assert len(records) == 20
    verdicts = {record["room"]: mutants.verdict(record) for record in records}
    assert verdicts == {"losses": failed.failed[0], "loading": "time limit", "metrics": "survived"}
    survived = sum(mutants.verdict(record) == "survived" for record in records)
    last = capsys.readouterr().out.rpartition("\nlosses: ")[2]
    assert last.count("\nsurvived: metrics.py:") == survived > 0
    assert f"all: {20 - survived} of 20 noticed" in last
    # Without --room-only those that survived meet all tests; the others are not run again.
    before = len(outcomes)
    assert mutants.main([*flags, "--count=20"]) == 0
    assert len(outcomes) - before == 3 + 2 * survived
    with pytest.raises(SystemExit, match="another draw"):
        mutants.main([f"--out={out}", "--seed=2", "--count=20"])


def test_a_copy_has_what_tests_need_and_their_run_is_counted_named_and_stopped(tmp_path):
    (tmp_path / "test_a.py").write_text(
        "import time\ndef test_one(): pass\ndef test_two(): assert 0\n"
        "def test_slow(): time.sleep(60)\n"
    )
    done = run_tests(tmp_path, ["-k", "not slow"], cache=tmp_path)
    assert done[:3] == (1, 2, ("test_a.py::test_two",))
    assert run_tests(tmp_path, ["-k", "slow"], cache=tmp_path, limit_s=0.5).code is None
    scratch.copy_tree(tmp_path / "copy")
    for name in ("segjax/config.py", "tests/conftest.py", "README.md", "docs/losses.md"):
        assert (tmp_path / "copy" / name).read_bytes() == (ROOT / name).read_bytes()
    assert not (tmp_path / "copy" / ".git").exists()
