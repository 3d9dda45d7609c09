"""A whole run: its folder, resuming bit for bit after a kill, and stopping with a clear word."""

import json
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from segjax.errors import CheckpointError, ConfigError, TrainingError
from segjax.runs import storage
from segjax.runs.checkpoints import Checkpoints, load_params
from segjax.runs.claim import open_run
from segjax.runs.folder import RunFolder
from segjax.training.run import run
from tests.runs.checkpoint_states import flip_a_bit
from tests.small_net import built, silent, small_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One whole run of the real settings, shrunk; many tests look at it."""
    folder, loss = tmp_path_factory.mktemp("finished"), {"loss_params": {"dice_scale": 400.0}}
    config = small_run(folder / "run", loss="combo", **loss, augment="flip")
    lines = []
    return config, run(config, say=lines.append), lines


def test_the_run_folder_is_complete_and_its_log_the_means_of_the_losses(finished):
    config, result, lines = finished
    assert result.finished
    written = "config.json metrics.jsonl performance_numbers_2.txt loss.png predictions.png"
    names = {path.name for path in result.folder.iterdir()}
    assert names >= {*written.split(), "results.json", "checkpoints"}
    assert RunFolder(result.folder).config() == config
    assert any(line.startswith("[epoch=1/2, iter=   2  elapsed_time=") for line in lines)
    # 5 steps an epoch, a mean every 2: the full intervals of DLStudio's file are 2 an epoch.
    assert len((result.folder / "performance_numbers_2.txt").read_text().split()) == 4
    log = RunFolder(result.folder).records()
    assert [row["step"] for row in log] == [2, 4, 5, 5, 7, 9, 10, 10]
    text = (result.folder / "results.json").read_text()
    assert "NaN" not in text
    results = json.loads(text)
    assert results["config"]["loss_params"] == {"dice_scale": 400.0}
    assert results["test"]["images"] == 10
    for reading in ("half", "windows"):
        scores = results["test"][reading]
        assert len(scores["per_class"]["iou"]) == 5
        assert 0 <= scores["pixel_accuracy"] <= 1
    assert results["environment"]["versions"]["jax"] == jax.__version__
    assert results["parameters_dlstudio_counts"] is None
    # The logged means, from the same steps taken here one at a time.
    trainer, state = built(config)
    arrays = trainer.program.place(trainer.splits.train)
    _, seen = trainer.program.steps(state, arrays, trainer.order_of(0))
    seen = np.concatenate(seen)
    means = [row["loss"] for row in log if row["kind"] == "train"][:3]
    np.testing.assert_allclose(means, [seen[0:2].mean(), seen[2:4].mean(), seen[4]], rtol=1e-6)


def test_a_killed_run_resumes_bit_for_bit(finished, tmp_path):
    """Killed without warning in its second epoch; its newest checkpoint is damaged besides."""
    config, whole, _ = finished
    folder = tmp_path / "run"
    config = config.replace(run_dir=str(folder), checkpoint_steps=1, keep_checkpoints=9)
    imports = "from segjax.config import Config; from segjax.training.run import run"
    code = f"{imports}; run(Config.from_json({config.to_json()!r}))"
    told = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen([sys.executable, "-c", code], **told)
    deadline = time.monotonic() + 120
    while not list(folder.glob("checkpoints/step_0000000[6-9]")):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()  # SIGKILL: no handler runs
    process.communicate()
    assert not (folder / "results.json").exists()
    *_, good, newest = sorted(folder.glob("checkpoints/step_*"))
    flip_a_bit(newest)
    lines = []
    resumed = run(config.replace(resume=True), say=lines.append)
    assert resumed.finished
    assert any(f"{newest.name} is damaged" in line for line in lines)
    assert f"resuming at step {int(good.name.removeprefix('step_'))} of 10" in lines
    log, expected = (
        [{**row, "seconds": None} for row in RunFolder(place).records()]
        for place in (folder, whole.folder)
    )
    assert log == expected
    places = (place / "checkpoints" for place in (folder, whole.folder))
    found = (load_params(place, which="newest")[:2] for place in places)
    jax.tree.map(np.testing.assert_array_equal, *found)
    assert resumed.results["test"]["half"] == whole.results["test"]["half"]


def test_a_checkpoint_from_before_the_loss_went_up_is_the_good_one(tiny):
    trainer, state = built(tiny)
    open_run(trainer.folder, tiny)
    trainer.checkpoints.keep = 3
    for step, loss in ((2, 3.0), (4, 29.0), (6, 31.0)):
        trainer.folder.log({"kind": "train", "step": step, "loss": loss, "mean_over": 2})
        trainer.checkpoints.save(step, state, {})
    trainer.progress.step, trainer.progress.losses = 7, [3.0]
    with pytest.raises(TrainingError, match="the last good checkpoint is step 4"):
        trainer.stop_on("the loss is nan")
    for step in (2, 4):
        storage.remove(trainer.folder.checkpoints / f"step_{step:08d}")
    with pytest.raises(TrainingError, match=r"no checkpoint is good: .* ten times .* at 4 in"):
        trainer.stop_on("the loss is nan")
    # What is not in the log yet: good up to the step before.
    trainer.folder.rewind_log(4)
    trainer.progress.step, trainer.progress.losses = 8, [20.0, 25.0, 30.5, 4.0]
    with pytest.raises(TrainingError, match="the last good checkpoint is step 6"):
        trainer.stop_on("the loss is nan")


def test_a_loss_that_is_not_finite_stops_the_run(tiny):
    config = tiny.replace(learning_rate=1e12, epochs=4, val_images=0)
    end = r"(?=.*step).*(last good checkpoint|nothing was saved|no checkpoint is good)"
    with pytest.raises(TrainingError, match=end):
        run(config, say=silent)
    saved = Path(config.run_dir) / "checkpoints"
    for step in Checkpoints(saved).steps():
        state, _, _ = load_params(saved, which=step)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


def test_the_best_checkpoint_is_the_one_tested(tiny):
    """With a learning rate that ruins the network after an epoch, the first epoch's is tested."""
    config = tiny.replace(loss="mse", learning_rate=1e-4, epochs=3, early_stop_epochs=1)
    result = run(config, say=silent)
    rows = [row for row in RunFolder(config.run_dir).records() if row["kind"] == "validation"]
    scores = [row["val_miou"] for row in rows]
    # The first of the best.
    assert result.results["tested_step"] == rows[scores.index(max(scores))]["step"]
    # Early stopping: the run ended with the first epoch that brought no gain, or at its end.
    without_gain = [at for at in range(1, len(rows)) if scores[at] <= max(scores[:at])]
    assert len(rows) == [*(at + 1 for at in without_gain), 3][0]


def test_what_cannot_run_is_an_error_and_a_resumed_run_keeps_its_settings(tiny, tmp_path):
    with pytest.raises(ConfigError, match="--batch_size=100"):
        run(tiny.replace(batch_size=100), say=silent)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file"):
        run(tiny.replace(run_dir=str(tmp_path / "file" / "run")), say=silent)
    trainer, state = built(tiny)
    open_run(trainer.folder, tiny)
    trainer.checkpoints.save(1, state, {})
    other = tiny.replace(unet_widths="8,16")
    with pytest.raises(ConfigError, match="--unet_widths was 8, is 8,16"):
        run(other.replace(resume=True), say=silent)
    # Told to lie about its settings, the checkpoint itself still refuses another network.
    with pytest.raises(CheckpointError, match="does not belong"):
        trainer.checkpoints.restore(built(other)[1])
