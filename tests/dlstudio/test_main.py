"""``python -m segjax.dlstudio``: a saved_model into a run folder and out again."""

import dataclasses
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from segjax.config import Config
from segjax.dlstudio import weights as dlstudio
from segjax.dlstudio.__main__ import export_run, import_run, main
from segjax.dlstudio.torchfile import read_torch_file, write_torch_file
from segjax.errors import CheckpointError, ConfigError
from segjax.runs.checkpoints import load_params
from segjax.runs.folder import RunFolder
from tests.dlstudio.states import assert_same, fresh
from tests.small_net import silent


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("dlstudio") / "saved_model"
    write_torch_file(path, fresh(2))
    return path


@pytest.fixture(scope="module")
def folder(saved_model):
    """A run folder, only read, that the command made of weights without skip connections."""
    path = saved_model.with_name("run")
    command = [sys.executable, "-m", "segjax.interop.dlstudio", "import", saved_model, path]
    done = subprocess.run([*command, "--no-skip_connections"], capture_output=True, text=True)
    assert "mUnet of depth 2, head dlstudio, without skip connections" in done.stdout
    return path


def test_the_run_folder_gives_settings_and_weights_back(saved_model, folder, tmp_path):
    assert main(["export", str(folder), str(tmp_path / "again")]) == 0
    assert_same(read_torch_file(tmp_path / "again"), read_torch_file(saved_model))
    imported = dlstudio.from_state_dict(saved_model, skip_connections=False)
    config = RunFolder(folder).config()
    assert (config.depth, config.head, config.skip_connections) == (2, "dlstudio", False)
    assert dataclasses.replace(config, run_dir="", depth=16, skip_connections=True) == Config()
    params, batch_stats, _ = load_params(RunFolder(folder).checkpoints)
    held = {"params": params, "batch_stats": batch_stats}
    jax.tree.map(np.testing.assert_array_equal, held, imported.variables)


@pytest.mark.slow
def test_training_goes_on_from_imported_weights(saved_model, tmp_path, no_figures):
    from segjax.training.run import run

    path = tmp_path / "run"
    import_run(saved_model, path, skip_connections=True)
    # What a resumed run was trained on is fixed; write the small data set's settings as its own,
    # and the batch size of tests/conftest.py, whose compiled step serves here too.
    small = {"data": "synthetic", "synthetic_train": 4, "synthetic_test": 2, "batch_size": 2}
    config = RunFolder(path).config().replace(**small, image_size=64)
    (path / "config.json").write_text(config.to_json())
    (path / "run.json").unlink()
    run(config.replace(resume=True, max_steps=1, epochs=1, test=False), say=silent)
    export_run(path, tmp_path / "trained", which="newest")
    before, after = read_torch_file(saved_model), read_torch_file(tmp_path / "trained")
    assert not np.array_equal(before["conv_out.bias"], after["conv_out.bias"])
    kept = "skip64to128DN.convo2.weight"  # never runs
    np.testing.assert_array_equal(before[kept], after[kept])


def test_what_cannot_be_done_leaves_a_line_and_no_more(saved_model, folder, tmp_path, capsys):
    with pytest.raises(ConfigError, match="already holds a run"):
        import_run(saved_model, folder, skip_connections=True)
    with pytest.raises(CheckpointError, match="exists already"):
        export_run(folder, saved_model)
    write_torch_file(tmp_path / "other", {"fc.weight": np.zeros((2, 2), np.float32)})
    with pytest.raises(CheckpointError, match="not the weights"):
        import_run(tmp_path / "other", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "run" / "dlstudio_extra.npz").write_bytes(b"PK not a zip")
    with pytest.raises(CheckpointError, match=r"dlstudio_extra\.npz: cannot be read"):
        export_run(tmp_path / "run", tmp_path / "out")
    assert main(["export", str(tmp_path / "none"), str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
