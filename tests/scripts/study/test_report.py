"""What becomes of the report's sentences, asked of records of its runs."""

import json

import numpy as np
import pytest

from scripts.study.groups import REPORT
from scripts.study.report import LAYERS, Report

FLOORS = {"mse_all_zero": 400.0, "mse": 300.0}  # Dice's best is 0.5, at twice the mask value
FIRST = {"mse": 400.0, "dice": 0.9, "combo20": 420.0, "combo400": 800.0}
USUAL = {"wobble": 0.1, "edges": 0.5, "precision": 0.9, "recall": 0.2}
OWN = {"dice": {"wobble": 0.0, "edges": 0.6, "precision": 0.5}, "combo400": {"wobble": 0.05}}
FALLS = {"mse": 0.2, "dice": 0.1, "combo20": 0.21, "combo400": 0.3}


def record(loss, *, fall, wobble, edges, precision, recall):
    # Straight down, every other mean lifted by a share of the range.
    shares = np.linspace(0, 1, 9) - wobble * (np.arange(9) % 2)
    means = FIRST[loss] * (1 - fall * shares)
    scores = {"mean": {"iou": recall, "precision": precision, "recall": recall}}
    about = {"device": "D", "commit": "c", "versions": {"jax": "1"}}
    return {
        "log": [{"step": 500 * (i + 1), "loss": float(mean)} for i, mean in enumerate(means)],
        "results": {"test": {"half": scores, "windows": scores}, "environment": about},
        "measured": {
            "shapes": {"boundary_f1_mean": edges},
            "leak": {"recoloured": {"iou": [recall, recall]}},
        },
    }


def report_of(folder, **changes):
    """Records of all groups; ``changes``: of a group, dashes as underscores."""
    folder.mkdir(parents=True, exist_ok=True)
    for layers in LAYERS:
        for loss in REPORT:
            about = USUAL | {"fall": FALLS[loss]} | OWN.get(loss, {}) | changes.get(loss, {})
            file = folder / f"{loss}-{layers}-seed1.json"
            file.write_text(json.dumps(record(loss, **about)))
    (folder / "mse-dlstudio-seed1-cpu.json").write_text("not read")
    return Report(folder, FLOORS)


@pytest.mark.parametrize(
    ("row", "change"),
    [
        (0, {"dice": {"fall": 0.3}}),
        (1, {"dice": {"wobble": 0.2}}),
        (2, {"combo20": {"wobble": 0.3}}),
        (3, {"combo20": {"fall": 0.31}, "combo400": {"fall": 0.2}}),
        (4, {"combo400": {"wobble": 0.2}}),
        (5, {"dice": {"edges": 0.4}}),
        (6, {"dice": {"precision": 0.95}}),
        (7, {"combo20": {"recall": 0.5}}),
    ],
)
def test_each_verdict_turns_with_what_it_rests_on(tmp_path, row, change):
    assert [line[1] for line in report_of(tmp_path / "a").verdicts()] == ["confirmed"] * 8
    turned = [line[1] for line in report_of(tmp_path / "b", **change).verdicts()]
    assert turned[row] == "**refuted**"


def test_floors_ways_and_rows(tmp_path):
    report = report_of(tmp_path)
    assert report
    assert report.floor("mse") == pytest.approx(300)
    assert report.floor("dice") == pytest.approx(0.5)
    assert report.course("mse").way == pytest.approx(0.2 * 400 / (400 - 300))
    assert report.course("combo400").fall == pytest.approx(0.3)
    assert report.course("dice").rough == pytest.approx(0)
    rows = report.rows()
    assert rows[0] == ["MSE, the report", "1", "438.0", "354.0"]
    assert rows[3][:6] == ["MSE, DLStudio's layers", "1", "400.0", "320.0", "300.0", "0.200"]
    assert rows[-1][4] == ""  # dense layers have no floor
    assert report.note() == "D, jax 1, commit c"
    (tmp_path / "dice-dlstudio-seed1.json").unlink()
    assert not Report(tmp_path, FLOORS)
