"""Whole tiny runs: what the training knobs do to what a run leaves."""

import csv
import importlib.util
import sys

import jax
import numpy as np
import pytest

from segjax.config import Config
from segjax.data.splits import load_splits
from segjax.errors import ConfigError
from segjax.runs.checkpoints import load_params
from segjax.training.class_weights import balanced_class_weights
from segjax.training.program import make_program
from segjax.training.run import run
from tests.small_net import SMALL

SILENT = {"say": lambda line: None}


def tiny(folder, **settings):
    base = Config(
        data="synthetic",
        synthetic_train=14,
        synthetic_test=4,
        val_images=6,
        **SMALL,
        epochs=3,
        log_steps=1,
        progress="off",
        test=False,
        run_dir=str(folder),
    )
    return base.replace(**settings)


def records(folder, kind):
    with open(folder / "metrics.csv", newline="") as file:
        return [row for row in csv.DictReader(file) if row["kind"] == kind]


def weights(folder, which="newest"):
    params, _, _ = load_params(folder / "checkpoints", which=which)
    return [np.asarray(leaf) for leaf in jax.tree.leaves(params)]


def test_a_run_stops_once_validation_has_stood_still(tmp_path):
    # With a rate of 0 the running statistics move but the weights do not; batch statistics of the
    # same images give the same score each epoch, so epoch 1 is the best and 2 and 3 are waited out.
    config = tiny(tmp_path, epochs=9, learning_rate=0.0, early_stop_epochs=2)
    result = run(config, **SILENT)
    assert result.finished
    rows = records(tmp_path, "validation")
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert len({row["val_miou"] for row in rows}) == 1
    assert result.results["tested_step"] == 2
    assert int(records(tmp_path, "train")[-1]["step"]) == 6


@pytest.mark.slow
def test_ema_is_what_is_validated_and_saved(tmp_path):
    plain, averaged = tmp_path / "plain", tmp_path / "ema"
    settings = {"learning_rate": 1e-3, "epochs": 1, "targets": "unit", "input_range": "unit"}
    run(tiny(plain, **settings), **SILENT)
    board = importlib.util.find_spec("tensorboardX") is not None
    run(tiny(averaged, ema_decay=0.999, tensorboard=board, **settings), **SILENT)
    assert (averaged / "tensorboard").exists() == board
    # The same weights are trained, so the training losses are the same to the bit...
    assert [row["loss"] for row in records(plain, "train")] == [
        row["loss"] for row in records(averaged, "train")
    ]
    # ...but the average trails them.
    assert (
        records(plain, "validation")[0]["val_loss"]
        != records(averaged, "validation")[0]["val_loss"]
    )
    assert any(np.any(a != b) for a, b in zip(weights(plain), weights(averaged), strict=True))


@pytest.mark.parametrize(("loss", "extra"), [("bce", 0), ("ce", 1)])
def test_class_weights_of_the_data_reach_the_loss(tmp_path, loss, extra):
    losses = {}
    for rule in ("", "balanced", "median"):
        parameters = {"loss_class_weights": rule} if rule else {}
        config = tiny(tmp_path, loss=loss, loss_params=parameters)
        splits = load_splits(config, **SILENT)
        program = make_program(config, splits)
        outputs = np.random.default_rng(0).normal(size=(2, 64, 64, 5 + extra)).astype(np.float32)
        losses[rule] = float(program.objective.loss(outputs, splits.train.masks[:2]))
        if rule:
            weights = balanced_class_weights(splits.train.masks, rule=rule, exclusive=bool(extra))
            given = np.array(program.loss_params["loss_class_weights"].split(","), float)
            np.testing.assert_allclose(given, weights, rtol=1e-5)
    assert len(set(losses.values())) == 3


def test_wrong_class_weights_are_refused_with_the_settings():
    with pytest.raises(ConfigError, match=r"such as 1,1,2\.5, or one of balanced, median"):
        Config(loss="bce", loss_params={"loss_class_weights": "blanced"})


def test_a_missing_tensorboard_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ConfigError, match="pip install"):
        run(tiny(tmp_path / "run", tensorboard=True), **SILENT)
    assert not (tmp_path / "run").exists()
