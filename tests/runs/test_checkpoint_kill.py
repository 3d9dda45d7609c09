"""A save that is cut off at any moment leaves the previous checkpoint good."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from segjax.runs import storage
from segjax.runs.checkpoints import Checkpoints
from tests.runs.checkpoint_states import assert_same, bits

SAVER = """
import sys
import numpy as np
from segjax.runs.checkpoints import Checkpoints

def state(step):
    rng = np.random.default_rng(step)
    return {f"layer_{i}": rng.standard_normal(20_000, dtype=np.float32) for i in range(12)}

if __name__ == "__main__":
    input()  # until it is this one's turn: four start, and import, at once
    checkpoints = Checkpoints(sys.argv[1], notify=lambda line: None)
    step = checkpoints.restore(state(0)).step if checkpoints.steps() else 0
    print("start", step, flush=True)
    while True:
        step += 1
        checkpoints.save(step, state(step), {"step": step}, best_score=float(-(step % 7)))
        print("saved", step, flush=True)
"""


def test_kill_9_at_random_moments(tmp_path):
    rng, folder, cut_off = random.Random(1), tmp_path / "checkpoints", 0
    scope = {"__name__": "saver"}
    exec(SAVER, scope)
    state, root = scope["state"], Path(__file__).parents[2]
    how = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": root}
    how["env"] = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", SAVER, str(folder)]
    savers = [subprocess.Popen(command, **how) for _ in range(4)]
    for saver in savers:
        saver.stdin.write("go\n")
        saver.stdin.flush()
        assert saver.stdout.readline().startswith("start")
        told = saver.stdout.readline()
        assert told.startswith("saved"), told
        time.sleep(rng.uniform(0, 0.5))
        saver.send_signal(signal.SIGKILL)
        output, _ = saver.communicate()
        # A line may be cut short by the kill as well.
        saved, lines = int(re.findall(r"saved (\d+)\n", told + output)[-1]), []
        restored, meta, step = Checkpoints(folder, notify=lines.append).restore(state(0))
        assert step in (saved, saved + 1)
        assert_same((restored, meta), (state(step), {"step": step}))
        # Killed saves leave a temporary folder behind, never a damaged step.
        assert not any("damaged" in line for line in lines), lines
        cut_off += any("left over" in line for line in lines)
    assert cut_off, "no kill fell into a save: the test has proven nothing"


def test_every_moment_between_two_file_operations(tmp_path, monkeypatch):
    """Restores what lay on the disk before and after each change that commits something."""
    folder, done, moments = tmp_path / "checkpoints", [], []

    def look():
        """Note every file's bytes, and None for each folder."""
        found = sorted(folder.rglob("*"))
        now = {p.relative_to(folder): p.read_bytes() if p.is_file() else None for p in found}
        if moments[-1:] != [now]:
            moments.append(now)

    def watched(function):
        def watching(*args, **kwargs):
            look()
            result = function(*args, **kwargs)
            look()
            done.append(function.__name__)
            return result

        return watching

    def state(value):
        return {"w": np.full((50,), value, np.float32), "n": np.int64(value)}

    checkpoints = Checkpoints(folder, keep=1)
    checkpoints.save(1, state(1), {"value": 1})
    with monkeypatch.context() as patch:
        for name in ("fsync", "rename", "unlink", "rmdir"):
            patch.setattr(os, name, watched(getattr(os, name)))
        checkpoints.save(2, state(2), {"value": 2})
        halfway = len(moments)
        checkpoints.save(2, state(3), {"value": 3})  # The same step again.
    assert {"fsync", "rename", "unlink", "rmdir"} <= set(done)
    assert halfway > 20
    seen = []
    for index, moment in enumerate(moments):
        copy, lines = tmp_path / str(index), []
        for path, data in moment.items():
            (copy / path if data is None else copy / path.parent).mkdir(parents=True, exist_ok=True)
            if data is not None:
                (copy / path).write_bytes(data)
        killed = Checkpoints(copy, notify=lines.append)
        restored, meta, _ = killed.restore(state(0))
        assert bits(restored) == bits(state(meta["value"]))
        assert meta["value"] in ((1, 2) if index < halfway else (2, 3))
        assert not any("damaged" in line for line in lines), lines
        seen.append(meta["value"])
        # Nor is an older step, which restore did not look at, ever half deleted.
        for found in storage.step_folders(copy):
            storage.read_arrays(found, storage.read_manifest(found))
    # It goes forward once per save and never back.
    assert (seen, set(seen)) == (sorted(seen), {1, 2, 3})
