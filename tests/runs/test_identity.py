"""Which run a folder and its checkpoints belong to."""

import dataclasses
import json
import os
import shutil

import pytest

from segjax.config import Config
from segjax.errors import CheckpointError, ConfigError, DataError
from segjax.predict.trained import load_trained
from segjax.runs.identity import Identity, identify, settings_changed
from segjax.training.run import run
from tests.small_net import silent, small_run

pytestmark = pytest.mark.usefixtures("no_figures")
CONFIG = Config(loss="combo", loss_params={"dice_scale": 20.0})


def test_a_run_keeps_its_identity_and_another_ones_is_named(tmp_path):
    new = identify(tmp_path, CONFIG)
    assert identify(tmp_path, CONFIG).id != new.id  # nothing is written yet
    new.write(tmp_path)
    found = identify(tmp_path, CONFIG.replace(epochs=9, devices=2), data="ab")
    assert found == dataclasses.replace(new, data="ab")  # the settings it was started with
    found.write(tmp_path)
    with pytest.raises(DataError, match="the data is not what the run was started with"):
        identify(tmp_path, CONFIG, data="cd")
    assert identify(tmp_path, CONFIG) == found
    with pytest.raises(ConfigError, match=r"--seed was 1234, is 7; loss parameters were .* are {}"):
        identify(tmp_path, CONFIG.replace(seed=7, loss_params={}))
    assert found.difference({}) is found.difference({"run": None}) is None
    assert found.difference({"run": found.to_dict()}) is None
    assert found.difference({"run": new.to_dict()}) is None  # before it saw data
    for other, told in (
        ({"id": "0"}, "belongs to another run of the same settings"),
        ({"data": "cd"}, "belongs to a run on other data"),
        ({"config": CONFIG.replace(seed=7)}, "another run: --seed was 7, is 1234"),
    ):
        meta = {"run": dataclasses.replace(found, **other).to_dict()}
        assert told in found.difference(meta)
    assert settings_changed(meta, CONFIG) == ["--seed was 7, is 1234"]
    for damage in (
        "nonsense",
        "[]",
        "[" * 100_000,
        '{"id": "x", "data": ""}',
        '{"id": 1, "settings": {"a": 1}}',
    ):
        (tmp_path / "run.json").write_text(damage)
        with pytest.raises(ConfigError, match=r"run\.json"):
            identify(tmp_path, CONFIG)
    (tmp_path / "run.json").unlink()
    os.mkfifo(tmp_path / "run.json")
    with pytest.raises(ConfigError, match="not a regular file"):
        identify(tmp_path, CONFIG)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two runs of networks alike, with other settings: their folders."""
    folder = tmp_path_factory.mktemp("runs")
    settings = {"loss": "bce", "input_range": "unit", "epochs": 1, "test": False}
    one = small_run(folder / "one", **settings)
    other = one.replace(run_dir=str(folder / "other"), seed=7, input_range="raw")
    return [run(config, say=silent).folder for config in (one, other)]


def test_checkpoints_of_another_run_and_edited_settings_are_refused(two, tmp_path):
    one, other = (shutil.copytree(folder, tmp_path / folder.name) for folder in two)
    again = small_run(one, loss="bce", input_range="unit", epochs=2, test=False, resume=True)
    shutil.rmtree(one / "checkpoints")
    shutil.copytree(other / "checkpoints", one / "checkpoints")
    changed = "--input_range was raw, is unit; --seed was 7, is 1234"
    for use in (lambda: run(again, say=silent), lambda: load_trained(one)):
        with pytest.raises(CheckpointError, match=changed):
            use()
    # A config.json that was edited, without a flag that says so.
    settings = json.loads((other / "config.json").read_text())
    settings |= {"run_dir": str(other), "dtype": "bfloat16"}
    (other / "config.json").write_text(json.dumps(settings))
    edited = Config().replace(**settings | {"resume": True})
    with pytest.raises(ConfigError, match=r"config.json is not what .*--dtype was float32"):
        run(edited, say=silent)
    with pytest.raises(CheckpointError, match=r"config.json is not what .*--dtype was float32"):
        load_trained(other)


def test_a_log_and_checkpoints_that_are_gone_are_missed(two, tmp_path):
    folder, lines = shutil.copytree(two[0], tmp_path / "run"), []
    again = small_run(folder, loss="bce", input_range="unit", epochs=2, test=False, resume=True)
    log = folder / "metrics.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:2]))
    assert run(again, say=lines.append).finished
    assert f"{log}: 2 of 4 records up to step 5 are lost" in lines
    shutil.rmtree(folder / "checkpoints")
    for ended in (True, False):
        (folder / "results.json").touch() if ended else (folder / "results.json").unlink()
        with pytest.raises(
            CheckpointError, match="holds no checkpoint, though the log reaches step 10"
        ):
            run(again.replace(epochs=3), say=silent)


def test_a_run_from_before_there_was_an_identity_goes_on_with_a_line(two, tmp_path, monkeypatch):
    folder, lines = shutil.copytree(two[0], tmp_path / "run"), []
    settings = json.loads((folder / "config.json").read_text()) | {"run_dir": str(folder)}
    (folder / "run.json").unlink()
    shutil.rmtree(folder / "checkpoints")
    monkeypatch.setattr(Identity, "to_dict", lambda self: None)
    run(Config().replace(**settings | {"overwrite": True}), say=silent)
    monkeypatch.undo()
    (folder / "run.json").unlink()
    longer = Config().replace(**settings | {"resume": True, "epochs": 2})
    assert run(longer, say=lines.append).finished
    assert "the checkpoint of step 5 does not say which run it belongs to" in lines
    load_trained(folder)
