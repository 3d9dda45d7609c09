"""The run folder: chosen without harm, written atomically, readable after a crash."""

import math

import numpy as np
import pytest

from segjax.config import Config
from segjax.errors import ConfigError
from segjax.runs.folder import RunFolder, choose_folder, open_run, run_name


def test_new_runs_get_free_names_and_old_ones_are_resumed_or_refused(tmp_path):
    config = Config()
    one = Config(loss="combo", loss_params={"dice_scale": 20.0})
    assert run_name(one) == "combo-dice_scale20-dlstudio-depth16-seed1234"
    assert run_name(one) != run_name(one.replace(loss_params={"dice_scale": 400.0}))
    first = choose_folder(config, under=tmp_path)
    open_run(first, config)
    second = choose_folder(config, under=tmp_path)
    assert (first.path.name, second.path.name) == (run_name(config), run_name(config) + "-2")
    open_run(second, config)
    assert choose_folder(config.replace(resume=True), under=tmp_path).path == second.path
    # A run is never overwritten silently.
    config = Config(run_dir=str(tmp_path / "run"))
    open_run(choose_folder(config), config)
    (tmp_path / "run" / "keep.txt").write_text("mine")
    with pytest.raises(ConfigError, match="already holds a run"):
        choose_folder(config)
    assert choose_folder(config.replace(resume=True)).path == tmp_path / "run"
    over = config.replace(overwrite=True)
    open_run(choose_folder(over), over)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]


def test_other_peoples_files_are_left_alone_and_no_run_is_resumed(tmp_path):
    file = tmp_path / "thesis.tex"
    for where, settings, said in (
        (tmp_path, {"resume": True}, "holds no run"),
        ("", {"resume": True}, "there is no run"),
        (tmp_path, {}, "holds files that are no run"),
        (tmp_path, {"overwrite": True}, "holds files that are no run"),
        (file, {}, "is a file"),
    ):
        file.write_text("years of work")
        with pytest.raises(ConfigError, match=said):
            choose_folder(Config(run_dir=str(where), **settings), under=tmp_path)
    assert file.read_text() == "years of work"


def test_log_survives_a_line_cut_short_and_rewinds_and_results_are_json(tmp_path):
    folder = RunFolder(tmp_path)
    for step in (500, 1000, 1500):
        folder.log({"kind": "train", "step": step, "loss": step / 7, "mean_over": 500})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"kind": "tra')
    assert [record["step"] for record in folder.records()] == [500, 1000, 1500]
    folder.rewind_log(1000)
    assert [record["step"] for record in folder.records()] == [500, 1000]
    folder.write_performance_numbers(6, 500)
    assert (tmp_path / "performance_numbers_6.txt").read_text() == "71.429\n142.857\n"
    (tmp_path / "metrics.jsonl").write_text('nonsense\n{"step": 1}\n')
    with pytest.raises(ConfigError, match="line 1 is not JSON"):
        folder.records()
    # Results are JSON whatever is in them.
    with pytest.raises(ConfigError, match="has the run ended"):
        folder.results()
    folder.write_results({"iou": np.array([0.5, math.nan]), "n": np.int64(3), "t": (1, 2)})
    assert folder.results() == {"iou": [0.5, None], "n": 3, "t": [1, 2]}
