"""Damage is named and passed over; another network is an error; nothing wrong is restored."""

import contextlib
import functools
import json
import operator
import os
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
from tests.runs.checkpoint_states import META, assert_same, make_state


def small(seed):
    draw = np.random.default_rng(seed).standard_normal
    params = {"kernel": jnp.float32(draw((3, 3, 2, 4))), "bias": jnp.bfloat16(draw(4))}
    return {"params": params, "opt_state": (jnp.float32(draw(300)),), "key": jax.random.key(seed)}


@pytest.fixture
def pair(tmp_path):
    """A folder with the good steps 10 and 20."""
    folder, lines = tmp_path / "checkpoints", []
    checkpoints = Checkpoints(folder, notify=lines.append)
    for step in (10, 20):
        checkpoints.save(step, small(step), {"epoch": step // 10})
    return checkpoints, folder / "step_00000020", lines


def files_of(path):
    return sorted(p for p in path.rglob("*") if p.is_file())


def restored(folder):
    """The step that a new process restores, bit for bit, and what is said on the way."""
    lines = []
    state, meta, step = Checkpoints(folder, notify=lines.append).restore(small(0))
    assert_same(state, small(step))
    assert meta == {"epoch": step // 10}
    return step, lines


def expect_fallback(folder, reason):
    return told_of_fallback(*restored(folder), reason)


def told_of_fallback(step, lines, reason):
    named, used = lines
    assert step == 10
    assert "step_00000020 is damaged" in named
    assert reason in named
    assert "step_00000010 is the one used" in used
    return named


def test_damage_in_any_file_is_named_and_passed_over(pair):
    """Each file in turn: bits flipped at its ends and at random places, cut short, and gone."""
    newest, rng = pair[1], random.Random(0)
    noticed = harmless = 0
    for file in files_of(newest):
        intact, name = file.read_bytes(), file.relative_to(newest).as_posix()
        ends = {0, len(intact) - 1} if intact else ()
        for place in sorted({*ends, *(rng.randrange(len(intact)) for _ in range(12) if intact)}):
            damaged = bytearray(intact)
            damaged[place] ^= 1 << rng.randrange(8)
            file.write_bytes(damaged)
            if (found := restored(newest.parent)) == (20, []):
                # Only the manifest, in white space that JSON ignores.
                assert name == "manifest.json"
                harmless += 1
            else:
                told_of_fallback(*found, name)
                noticed += 1
        for left in (0.0, 0.5, 0.99) if intact else ():
            file.write_bytes(intact[: int(len(intact) * left)])
            named = expect_fallback(newest.parent, name)
            assert name == "manifest.json" or f" instead of {len(intact):,}" in named
        file.unlink()
        expect_fallback(newest.parent, f"{name} is missing")
        file.write_bytes(intact)
    assert noticed > 80
    assert harmless < 15


def test_every_byte_of_a_small_manifest_is_guarded(tmp_path):
    path = Checkpoints(tmp_path).save(1, {"w": np.zeros((0,), np.int8)}, {"e": 1}, best_score=0.5)
    file, folder, rng = path / "manifest.json", storage.StepFolder(1, 1, path), random.Random(0)
    content = json.loads(intact := file.read_bytes())
    for place in range(len(intact)):
        damaged = bytearray(intact)
        damaged[place] ^= 1 << rng.randrange(8)
        file.write_bytes(damaged)
        with contextlib.suppress(storage.DamageError):
            manifest = storage.read_manifest(folder)
            assert {**manifest, "manifest_sha256": content["manifest_sha256"]} == content


def test_a_manifest_that_is_sealed_and_makes_no_sense_is_damage(pair):
    newest = pair[1]
    file = newest / "manifest.json"
    good = file.read_text()
    first = sorted(json.loads(good)["arrays"])[0]
    listed = sorted(json.loads(good)["files"])[0]
    for path, value in (
        *(((key,), None) for key in ("format", "step", "meta", "arrays", "files")),
        *(((key,), [1]) for key in ("meta", "arrays", "files", "score")),
        *((("arrays", first, key), value) for key, value in (("dtype", 3), ("shape", 3))),
        (("arrays", first, "shape"), ["3"]),
        (("arrays", first), []),
        (("files", listed, "bytes"), "1"),
        (("files", listed), None),
        (("step",), "20"),
    ):
        manifest = json.loads(good)
        *parents, last = path
        branch = functools.reduce(operator.getitem, parents, manifest)
        if value is None:
            del branch[last]
        else:
            branch[last] = value
        del manifest["manifest_sha256"]
        file.write_text(storage._sealed(manifest))
        if path != ("files", listed):  # one that is not listed is not looked at
            expect_fallback(newest.parent, "")
    file.unlink()
    os.mkfifo(file)
    expect_fallback(newest.parent, "not a regular file")


def test_folders_that_are_no_step_are_named_and_cleaned_by_the_next_save(pair):
    pair, newest, lines = pair
    (pair.folder / "step_00000030").mkdir()
    shutil.copytree(newest, pair.folder / ".saving-step_00000030-1-ab")
    assert pair.steps() == [10, 20]
    state, _, step = pair.restore(small(0))
    assert step == 20
    assert_same(state, small(20))
    assert ".saving-step_00000030-1-ab: left over from an interrupted save" in lines[0]
    assert "step_00000030 is damaged and not used: the folder is empty" in lines[1]
    pair.save(30, small(30), {"epoch": 3})
    names = sorted(p.name for p in pair.folder.iterdir())
    assert names == ["step_00000020", "step_00000030.2"]
    newest.rename(pair.folder / "step_00000040")
    assert pair.restore(small(0)).step == 30
    assert "manifest.json is of step 20: was the folder renamed?" in lines[3]


def test_manifest_of_another_format_is_left_alone(pair):
    pair, newest, _ = pair
    content = json.loads((file := newest / "manifest.json").read_text())
    content.pop("manifest_sha256")
    file.write_text(storage._sealed({**content, "format": 99}))
    assert pair.steps() == [10]
    for step in (30, 40, 50):
        pair.save(step, small(step), {"epoch": step // 10})
    assert newest.is_dir()
    assert pair.steps() == [40, 50]


def test_wrong_values_from_the_reader_are_noticed(pair, monkeypatch):
    """Were Orbax to cast or mix up arrays of intact files, the entry per array would tell."""

    def unreadable(_bias):
        raise ValueError("first line\nsecond line")

    def load(path):
        loaded = dict(genuine(path))
        if "step_00000020" in str(path):
            loaded["params/bias"] = wrong(np.asarray(loaded["params/bias"]))
        return loaded

    genuine, differs = storage._load, "array params/bias is not what was saved"
    monkeypatch.setattr(storage, "_load", load)
    for wrong, told in (  # cast, reinterpreted, reshaped, swapped
        (lambda bias: bias.astype(np.float32), differs), (lambda bias: bias[::-1], differs),
        (lambda bias: bias.view(np.int16), differs), (lambda bias: bias.reshape(2, 2), differs),
        (unreadable, "Orbax cannot read arrays: first line"),
    ):  # fmt: skip
        named = expect_fallback(pair[0].folder, told)
        assert ("array params/bias" in named) == (wrong is not unreadable)
        assert "second line" not in named


def test_a_checkpoint_asked_for_has_no_stand_in_and_all_reasons_are_told(tmp_path, pair):
    pair, newest, lines = pair
    other = Checkpoints(tmp_path / "other", notify=lines.append)
    other.save(1, small(1), {})
    other.save(30, make_state(1), {})
    for checkpoints, which, said in (
        (Checkpoints(tmp_path / "none"), "newest", r"no checkpoint in .*/none"),
        (pair, 15, "no step 15 in .*: it has the steps 10, 20"), (pair, "latest", "which='latest'"),
        # Older steps would fit, but to use one would hide a mistake in the settings.
        (other, "newest", "step_00000030 does not belong to this run"),
    ):  # fmt: skip
        with pytest.raises(CheckpointError, match=said):
            checkpoints.restore(small(0), which=which)
    assert lines == []
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


def test_manifest_says_what_is_inside(tmp_path):
    from orbax.checkpoint import v1

    path = Checkpoints(tmp_path).save(7, make_state(7), META, best_score=0.25)
    manifest = json.loads(text := (path / "manifest.json").read_text())
    assert text.startswith('{\n "format": 1,\n "step": 7,\n')
    assert storage._seal({"a": 1, "b": 2}) == storage._seal({"b": 2, "a": 1})
    assert (manifest["step"], manifest["score"], manifest["meta"]) == (7, 0.25, META)
    kernel = manifest["arrays"]["params/conv_0/kernel"]
    assert (kernel["dtype"], kernel["shape"]) == ("float32", [3, 3, 8, 8])
    assert manifest["arrays"]["key"]["key_impl"] == "threefry2x32"
    on_disk = {p.relative_to(path).as_posix() for p in files_of(path)}
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
    command = [sys.executable, "-W", "error", "-c", QUIET, str(tmp_path)]
    how = {"capture_output": True, "text": True, "cwd": Path(__file__).parents[2]}
    done = subprocess.run(command, check=False, **how)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    (said,) = done.stderr.splitlines()
    assert said.split("] ")[-1] == "INFO:absl:others may speak"
