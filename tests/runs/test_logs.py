import csv
import io
import sys

import pytest

from segjax.errors import ConfigError
from segjax.runs.logs import CSV_COLUMNS, TensorBoard, csv_text
from tests.event_files import shown_scalars

TRAIN = {"kind": "train", "epoch": 1, "iter": 5, "step": 5, "loss": 0.25, "mean_over": 5}
VALIDATION = {"kind": "validation", "epoch": 1, "step": 5, "val_loss": 0.5, "val_miou": 0.75}


def test_csv_has_a_row_a_record_and_the_same_columns_whatever_comes():
    rows = list(csv.DictReader(io.StringIO(csv_text([TRAIN, VALIDATION]))))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [row["kind"] for row in rows] == ["train", "validation"]
    assert (rows[0]["val_miou"], rows[0]["loss"], rows[1]["val_miou"]) == ("", "0.25", "0.75")
    assert csv_text([]) == ",".join(CSV_COLUMNS) + "\n"
    # It keeps every digit, and quotes what needs it.
    (row,) = csv.DictReader(io.StringIO(csv_text([{"loss": 0.1 + 0.2, "note": 'a,"b"'}])))
    assert (float(row["loss"]), [*row.items()][-1]) == (0.1 + 0.2, ("note", 'a,"b"'))


def test_tensorboard_holds_the_curves_of_the_records_of_sessions_within_a_second(
    tmp_path, monkeypatch
):
    pytest.importorskip("tensorboardX")
    monkeypatch.setattr("time.time", lambda: 1e9)
    for step, record in ((0, TRAIN), (5, VALIDATION)):
        board = TensorBoard(tmp_path / "board", step=step)
        board.add(record)
        board.close()
    assert shown_scalars(tmp_path / "board") == [
        ("train/loss", 5, 0.25),
        ("validation/loss", 5, 0.5),
        ("validation/miou", 5, 0.75),
    ]


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ConfigError, match=r"--tensorboard needs .* pip install 'segjax\[tensorb"):
        TensorBoard(tmp_path)
