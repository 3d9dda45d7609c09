"""Two processes train as one: the same log, written by one of them."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from segjax.runs.checkpoints import Checkpoints
from segjax.runs.folder import RunFolder
from segjax.training.run import run
from tests.small_net import losses_of, silent, small_run

ROOT = Path(__file__).parents[2]
# A process that runs what it is told, line by line: settings, and what is wrong with its data.
WORKER = """
import json, sys
from segjax.config import Config
from segjax.errors import SegjaxError
from segjax.training import processes
from segjax.training.run import run

load = processes.load_splits
def no_data(config, say):
    raise SegjaxError("the disk is gone")
faults = {
    "": load,
    "no data": no_data,
    "other data": lambda config, say: load(config.replace(synthetic_seed=99), say=say),
}
for line in sys.stdin:
    settings, fault = json.loads(line)
    processes.load_splits, lines = faults[fault], []
    try:
        outcome = {"finished": run(Config.from_json(settings), say=lines.append).finished}
    except SegjaxError as error:
        outcome = {"error": str(error)}
    print(json.dumps({**outcome, "lines": lines}), flush=True)
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Pair:
    """Two processes with one CPU device each, whatever this process has."""

    def __init__(self):
        self.coordinator = f"127.0.0.1:{free_port()}"
        own = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
        command = [sys.executable, "-u", "-c", WORKER]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.both = [subprocess.Popen(command, text=True, env=own, **pipes) for _ in range(2)]

    def start(self, config, *, fault="", **found):
        """Have both run ``config``; the second's data may be at fault.

        What the second is told must not matter: the settings are the first's.
        """
        elsewhere = {"run_dir": config.run_dir + "-elsewhere", "epochs": 9}
        shared = {"multihost": True, "coordinator": self.coordinator, "num_processes": 2} | found
        for number, told in enumerate(({}, elsewhere)):
            settings = config.replace(**shared, process_id=number, **told).to_json()
            print(json.dumps([settings, fault * number]), file=self.both[number].stdin, flush=True)

    def outcomes(self):
        """Return what each has to tell of its run; Gloo itself reports its connections."""
        heard = (iter(process.stdout.readline, "") for process in self.both)
        lines = [next((line for line in each if line[0] == "{"), "") for each in heard]
        assert all(lines), "a process has ended"
        return list(map(json.loads, lines))


# The runs of this process; the others draw.
pytestmark = pytest.mark.usefixtures("no_figures")


@pytest.fixture(scope="module")
def pair():
    pair = Pair()
    yield pair
    for process in pair.both:
        process.kill()
        process.communicate()


@pytest.fixture
def config(tmp_path):
    data = {"synthetic_train": 16, "synthetic_test": 4, "val_images": 4, "augment": "flip,noise"}
    loss = {"loss": "combo", "loss_params": {"dice_scale": 400.0}, "log_steps": 1}
    return small_run(tmp_path / "run", **data, **loss)


@pytest.mark.slow
def test_two_processes_train_as_one(pair, config, tmp_path):
    """Stopped by a signal to either, resumed, and the same as one process all the same."""
    # Without a coordinator, which cannot be tried later, the error says what to give.
    pair.start(config, coordinator="", num_processes=0)
    for outcome in pair.outcomes():
        assert re.fullmatch(".*--coordinator=HOST:PORT.*", outcome["error"])
    pair.start(config.replace(epochs=500))
    while not list(Path(config.run_dir).glob("checkpoints/step_*")):
        assert pair.both[0].poll() is None
        time.sleep(0.02)
    pair.both[1].send_signal(signal.SIGTERM)
    first, other = pair.outcomes()
    assert (first["finished"], other) == (False, {"finished": False, "lines": []})
    assert any(" on 2 x cpu (cpu) of 2 processes" in line for line in first["lines"])
    step = int(re.match(r"stopped by SIGTERM at step (\d+),", first["lines"][-1])[1])
    assert Checkpoints(Path(config.run_dir) / "checkpoints").steps()[-1] == step
    longer = config.replace(epochs=step // 3 + 2)
    pair.start(longer.replace(resume=True))
    first, other = pair.outcomes()
    assert (first["finished"], other) == (True, {"finished": True, "lines": []})
    assert f"resuming at step {step} of {longer.epochs * 3}" in first["lines"]
    single = run(longer.replace(run_dir=str(tmp_path / "alone")), say=silent)
    together = RunFolder(config.run_dir)
    np.testing.assert_allclose(losses_of(together.path), losses_of(single.folder), rtol=1e-5)
    results = together.results()
    assert results["test"]["loss"] == pytest.approx(single.results["test"]["loss"], rel=1e-5)
    assert results["environment"]["processes"] == results["devices_used"] == 2
    assert (together.path / "predictions.png").exists()
    assert not Path(config.run_dir + "-elsewhere").exists()


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_one_is_told_by_the_other(config, tmp_path, killed):
    settings = config.replace(epochs=9999, multihost=True, num_processes=2).to_dict()
    settings |= {"coordinator": f"127.0.0.1:{free_port()}", "dice_scale": 400.0}
    code = "import sys; from segjax.main import main; sys.exit(main(sys.argv[1:]))"
    del settings["loss_params"], settings["skip_connections"]
    processes = []
    for number in range(2):
        flags = [f"--{name}={value}" for name, value in {**settings, "process_id": number}.items()]
        own = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        command = [sys.executable, "-c", code, *flags]
        processes.append(subprocess.Popen(command, env=own, **pipes))
    while not list(Path(config.run_dir).glob("checkpoints/step_*")):
        assert [process.poll() for process in processes] == [None, None]
        time.sleep(0.05)
    processes[killed].kill()
    processes[killed].communicate()
    _, told = processes[1 - killed].communicate(timeout=60)
    said = "segjax: another process of the run has gone, or cannot be reached; --resume goes on"
    assert said in told
    assert "Traceback" not in told


def test_what_is_wrong_in_one_is_told_by_both(pair, config, tmp_path):
    cannot = "process 1 cannot go on: "
    other = "process 1 has another data set than process 0"
    for fault, said in (("other data", other), ("no data", f"{cannot}the disk is gone")):
        pair.start(config, fault=fault)
        errors = [outcome["error"] for outcome in pair.outcomes()]
        assert errors == [said, said.removeprefix(cannot)]
        assert not Path(config.run_dir).exists()
    (tmp_path / "run").write_text("a file")
    pair.start(config)
    for outcome in pair.outcomes():
        assert "is a file, not a folder" in outcome["error"]
