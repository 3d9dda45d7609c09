"""Damage is named and passed over; another network is an error; nothing wrong is restored."""

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.errors import CheckpointError
from segjax.runs import storage
from segjax.runs.checkpoints import Checkpoints
from tests.runs.checkpoint_states import META, assert_same, bits, make_state


def small(seed):
    rng = np.random.default_rng(seed)
    return {
        "params": {
            "kernel": jnp.asarray(rng.standard_normal((3, 3, 2, 4)), jnp.float32),
            "bias": jnp.asarray(rng.standard_normal(4), jnp.bfloat16),
        },
        "opt_state": (jnp.asarray(rng.standard_normal(300), jnp.float32),),
        "key": jax.random.key(seed),
    }


@pytest.fixture
def lines():
    return []


@pytest.fixture
def pair(tmp_path, lines):
    """A folder with the good steps 10 and 20."""
    checkpoints = Checkpoints(tmp_path / "checkpoints", notify=lines.append)
    for step in (10, 20):
        checkpoints.save(step, small(step), {"epoch": step // 10})
    return checkpoints


@pytest.fixture
def newest(pair):
    return pair.folder / "step_00000020"


def files_of(path):
    return sorted(p for p in path.rglob("*") if p.is_file())


def expect_fallback(checkpoints, lines, reason):
    restored, meta, step = checkpoints.restore(small(0))
    assert (step, meta) == (10, {"epoch": 1})
    assert_same(restored, small(10))
    assert len(lines) == 2, lines
    assert "step_00000020 is damaged" in lines[0]
    assert reason in lines[0]
    assert "step_00000010 is the one used" in lines[1]


def test_flipped_bits_are_noticed_in_every_file(pair, newest, lines):
    """Each file in turn, at its ends and at random places: noticed, or without any effect."""
    rng = random.Random(0)
    noticed = harmless = 0
    for file in files_of(newest):
        intact = file.read_bytes()
        ends = {0, len(intact) - 1} if intact else ()
        for place in sorted({*ends, *(rng.randrange(len(intact)) for _ in range(12) if intact)}):
            damaged = bytearray(intact)
            damaged[place] ^= 1 << rng.randrange(8)
            file.write_bytes(damaged)
            lines.clear()
            fresh = Checkpoints(pair.folder, notify=lines.append)
            restored, meta, step = fresh.restore(small(0))
            assert bits(restored) == bits(small(step))
            assert meta == {"epoch": step // 10}
            if step == 10:
                assert file.relative_to(newest).as_posix() in lines[0]
                noticed += 1
            else:
                # Only the manifest, in white space that JSON ignores.
                assert (file.name, lines) == ("manifest.json", [])
                harmless += 1
        file.write_bytes(intact)
    assert noticed > 80
    assert harmless < 15


def test_every_byte_of_a_small_manifest_is_guarded(tmp_path):
    rng = random.Random(0)
    path = Checkpoints(tmp_path).save(1, {"w": np.zeros((0,), np.int8)}, {"e": 1}, best_score=0.5)
    file = path / "manifest.json"
    intact = file.read_bytes()
    content = json.loads(intact)
    folder = storage.StepFolder(1, 1, path)
    for place in range(len(intact)):
        damaged = bytearray(intact)
        damaged[place] ^= 1 << rng.randrange(8)
        file.write_bytes(damaged)
        try:
            manifest = storage.read_manifest(folder)
        except storage.DamageError:
            continue
        assert {**manifest, "manifest_sha256": content["manifest_sha256"]} == content


@pytest.mark.parametrize("left", [None, 0.0, 0.5, 0.99])
def test_files_that_are_missing_or_cut_are_named(pair, newest, lines, left):
    for file in files_of(newest):
        intact, name = file.read_bytes(), file.relative_to(newest).as_posix()
        if left is None:
            file.unlink()
        elif intact:
            file.write_bytes(intact[: int(len(intact) * left)])
        else:
            continue
        lines.clear()
        fresh = Checkpoints(pair.folder, notify=lines.append)
        expect_fallback(fresh, lines, name + " is missing" * (left is None))
        if left is not None and name != "manifest.json":
            assert f" instead of {len(intact):,}" in lines[0]
        file.write_bytes(intact)


def test_folders_that_are_no_step_are_named_and_cleaned_by_the_next_save(pair, newest, lines):
    (pair.folder / "step_00000030").mkdir()
    shutil.copytree(newest, pair.folder / ".saving-step_00000030-1-ab")
    assert pair.steps() == [10, 20]
    restored, _, step = pair.restore(small(0))
    assert step == 20
    assert_same(restored, small(20))
    assert ".saving-step_00000030-1-ab: left over from an interrupted save" in lines[0]
    assert "step_00000030 is damaged and not used: the folder is empty" in lines[1]
    pair.save(30, small(30), {"epoch": 3})
    names = sorted(p.name for p in pair.folder.iterdir())
    assert names == ["step_00000020", "step_00000030.2"]
    newest.rename(pair.folder / "step_00000040")
    assert pair.restore(small(0)).step == 30
    assert "manifest.json is of step 20: was the folder renamed?" in lines[3]


def test_manifest_of_another_format_is_left_alone(pair, newest):
    file = newest / "manifest.json"
    content = json.loads(file.read_text())
    content.pop("manifest_sha256")
    file.write_text(storage._sealed({**content, "format": 99}))
    assert pair.steps() == [10]
    for step in (30, 40, 50):
        pair.save(step, small(step), {"epoch": step // 10})
    assert newest.is_dir()
    assert pair.steps() == [40, 50]


def unreadable(_bias):
    raise ValueError("first line\nsecond line")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda bias: bias.astype(np.float32), "is not what was saved"),
        (lambda bias: bias.view(np.int16), "is not what was saved"),
        (lambda bias: bias.reshape(2, 2), "is not what was saved"),
        (lambda bias: bias[::-1], "is not what was saved"),
        (unreadable, "Orbax cannot read arrays: first line"),
    ],
    ids=["cast", "reinterpreted", "reshaped", "swapped", "unreadable"],
)
def test_wrong_values_from_the_reader_are_noticed(pair, lines, monkeypatch, wrong, told):
    """Were Orbax to cast or mix up arrays of intact files, the entry per array would tell."""
    genuine = storage._load

    def load(path):
        loaded = dict(genuine(path))
        if "step_00000020" in str(path):
            loaded["params/bias"] = wrong(np.asarray(loaded["params/bias"]))
        return loaded

    monkeypatch.setattr(storage, "_load", load)
    expect_fallback(pair, lines, told)
    assert ("array params/bias" in lines[0]) == (wrong is not unreadable)
    assert "second line" not in lines[0]


def test_a_checkpoint_asked_for_has_no_stand_in_and_all_reasons_are_told(tmp_path, pair, newest):
    with pytest.raises(CheckpointError, match=r"no checkpoint in .*/none"):
        Checkpoints(tmp_path / "none").restore(small(0))
    with pytest.raises(CheckpointError, match=r"no step 15 in .*: it has the steps 10, 20"):
        pair.restore(small(0), which=15)
    with pytest.raises(CheckpointError, match="which='latest'"):
        pair.restore(small(0), which="latest")
    (newest / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=r"no good step 20 .*manifest.json is missing"):
        pair.restore(small(0), which=20)
    assert pair.restore(small(0), which=10).step == 10
    older = pair.folder / "step_00000010"
    target = max(files_of(older / "arrays"), key=lambda file: file.stat().st_size)
    target.write_bytes(target.read_bytes()[:-1])
    with pytest.raises(CheckpointError) as caught:
        pair.restore(small(0))
    told = str(caught.value)
    assert "no good checkpoint in" in told
    assert "step_00000020: manifest.json is missing" in told
    assert f"step_00000010: file {target.relative_to(older)} has" in told
    assert "\n" not in told


def test_another_network_is_never_passed_over(pair, lines):
    """Older steps would fit, but to use one would hide a mistake in the settings."""
    pair.save(30, make_state(1), {})
    with pytest.raises(CheckpointError, match="step_00000030 does not belong to this run"):
        pair.restore(small(0))
    assert lines == []


def test_manifest_says_what_is_inside(tmp_path):
    from orbax.checkpoint import v1

    path = Checkpoints(tmp_path).save(7, make_state(7), META, best_score=0.25)
    manifest = json.loads((path / "manifest.json").read_text())
    assert (manifest["step"], manifest["score"], manifest["meta"]) == (7, 0.25, META)
    kernel = manifest["arrays"]["params/conv_0/kernel"]
    assert (kernel["dtype"], kernel["shape"]) == ("float32", [3, 3, 8, 8])
    assert manifest["arrays"]["key"]["key_impl"] == "threefry2x32"
    on_disk = {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()}
    assert on_disk == {*manifest["files"], "manifest.json"}
    # Orbax alone can read the arrays.
    mean = make_state(7).opt_state[1][0].mu["conv_0"]["kernel"]
    np.testing.assert_array_equal(v1.load(path / "arrays")["opt_state/1/0/mu/conv_0/kernel"], mean)


QUIET = """
import logging, sys
import absl.logging
absl.logging.set_verbosity(absl.logging.INFO)
import numpy as np
from segjax.runs.checkpoints import Checkpoints, load_params
assert "orbax" not in sys.modules, "Orbax is slow to import and must wait for its first use"
state = {"params": {"w": np.ones((4, 4), np.float32)}, "empty": np.zeros((0,), np.int8)}
checkpoints = Checkpoints(sys.argv[1], keep=1)
for step in range(3):
    checkpoints.save(step, state, {"epoch": step}, best_score=-step)
checkpoints.restore(state)
load_params(sys.argv[1])
filters = [getattr(f, "__name__", "") for f in logging.getLogger("absl").filters]
assert filters.count("_not_from_orbax") == 1
absl.logging.info("others may speak")
"""


def test_saving_and_restoring_are_silent(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", QUIET, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert [line.split("] ")[-1] for line in done.stderr.splitlines()] == [
        "INFO:absl:others may speak"
    ]
