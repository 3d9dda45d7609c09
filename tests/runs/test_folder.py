"""The run folder: readable after a crash, its numbers JSON whatever they are."""

import math

import numpy as np
import pytest

from segjax.config import Config
from segjax.errors import ConfigError
from segjax.runs.folder import RunFolder, run_name


def test_names_tell_runs_apart():
    one = Config(loss="combo", loss_params={"dice_scale": 20.0})
    assert run_name(one) == "combo-dice_scale20-dlstudio-depth16-seed1234"
    assert run_name(one) != run_name(one.replace(loss_params={"dice_scale": 400.0}))


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
    with pytest.raises(ConfigError, match="line 1 is no JSON object; delete that line"):
        folder.records()
    for odd in ('{"step": "1"}', '{"loss": []}', '{"kind": 1}', "[]", "[" * 100_000):
        (tmp_path / "metrics.jsonl").write_text(odd + '\n{"step": 2, "loss": null}\n')
        with pytest.raises(ConfigError, match="line 1 is no JSON object"):
            folder.records()
    lines = ['{"step": 1}', "null", '{"step": 2}', '{"step": 3}', '{"st']
    (tmp_path / "metrics.jsonl").write_bytes("\n".join(lines).encode() + b"\xff")
    assert folder.sync_log() == 3
    said = []
    folder.rewind_log(2, expected=3, say=said.append)
    assert folder.records() == [{"step": 1}, {"step": 2}]
    assert [line.removeprefix(f"{tmp_path}/metrics.jsonl: ") for line in said] == [
        "line 2 is no JSON object and left out",
        "1 of 3 records up to step 2 are lost",
    ]
    folder.rewind_log(2, expected=2, say=said.append)
    assert len(said) == 2
    # Results are JSON whatever is in them.
    with pytest.raises(ConfigError, match="has the run ended"):
        folder.results()
    for damage in ("[]", "3", "{", "[" * 100_000):
        (tmp_path / "results.json").write_text(damage)
        with pytest.raises(ConfigError, match=r"results\.json: (is no JSON object|cannot be read)"):
            folder.results()
    folder.write_results({"iou": np.array([0.5, math.nan]), "n": np.int64(3), "t": (1, 2)})
    assert folder.results() == {"iou": [0.5, None], "n": 3, "t": [1, 2]}
