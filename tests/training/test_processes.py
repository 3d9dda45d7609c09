"""Two processes train as one: the same log, written by one of them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from segjax.config import Config
from segjax.errors import ConfigError
from segjax.runs.checkpoints import Checkpoints
from segjax.runs.folder import RunFolder
from segjax.training import run as runner
from tests.small_net import SMALL

ROOT = Path(__file__).parents[2]
# A process of a run: its settings, then the folder that its data set differs in, if any.
WORKER = """
import sys
from segjax.training import shared
from segjax.training import run as runner
from segjax.config import Config
from segjax.errors import SegjaxError
if "--other-data" in sys.argv:
    load = shared.load_splits
    shared.load_splits = lambda config, say: load(config.replace(synthetic_seed=99), say=say)
if "--no-data" in sys.argv:
    def load(config, say):
        raise SegjaxError("the disk is gone")
    shared.load_splits = load
try:
    sys.exit(0 if runner.run(Config.from_json(sys.argv[1])).finished else 130)
except SegjaxError as error:
    print("segjax:", error, file=sys.stderr)
    sys.exit(1)
"""


@pytest.fixture
def config(tmp_path):
    return Config(
        data="synthetic",
        synthetic_train=18,
        synthetic_test=6,
        val_images=6,
        **SMALL,
        loss="combo",
        loss_params={"dice_scale": 400.0},
        augment="flip,noise",
        epochs=2,
        log_steps=1,
        progress="off",
        run_dir=str(tmp_path / "run"),
    )


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(config, *, given=((), ())):
    """Start two processes; the second sees an empty folder of its own instead of the first's."""
    port = free_port()
    # One CPU device each, whatever this process has.
    environment = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    processes = []
    for number in (0, 1):
        own = config.replace(
            multihost=True,
            coordinator=f"127.0.0.1:{port}",
            num_processes=2,
            process_id=number,
            # What process 1 is told must not matter: the settings are process 0's.
            **({} if number == 0 else {"run_dir": config.run_dir + "-elsewhere", "epochs": 9}),
        )
        processes.append(
            subprocess.Popen(
                [sys.executable, "-u", "-c", WORKER, own.to_json(), *given[number]],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
        )
    return processes


def finish(processes):
    """Return (exit code, output, errors) of each."""
    try:
        outputs = [process.communicate(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [
        (process.returncode, *output) for process, output in zip(processes, outputs, strict=True)
    ]


def losses(folder):
    rows = RunFolder(folder).records()
    return np.array([row.get("loss", row.get("val_loss")) for row in rows])


def test_two_processes_train_as_one(config, tmp_path):
    """Interrupted, resumed, and the same as one process all the same."""
    (code, said, errors), (other_code, other_said, _) = finish(
        start(config.replace(epochs=1, test=False))
    )
    assert (code, other_code) == (0, 0), errors
    assert " on 2 x cpu (cpu) of 2 processes" in said
    # Gloo itself reports its connections.
    assert [line for line in other_said.splitlines() if not line.startswith("[Gloo]")] == []
    (code, said, errors), (other_code, _, _) = finish(start(config.replace(resume=True)))
    assert (code, other_code) == (0, 0), errors
    assert "resuming at step 3 of 6" in said
    single = runner.run(config.replace(run_dir=str(tmp_path / "alone")), say=lambda line: None)
    together = RunFolder(config.run_dir)
    np.testing.assert_allclose(losses(together.path), losses(single.folder), rtol=1e-5)
    results = together.results()
    assert results["test"]["loss"] == pytest.approx(single.results["test"]["loss"], rel=1e-5)
    assert results["environment"]["processes"] == results["devices_used"] == 2
    assert (together.path / "predictions.png").exists()
    assert not Path(config.run_dir + "-elsewhere").exists()


def test_a_signal_to_either_stops_both(config):
    processes = start(config.replace(epochs=500, val_images=0))
    while not list(Path(config.run_dir).glob("checkpoints/step_*")):
        assert processes[0].poll() is None, processes[0].communicate()
        time.sleep(0.05)
    processes[1].send_signal(signal.SIGTERM)
    (code, said, _), (other_code, _, _) = finish(processes)
    assert (code, other_code) == (130, 130)
    last = said.strip().splitlines()[-1]
    assert last.startswith("stopped by SIGTERM at step")
    step = int(last.split("at step ")[1].split(",")[0])
    assert Checkpoints(Path(config.run_dir) / "checkpoints").steps()[-1] == step


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--other-data", "process 1 has another data set than process 0"),
        ("--no-data", "process 1 cannot go on: the disk is gone"),
    ],
)
def test_what_is_wrong_in_one_is_told_by_both(config, flag, said):
    (code, _, errors), (other_code, _, other_errors) = finish(start(config, given=((), (flag,))))
    assert (code, other_code) == (1, 1)
    assert said in errors
    assert said.removeprefix("process 1 cannot go on: ") in other_errors
    assert not Path(config.run_dir).exists()


def test_an_error_of_the_folder_reaches_both(config, tmp_path):
    (tmp_path / "run").write_text("a file")
    for code, _, errors in finish(start(config)):
        assert code == 1
        assert "is a file, not a folder" in errors


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"coordinator": "host:1"}, "need --multihost"),
        ({"process_id": 0}, "need --multihost"),
        ({"multihost": True, "seeds_at_once": "on"}, "one after another"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        Config(**changes)


def test_without_a_coordinator_the_error_says_what_to_give(config, tmp_path):
    code = "import sys; from segjax.main import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "--multihost", f"--run_dir={tmp_path / 'run'}"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "--coordinator=HOST:PORT" in done.stderr
    assert json.dumps(done.stdout) == '""'
