"""A run's network is read whole, or refused."""

import jax
import numpy as np
import pytest

from segjax.errors import CheckpointError, ConfigError
from segjax.predict.trained import load_trained, strongest, which_of
from segjax.runs.checkpoints import load_params


def test_a_run_with_an_average_predicts_with_it(unet_run):
    trained = load_trained(unet_run)
    params, _, meta = load_params(unet_run / "checkpoints")
    assert trained.config.ema_decay > 0
    jax.tree.map(np.testing.assert_array_equal, trained.variables["params"], params)
    assert meta["label_map"]["star"] == 250
    assert trained.image_size == (64, 64)


def test_labels_are_the_strongest_class_above_one_half():
    scores = np.array([[0.4, 0.3], [0.6, 0.9], [0.9, 0.6], [0.5, 0.1]], np.float32)
    assert strongest(scores, multiclass=False).tolist() == [0, 2, 1, 0]
    # With 0.4 and 0.3 the background has 0.3: the first class is the likeliest of the three.
    shared = np.array([[0.4, 0.3], [0.3, 0.2]], np.float32)
    assert strongest(shared, multiclass=True).tolist() == [1, 0]


def test_a_damaged_run_and_weights_of_another_depth_are_refused(
    faithful_run, tmp_path, monkeypatch
):
    text = (faithful_run / "config.json").read_text()
    (tmp_path / "config.json").write_text(text.replace('"depth": 2', '"depth": 4'))
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_trained(tmp_path)
    (tmp_path / "checkpoints").symlink_to(faithful_run / "checkpoints")
    changed = r"config\.json is not what the checkpoint was trained with: --depth was 2, is 4"
    with pytest.raises(CheckpointError, match=changed):
        load_trained(tmp_path)
    # One that does not say what it was trained with.
    monkeypatch.setattr("segjax.predict.trained.settings_changed", lambda *given: [])
    with pytest.raises(CheckpointError, match=r"do not fit config\.json"):
        load_trained(tmp_path)
    # A checkpoint is best, newest or a step.
    assert [which_of(text) for text in ("best", "newest", "12")] == ["best", "newest", 12]
    with pytest.raises(ConfigError, match="--which=-1: give best, newest or the number of a step"):
        which_of("-1")
