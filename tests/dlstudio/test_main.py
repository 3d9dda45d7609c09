"""``python -m segjax.dlstudio``: a saved_model into a run folder and out again."""

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

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
from tests.goldens import recipe


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dlstudio") / "saved_model"
    state = recipe.random_state_dict(depth=2).items()
    write_torch_file(
        path, {n: v.astype(np.float32) if v.dtype.kind == "f" else v for n, v in state}
    )
    return path


@pytest.fixture(scope="module")
def folder(saved_model: Path) -> Path:
    """A run folder, only read, of weights imported without skip connections."""
    path = saved_model.with_name("run")
    import_run(saved_model, path, skip_connections=False)
    return path


def test_import_then_export_gives_the_same_tensors(saved_model, folder, tmp_path) -> None:
    export_run(folder, tmp_path / "again")
    before, after = read_torch_file(saved_model), read_torch_file(tmp_path / "again")
    assert list(before) == list(after)
    for name, value in before.items():
        assert after[name].dtype == value.dtype, name
        np.testing.assert_array_equal(after[name], value, err_msg=name)


def test_the_run_folder_holds_settings_and_weights(saved_model, folder) -> None:
    imported = dlstudio.from_state_dict(saved_model, skip_connections=False)
    config = RunFolder(folder).config()
    assert (config.depth, config.head, config.skip_connections) == (2, "dlstudio", False)
    assert dataclasses.replace(config, run_dir="", depth=16, skip_connections=True) == Config()
    params, batch_stats, _ = load_params(RunFolder(folder).checkpoints)
    held = {"params": params, "batch_stats": batch_stats}
    jax.tree.map(np.testing.assert_array_equal, held, imported.variables)


def test_training_goes_on_from_imported_weights(saved_model, tmp_path) -> None:
    from segjax.training.run import run

    import_run(saved_model, tmp_path / "run", skip_connections=True)
    config = RunFolder(tmp_path / "run").config()
    small = {"data": "synthetic", "synthetic_train": 4, "synthetic_test": 2, "image_size": 64}
    # What a resumed run was trained on is fixed; write the small data set's settings as its own.
    config = dataclasses.replace(config, **small)
    (tmp_path / "run" / "config.json").write_text(config.to_json())
    run(dataclasses.replace(config, resume=True, max_steps=1, epochs=1, test=False))
    export_run(tmp_path / "run", tmp_path / "trained", which="newest")
    before, after = read_torch_file(saved_model), read_torch_file(tmp_path / "trained")
    assert not np.array_equal(before["conv_out.bias"], after["conv_out.bias"])
    kept = "skip64to128DN.convo2.weight"  # never runs
    np.testing.assert_array_equal(before[kept], after[kept])


def test_nothing_is_overwritten(saved_model, folder) -> None:
    with pytest.raises(ConfigError, match="already holds a run"):
        import_run(saved_model, folder, skip_connections=True)
    with pytest.raises(CheckpointError, match="exists already"):
        export_run(folder, saved_model)


def test_refused_weights_leave_no_folder(tmp_path) -> None:
    write_torch_file(tmp_path / "other", {"fc.weight": np.zeros((2, 2), np.float32)})
    with pytest.raises(CheckpointError, match="not the weights"):
        import_run(tmp_path / "other", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_damaged_extra_tensors_are_named(folder, tmp_path) -> None:
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "run" / "dlstudio_extra.npz").write_bytes(b"PK not a zip")
    with pytest.raises(CheckpointError, match=r"dlstudio_extra\.npz: cannot be read"):
        export_run(tmp_path / "run", tmp_path / "out")


def test_errors_of_the_command_are_one_line(saved_model, tmp_path, capsys) -> None:
    assert main(["export", str(tmp_path / "none"), str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["import", str(saved_model), str(tmp_path / "run"), "--no-skip_connections"]) == 0
    assert "without skip connections" in capsys.readouterr().out


def test_the_module_runs_as_a_command(saved_model, tmp_path) -> None:
    run, out = str(tmp_path / "run"), str(tmp_path / "out")
    command = [sys.executable, "-m", "segjax.dlstudio", "import", saved_model, run]
    subprocess.run([*command, "--skip_connections"], check=True)
    assert main(["export", run, out]) == 0
    assert dlstudio.from_state_dict(out, skip_connections=True).depth == 2
