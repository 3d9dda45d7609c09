"""What a signal does to a command and to a run, and that what is said of it is on the disk."""

import os
import signal
import subprocess
import sys

import pytest

from segjax import main as command
from segjax.runs.checkpoints import Checkpoints
from segjax.runs.lock import held
from segjax.runs.stopping import caught_signals, leave_on_signals, saved_so_far
from segjax.training import results
from tests.small_net import small_run


class LeftError(BaseException):
    """The process would have ended here."""


@pytest.fixture
def no_exit(monkeypatch):
    def leave(code):
        raise LeftError(code)

    monkeypatch.setattr(os, "_exit", leave)
    usual = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    yield
    signal.signal(signal.SIGHUP, usual)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_a_command_at_once_with_what_the_disk_says(no_exit, tmp_path, capfd, name):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    said = f"segjax: stopped by {name}; "

    def stopped():
        with pytest.raises(LeftError) as left, leave_on_signals():
            os.kill(os.getpid(), number)
        assert left.value.args == (128 + number,)
        return capfd.readouterr().err

    assert stopped() == f"{said}no run had begun\n"
    with held(tmp_path):
        assert stopped() == f"{said}nothing of {tmp_path} was saved yet\n"
        go_on = f"go on with --resume --run_dir={tmp_path}\n"
        for folder in ("seed7/checkpoints/step_00000010", "checkpoints/step_00000500.2"):
            (tmp_path / folder).mkdir(parents=True)
            step = int(folder.split("_")[1].split(".")[0])
            assert stopped() == f"{said}step {step} is saved; {go_on}"
        (tmp_path / "checkpoints" / ".saving-step_00000900-1-ab").mkdir()
        assert saved_so_far() == f"step 500 is saved; {go_on}".strip()
    assert signal.getsignal(number) is before


def test_in_training_a_first_signal_is_noted_and_a_second_one_leaves(no_exit):
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGPIPE"):
        number = getattr(signal, name)
        with leave_on_signals(), caught_signals() as caught:
            os.kill(os.getpid(), number)
            assert caught == [name]
            with pytest.raises(LeftError):
                os.kill(os.getpid(), signal.SIGTERM)
            assert caught == [name]
    # What nohup has set stays.
    usual = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with leave_on_signals(), caught_signals() as caught:
        os.kill(os.getpid(), signal.SIGHUP)
        assert caught == []
    signal.signal(signal.SIGHUP, usual)


def test_a_stop_in_the_final_test_names_what_is_saved(no_exit, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(results, "test_scores", lambda *given: os.kill(os.getpid(), signal.SIGINT))
    config = small_run(tmp_path / "run", epochs=1).to_dict()
    settings = {n: v for n, v in config.items() if n not in ("loss_params", "skip_connections")}
    with pytest.raises(LeftError):
        command.main([f"--{name}={value}" for name, value in settings.items()])
    step = Checkpoints(tmp_path / "run" / "checkpoints").steps()[-1]
    assert capfd.readouterr().err.endswith(
        f"stopped by SIGINT; step {step} is saved; go on with --resume --run_dir={tmp_path}/run\n"
    )


def test_a_reader_that_has_gone_stops_a_run_saved(tmp_path):
    """As ``python -m segjax.main ... | head -1`` has it."""
    small = "--network=unet --head=dense --unet_widths=8 --unet_patch=4 --data=synthetic"
    size = "--synthetic_train=8 --synthetic_test=4 --epochs=100000 --log_steps=1 --progress=off"
    line = [sys.executable, "-m", "segjax.main", *small.split(), *size.split()]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": tmp_path}
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}
    with subprocess.Popen([*line, "--run_dir=run"], env=paths, **pipes) as process:
        assert process.stdout.readline().startswith("synthetic-8: 8 training images")
        process.stdout.close()
        *_, last = process.stderr.read().splitlines()
        assert process.wait() == 130
    step = Checkpoints(tmp_path / "run" / "checkpoints").steps()[-1]
    go_on = "go on with --resume --run_dir=run"
    assert last == f"stopped by SIGPIPE at step {step}, saved; {go_on}"
