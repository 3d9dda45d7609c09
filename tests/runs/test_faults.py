"""A disk that refuses one change: a line, and nothing that is lost; a folder that goes away."""

import errno
import io
import itertools
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from segjax import __main__ as commands
from segjax import main as training
from segjax.runs.checkpoints import Checkpoints
from segjax.runs.folder import RunFolder
from tests.small_net import SMALL

FLAGS = [f"--{name}={value}" for name, value in SMALL.items() if name != "depth"]
FLAGS += ["--data=synthetic", "--synthetic_train=8", "--synthetic_test=4", "--progress=off"]
FLAGS += ["--checkpoint_steps=1", "--max_steps=2", "--log_steps=1", "--test=false"]


class Disk:
    """Counts changes of files below a folder, and refuses the one of a number."""

    def __init__(self, monkeypatch, below):
        self.below, self.refused, self.changes = str(below), 0, itertools.count(1)
        for name in ("replace", "rename", "mkdir", "fsync"):
            monkeypatch.setattr(os, name, self.counted(getattr(os, name)))
        opened = self.counted(io.open, is_change=lambda mode="r", *_: set(mode) & set("wax+"))
        monkeypatch.setattr(io, "open", opened)
        monkeypatch.setattr("builtins.open", opened)

    def counted(self, function, is_change=lambda *given: True):
        def call(path, *given, **how):
            inside = isinstance(path, int) or str(path).startswith(self.below)
            inside = inside and not (function.__name__ == "mkdir" and os.path.isdir(path))
            if inside and is_change(*given) and next(self.changes) == self.refused:
                named = () if isinstance(path, int) else (str(path),)  # as the system does
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *named)
            return function(path, *given, **how)

        return call

    def refuse(self, number):
        self.refused, self.changes = number, itertools.count(1)


@pytest.fixture
def disk(monkeypatch, tmp_path):
    return Disk(monkeypatch, tmp_path)


def numbers(disk, work, *, every):
    """Do the work once to count its changes; yield the numbers of those to refuse."""
    disk.refuse(0)
    assert work() == 0
    count = next(disk.changes) - 1
    assert count > 1
    yield from range(1, count + 1, every)


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
# Orbax leaves what it had begun.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_run_on_a_full_disk_ends_in_a_line_and_goes_on(disk, tmp_path, capfd):
    def trained(name, *more):
        return training.main([*FLAGS, f"--run_dir={tmp_path / name}", *more])

    for number in numbers(disk, lambda: trained("whole"), every=7):
        capfd.readouterr()
        disk.refuse(number)
        code = trained(f"{number}")
        lines = capfd.readouterr().err.splitlines()
        disk.refuse(0)
        if code:  # a leftover that could not be flushed may not matter
            assert (code, len(lines)) == (1 if "cannot be written" not in lines[0] else 2, 1)
            assert "No space left on device" in lines[0]
            assert lines[0].startswith("segjax: ")
        there = (tmp_path / f"{number}" / "config.json").exists()
        assert trained(f"{number}", *(["--resume"] if there else [])) == 0, lines
        assert RunFolder(tmp_path / f"{number}").records()[-1]["step"] == 2
        assert Checkpoints(tmp_path / f"{number}" / "checkpoints").steps()[-1] == 2


FULL = """
import resource, sys
from segjax.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_disk_that_refuses_what_orbax_writes_is_told_in_a_line(tmp_path):
    """The threads that were still writing say nothing; what was there before stays."""
    flags = [*FLAGS, f"--run_dir={tmp_path / 'run'}", "--unet_widths=32,64"]
    environment = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    told = subprocess.run(
        [sys.executable, "-c", FULL, *flags], capture_output=True, text=True, env=environment
    )
    (line,) = told.stderr.splitlines()
    assert re.fullmatch("segjax: cannot save checkpoint step 1 in .*File too large", line)
    assert told.returncode == 1
    assert training.main([*flags, "--resume"]) == 0


CALLS = {
    "predict": "{run} {picture} --out={out}",
    "evaluate": "{run} --out={out} --progress=off",
    "export": "{run} {out} --format=jax,onnx,safetensors",
    "show": "{run} {run} --figure={out}.png",
    "check": "{data} --sheet={out}.png --json={out}.json",
}
SLOW = [pytest.param(name, 2, marks=pytest.mark.slow) for name in CALLS]


@pytest.mark.parametrize(("command", "every"), [("predict", 3), *SLOW])
def test_a_command_on_a_full_disk_ends_in_a_line(
    disk, unet_run, pictures, tmp_path, capfd, command, every
):
    data, out = tmp_path / "data.npz", tmp_path / "out"
    images, masks = np.zeros((4, 16, 16, 3), np.uint8), np.eye(16, dtype=np.uint8)
    np.savez(data, images=images, masks=np.stack([masks] * 4))
    names = {"run": unet_run, "picture": pictures / "a.png", "data": data, "out": out}
    arguments = CALLS[command].format(**names).split()

    def called():
        shutil.rmtree(out, ignore_errors=True)
        return commands.main([command, *arguments])

    for number in numbers(disk, called, every=every):
        capfd.readouterr()
        disk.refuse(number)
        assert called() == (2 if command == "check" else 1)
        (line,) = capfd.readouterr().err.splitlines()
        assert re.fullmatch(rf"(segjax|error): {out}.*No space left on device\)?", line)
        assert not list(tmp_path.rglob(".*"))


@pytest.mark.usefixtures("no_figures")
def test_a_folder_that_goes_away_in_training_is_told(tmp_path, monkeypatch, capsys):
    write = RunFolder.write_performance_numbers

    def moved(self, *given):
        write(self, *given)
        self.path.rename(tmp_path / "elsewhere")

    monkeypatch.setattr(RunFolder, "write_performance_numbers", moved)
    assert training.main([*FLAGS, f"--run_dir={tmp_path / 'run'}"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"segjax: {tmp_path / 'run'}: was moved or deleted while it was trained"
    assert not (tmp_path / "run").exists()
