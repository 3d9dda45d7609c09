"""Whole tiny runs: what the training knobs do, also to runs that are stopped and taken up again.

With the knobs that keep something from step to step: bfloat16 beside float32 weights, averaged
weights, the count of epochs without a gain, half-gathered gradients, TensorBoard's event files.
"""

import dataclasses
import functools
import shutil
import signal
import sys

import jax
import numpy as np
import pytest

from segjax.errors import ConfigError
from segjax.runs.checkpoints import Checkpoints, load_params
from segjax.runs.folder import RunFolder
from segjax.runs.logs import CURVES
from segjax.training.class_weights import balanced_class_weights
from segjax.training.run import run
from tests.event_files import shown_scalars
from tests.small_net import built, losses_of, small_run

pytestmark = pytest.mark.usefixtures("no_figures")
STEPS_PER_EPOCH = 3
# The line at which a run is told to stop. It does so after the next step: in its second epoch,
# where neither an epoch nor an update ends.
STOPPED_AT = "[epoch=2/3, iter=   1"
# What a resumed run has to carry over. Two updates in the nine steps, so each is a large one.
KNOBS = {"dtype": "bfloat16", "ema_decay": 0.9, "accumulate_steps": 4}
KNOBS |= {"optimizer": "adamw", "schedule": "cosine", "learning_rate": 3e-2}


def settings(folder, **knobs):
    data = {"synthetic_train": 16, "synthetic_test": 4, "val_images": 4, "input_range": "unit"}
    usual = {"loss": "bce", "optimizer": "adam", "learning_rate": 3e-3, "epochs": 3, "log_steps": 1}
    return small_run(folder, **data | usual | knobs)


def go(config, *, stop_at=None):
    """Run ``config``; a Ctrl-C comes right after the line that starts with ``stop_at``."""
    lines = []

    def say(line):
        lines.append(line)
        if stop_at and line.startswith(stop_at):
            signal.raise_signal(signal.SIGINT)

    result = run(config, say=say)
    assert result.finished == (not stop_at)
    assert lines[-1].startswith("stopped by SIGINT at step" if stop_at else "done: ")
    return result


def records(folder):
    return [{**row, "seconds": None} for row in RunFolder(folder).records()]


def final_state(config):
    """The newest checkpoint, whole: weights, average, optimizer, running statistics, key."""
    trainer, template = built(config)
    state, meta, _ = trainer.checkpoints.restore(template)
    state = dataclasses.replace(state, key=jax.random.key_data(state.key))
    return state, {**meta["progress"], "seconds": None}


def test_a_resumed_run_ends_with_the_same_numbers_and_bfloat16_trains_float32_weights(tmp_path):
    """The same settings in one go, and stopped in the second epoch and resumed."""
    whole = settings(tmp_path / "whole", **KNOBS)
    parts = whole.replace(run_dir=str(tmp_path / "parts"))
    result = go(whole)
    go(parts, stop_at=STOPPED_AT)
    assert Checkpoints(tmp_path / "parts" / "checkpoints").steps()[-1] == STEPS_PER_EPOCH + 2
    resumed = go(parts.replace(resume=True))
    assert records(parts.run_dir) == records(whole.run_dir)
    (state, progress), (other, other_progress) = map(final_state, (whole, parts))
    assert other_progress == progress
    assert jax.tree.structure(other) == jax.tree.structure(state)
    jax.tree.map(functools.partial(np.testing.assert_array_equal, strict=True), state, other)
    for name in ("half", "loss"):
        assert resumed.results["test"][name] == result.results["test"][name]
    assert np.isfinite(result.results["test"]["loss"])
    kinds = {str(leaf.dtype) for leaf in jax.tree.leaves((state.params, state.batch_stats))}
    assert kinds == {"float32"}
    losses = losses_of(whole.run_dir)  # each epoch's last is of validation
    assert np.mean(losses[-STEPS_PER_EPOCH - 1 : -1]) < 0.9 * np.mean(losses[:STEPS_PER_EPOCH])


@pytest.mark.slow
def test_the_losses_of_bfloat16_are_near_those_of_float32(tmp_path):
    found, wanted = (
        losses_of(go(settings(tmp_path / kind, **KNOBS | {"dtype": kind, "test": False})).folder)
        for kind in ("bfloat16", "float32")
    )
    assert np.all(found != wanted)
    # Eight bits of mantissa: the two are a few percent apart.
    np.testing.assert_allclose(found, wanted, rtol=0.1)


def test_early_stopping_counts_on_after_a_stop(tmp_path):
    """With a rate of 0 no epoch beats the first: a patience of 3 ends the run after epoch 4.

    The averaged weights, which are what is validated, stay the initial ones too.
    """
    still = {"learning_rate": 0.0, "ema_decay": 0.5, "early_stop_epochs": 3}
    config = settings(tmp_path / "run", epochs=9, test=False, **still)
    go(config, stop_at="[epoch=3/9, iter=   1")
    resumed = go(config.replace(resume=True))
    epochs = [row["epoch"] for row in records(config.run_dir) if row["kind"] == "validation"]
    assert epochs == [1, 2, 3, 4]
    assert resumed.results["tested_step"] == STEPS_PER_EPOCH
    best, _, meta = load_params(tmp_path / "run" / "checkpoints", which="best")
    newest, _, _ = load_params(tmp_path / "run" / "checkpoints", which="newest")
    assert meta["progress"]["epochs_since_best"] == 0
    jax.tree.map(np.testing.assert_array_equal, best, newest)


def test_tensorboard_shows_each_step_of_a_resumed_run_once_and_is_asked_for(tmp_path, monkeypatch):
    """Though the events of stopped sessions reach beyond the step that is gone on from."""
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "tensorboardX", None)
        with pytest.raises(ConfigError, match="pip install"):
            go(settings(tmp_path / "run", tensorboard=True))
    assert not (tmp_path / "run").exists()
    pytest.importorskip("tensorboardX")
    config = settings(tmp_path / "run", epochs=2, test=False, tensorboard=True)
    events = tmp_path / "run" / "tensorboard"
    for session, kept in enumerate((STEPS_PER_EPOCH, STEPS_PER_EPOCH)):
        go(config.replace(resume=session > 0), stop_at="[epoch=2/2, iter=   1")
        for checkpoint in (tmp_path / "run" / "checkpoints").glob("step_*"):
            if int(checkpoint.name.removeprefix("step_")) > kept:
                shutil.rmtree(checkpoint)
        assert len(list(events.iterdir())) == session + 1
    go(config.replace(resume=True))
    assert len(list(events.iterdir())) == 3  # the events of all sessions are still there
    expected = []
    for row in records(config.run_dir):
        expected += [(curve, row["step"], row[key]) for key, curve in CURVES.items() if key in row]
    shown = shown_scalars(events)
    assert [row[:2] for row in shown] == [row[:2] for row in expected]
    assert len({row[:2] for row in shown}) == len(shown)
    np.testing.assert_allclose(*([row[2] for row in rows] for rows in (shown, expected)), rtol=1e-6)


@pytest.mark.slow
def test_ema_is_what_is_validated_and_saved(tmp_path):
    plain, averaged = tmp_path / "plain", tmp_path / "ema"
    short = {"epochs": 1, "test": False, "loss": "mse", "targets": "unit"}
    go(settings(plain, **short))
    go(settings(averaged, ema_decay=0.999, **short))
    # The same weights are trained, so the training losses are the same to the bit, but the average
    # trails them.
    for one, other in zip(records(plain), records(averaged), strict=True):
        assert one.get("loss") == other.get("loss")
        assert one["kind"] == "train" or one["val_loss"] != other["val_loss"]
    found = [load_params(folder / "checkpoints", which="newest")[0] for folder in (plain, averaged)]
    assert any(np.any(a != b) for a, b in zip(*map(jax.tree.leaves, found), strict=True))


def test_class_weights_of_the_data_reach_the_loss(tmp_path):
    (plain, _), (weighted, _) = (
        built(settings(tmp_path, loss="ce", loss_params=given))
        for given in ({}, {"loss_class_weights": "median"})
    )
    masks = plain.splits.train.masks
    expected = balanced_class_weights(masks, rule="median", multiclass=True)
    given = np.array(weighted.program.loss_params["loss_class_weights"].split(","), float)
    np.testing.assert_allclose(given, expected, rtol=1e-5)
    outputs = np.random.default_rng(0).normal(size=(2, 64, 64, 6)).astype(np.float32)
    one, other = (run.program.objective.loss(outputs, masks[:2]) for run in (plain, weighted))
    assert one != other
