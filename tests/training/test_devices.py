"""One device and four: the same losses, the same scores."""

import functools
import shutil
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.config import Config
from segjax.errors import ConfigError
from segjax.runs.folder import RunFolder
from segjax.training.devices import Devices, choose_devices
from segjax.training.run import run
from segjax.training.trainer import Trainer
from tests.small_net import MUNET, losses_of, silent, small_run

pytestmark = pytest.mark.usefixtures("no_figures")
# Dice of the whole batch and batch norm: what sharing a batch could break.
LOSS = {"loss": "combo", "loss_params": {"dice_scale": 400.0}}
SHARED = small_run("run", **LOSS, augment="flip,noise", log_steps=1, keep_checkpoints=9)


@pytest.fixture(scope="module")
def seen():
    """What lay where while runs trained: (shape, sharding) of what was spread, state and data."""
    spread, validate = Devices.spread, Trainer.validate
    seen = {"spread": [], "whole": []}

    def watched_spread(self, tree, *, axis=0):
        tree = spread(self, tree, axis=axis)
        for leaf in jax.tree.leaves(tree) if self.mesh else ():
            note = functools.partial(lambda *pair: seen["spread"].append(pair), leaf.shape)
            jax.debug.inspect_array_sharding(leaf, callback=note)
        return tree

    def watched_validate(self, state, arrays):
        if self.program.devices.mesh:
            seen["whole"] += [leaf.sharding for leaf in jax.tree.leaves((state, arrays))]
        return validate(self, state, arrays)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Devices, "spread", watched_spread)
        patch.setattr(Trainer, "validate", watched_validate)
        yield seen


@pytest.fixture(scope="module")
def one_and_four(tmp_path_factory, seen):
    """The same run on one device and on four."""

    def go(count, **network):
        folder, lines = tmp_path_factory.mktemp("devices") / "run", []
        config = SHARED.replace(devices=count, run_dir=str(folder), **network)
        result = run(config, say=lines.append)
        assert any(" on 4 x cpu" in line for line in lines) == (count == 4)
        return result

    return functools.cache(lambda **network: (go(1, **network), go(4, **network)))


@pytest.mark.parametrize(
    "network",
    [{}, pytest.param(MUNET | {"head": "dense"}, marks=pytest.mark.slow)],
    ids=["small", "munet"],
)
def test_four_devices_train_and_test_as_one(one_and_four, seen, network):
    """The batches of validation and test do not all divide by four."""
    one, four = one_and_four(**network)
    assert len(losses_of(one.folder)) == 12
    np.testing.assert_allclose(losses_of(four.folder), losses_of(one.folder), rtol=1e-5)
    tests = [result.results["test"] for result in (one, four)]
    assert tests[1]["loss"] == pytest.approx(tests[0]["loss"], rel=1e-5)
    for a, b in zip(*(jax.tree.leaves(test["half"]) for test in tests), strict=True):
        assert a == pytest.approx(b, rel=1e-3, nan_ok=True)
    assert [result.results["devices_used"] for result in (one, four)] == [1, 4]
    # Each device gets a quarter of the rows, and weights and data whole.
    assert {len(sharding.device_set) for sharding in seen["whole"]} == {4}
    assert all(sharding.is_fully_replicated for sharding in seen["whole"])
    shared = {shape: sharding.shard_shape(shape) for shape, sharding in seen["spread"]}
    # The indices, the images and the masks, of training's batches and of the last to be tested.
    wholes = {(count, *sides) for count in (4, 2) for sides in ((), (64, 64, 3), (64, 64, 5))}
    assert shared == {(n, *sides): (n // 4 or n, *sides) for n, *sides in wholes}


@pytest.mark.slow
def test_seeds_at_once_share_their_batches_too(one_and_four, tmp_path):
    config = SHARED.replace(devices=4, seeds=2, seeds_at_once="on", test=False)
    assert run(config.replace(run_dir=str(tmp_path)), say=silent).finished
    one, _ = one_and_four()
    np.testing.assert_allclose(losses_of(tmp_path / "seed1234"), losses_of(one.folder), rtol=1e-5)
    assert np.all(losses_of(tmp_path / "seed1235") != losses_of(one.folder))


@pytest.mark.slow
def test_a_run_may_go_on_with_other_devices(one_and_four, tmp_path):
    one, four = one_and_four()
    folder = RunFolder(shutil.copytree(four.folder, tmp_path / "run"))
    shutil.rmtree(folder.checkpoints / "step_00000010")
    config = folder.config().replace(run_dir=str(folder.path), devices=2, resume=True, test=False)
    run(config, say=silent)
    np.testing.assert_allclose(losses_of(folder.path), losses_of(one.folder), rtol=1e-5)


def test_one_cpu_by_default_and_of_accelerators_what_divides(monkeypatch):
    with pytest.raises(ConfigError, match=r"--devices=5: JAX sees 4 \(cpu\)"):
        choose_devices(5, 10)
    with pytest.raises(ConfigError, match="--devices=3: cannot share a batch of 4 out evenly"):
        choose_devices(3, 4)
    for alone in (choose_devices(Config().devices, 4), choose_devices(1, 4)):
        tree = {"x": jnp.arange(3)}
        assert alone == Devices()
        assert alone.place(tree) is alone.spread(tree) is alone.whole(tree) is tree

    gpus = [SimpleNamespace(platform="gpu", process_index=0, id=number) for number in range(8)]
    monkeypatch.setattr(jax, "devices", lambda: gpus)
    monkeypatch.setattr("segjax.training.devices.Mesh", lambda devices, *_, **__: devices)
    for size, count in ((4, 4), (6, 6), (9, 3), (16, 8), (7, 7), (1, 1)):
        mesh = choose_devices(0, size).mesh
        assert (1 if mesh is None else len(mesh)) == count, size
    assert len(choose_devices(2, 8).mesh) == 2
