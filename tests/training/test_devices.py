"""One device and four: the same losses, the same scores."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.config import Config
from segjax.data.splits import load_splits
from segjax.errors import ConfigError
from segjax.runs.folder import RunFolder
from segjax.training import program
from segjax.training import run as runner
from segjax.training.devices import Devices, choose_devices
from segjax.training.step import make_steps, make_train_step
from segjax.training.trainer import Trainer
from tests.small_net import SMALL

pytestmark = pytest.mark.usefixtures("no_figures")
# SMALL undone: the real network at its least depth.
MUNET = {name: getattr(Config, name) for name in SMALL} | {"head": "dense", "depth": 2}


def silent(_line):
    pass


def losses(folder):
    rows = RunFolder(folder).records()
    return np.array([row.get("loss", row.get("val_loss")) for row in rows])


@pytest.fixture
def shared(tiny):
    """Dice of the whole batch and batch norm: what sharing a batch could break."""
    return tiny.replace(
        loss="combo",
        loss_params={"dice_scale": 400.0},
        augment="flip,noise",
        log_steps=1,
        epochs=1,
        **SMALL,
    )


@pytest.mark.parametrize(
    "network",
    [{}, pytest.param(MUNET, marks=pytest.mark.slow)],
    ids=["small", "munet"],
)
def test_four_devices_train_and_test_as_one(shared, tmp_path, network):
    """Over an epoch; the batches of validation and test do not all divide by four."""
    results = {}
    for count in (1, 4):
        lines = []
        config = shared.replace(devices=count, run_dir=str(tmp_path / str(count)), **network)
        results[count] = runner.run(config, say=lines.append)
        assert any(" on 4 x cpu" in line for line in lines) == (count == 4)
    one, four = (losses(results[count].folder) for count in (1, 4))
    assert len(one) == 6
    np.testing.assert_allclose(four, one, rtol=1e-5)
    tests = [results[count].results["test"] for count in (1, 4)]
    assert tests[1]["loss"] == pytest.approx(tests[0]["loss"], rel=1e-5)
    for a, b in zip(*(jax.tree.leaves(test["half"]) for test in tests), strict=True):
        assert a == pytest.approx(b, rel=1e-3, nan_ok=True)
    assert [results[count].results["devices_used"] for count in (1, 4)] == [1, 4]


def test_the_work_is_shared_out(shared, tmp_path):
    """Each device gets a quarter of the rows, and weights and data whole."""
    config = shared.replace(devices=4)
    splits = load_splits(config, say=silent)
    seen = []

    class Watching(Devices):
        def spread(self, tree, *, axis=0):
            spread = super().spread(tree, axis=axis)
            for leaf in jax.tree.leaves(spread):
                jax.debug.inspect_array_sharding(leaf, callback=seen.append)
            return spread

    made = program.make_program(config, splits)
    devices = Watching(made.devices.mesh)
    made = dataclasses.replace(made, devices=devices)
    run = Trainer(config, splits, made, RunFolder(tmp_path), say=silent)
    state = devices.place(run.first_state())
    arrays = made.place(splits.train)
    assert {len(leaf.sharding.device_set) for leaf in jax.tree.leaves((state, arrays))} == {4}
    step = make_train_step(made.model, made.optimizer, made.objective)
    steps = make_steps(step, scan=False, devices=devices)
    state, _ = steps(state, arrays, run.order_of(0)[:1])
    assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state))
    assert len(seen) == 3  # the indices, the images and the masks
    for sharding, shape in zip(seen, [(4,), (4, 64, 64, 3), (4, 64, 64, 5)], strict=True):
        assert sharding.shard_shape(shape) == (1, *shape[1:])


def test_seeds_at_once_share_their_batches_too(shared, tmp_path):
    common = {"loss": "bce", "loss_params": {}, "seeds": 2, "seeds_at_once": "on", "test": False}
    for count in (1, 4):
        config = shared.replace(devices=count, run_dir=str(tmp_path / str(count)), **common)
        assert runner.run(config, say=silent).finished
    for seed in ("seed1234", "seed1235"):
        four, one = (losses(tmp_path / str(count) / seed) for count in (4, 1))
        np.testing.assert_allclose(four, one, rtol=1e-5)


def test_a_run_may_go_on_with_other_devices(shared, tmp_path):
    shared = shared.replace(test=False)
    whole = runner.run(shared.replace(epochs=2, run_dir=str(tmp_path / "whole")), say=silent)
    halves = shared.replace(epochs=1, devices=4, run_dir=str(tmp_path / "halves"))
    runner.run(halves, say=silent)
    runner.run(halves.replace(epochs=2, devices=2, resume=True), say=silent)
    np.testing.assert_allclose(losses(tmp_path / "halves"), losses(whole.folder), rtol=1e-5)


@pytest.mark.parametrize(
    ("wanted", "batch_size", "said"),
    [
        (5, 10, "--devices=5: JAX sees 4 (cpu)"),
        (3, 4, "--devices=3: cannot share a batch of 4 out evenly"),
    ],
)
def test_what_cannot_be_is_one_clear_line(wanted, batch_size, said):
    with pytest.raises(ConfigError) as raised:
        choose_devices(wanted, batch_size)
    assert said in str(raised.value)


def test_one_cpu_by_default_and_of_accelerators_what_divides(monkeypatch):
    assert choose_devices(0, 4).mesh is None
    assert choose_devices(1, 4).mesh is None

    @dataclasses.dataclass(frozen=True)
    class Accelerator:
        platform = "gpu"
        process_index = 0
        id: int

    monkeypatch.setattr(jax, "devices", lambda: [Accelerator(number) for number in range(8)])
    monkeypatch.setattr("segjax.training.devices.Mesh", lambda devices, *_, **__: devices)
    counts = {size: choose_devices(0, size).mesh for size in (4, 6, 9, 16, 7, 1)}
    assert {size: 1 if mesh is None else len(mesh) for size, mesh in counts.items()} == {
        4: 4, 6: 6, 9: 3, 16: 8, 7: 7, 1: 1,
    }  # fmt: skip
    assert len(choose_devices(2, 8).mesh) == 2


def test_one_device_leaves_arrays_alone():
    tree = {"x": jnp.arange(3)}
    assert Devices().place(tree) is tree
    assert Devices().spread(tree) is tree
    assert Config().devices == 0
