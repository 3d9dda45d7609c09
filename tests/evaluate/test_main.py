"""python -m segjax.evaluate: the numbers of the run's own test, and all that is written."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from segjax import metrics
from segjax.data import synthetic, write_gz
from segjax.evaluate.__main__ import main
from segjax.evaluate.report import FILES
from segjax.runs.folder import RunFolder

SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("exclusive_run", "faithful_run")]


def contents(folder):
    """What every file below a folder holds, but for evaluations."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {file: file.read_bytes() for file in files if "evaluate" not in file.parts}


def table(path):
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture
def undrawn(monkeypatch):
    """Leave the figures out, which take most of the time of a small evaluation."""
    monkeypatch.setattr("segjax.plots.save", lambda figure, path: None)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("kind", ["unet_run", *SLOW])
def test_the_numbers_are_those_of_the_runs_own_test(kind, request, tmp_path, capsys):
    run = request.getfixturevalue(kind)
    assert main([str(run), f"--out={tmp_path / 'out'}"]) == 0, capsys.readouterr().err
    found, expected = (RunFolder(path).results() for path in (tmp_path / "out", run))
    for results in (found, expected):
        assert results["test"].pop("seconds") > 0
    assert found["test"] == expected["test"]
    assert (found["classes"], found["tested_step"]) == (expected["classes"], 2)
    said = capsys.readouterr().out
    assert f"{expected['test']['half']['mean']['iou']:.4f}" in said
    assert ("DLStudio's windows" in said) == (kind == "faithful_run")


def test_what_it_writes_agrees_with_itself(unet_run, tmp_path, capsys):
    scenes, out = synthetic(5, seed=3), tmp_path / "out"
    write_gz(scenes, tmp_path / "five.gz")
    arguments = [str(unet_run), str(tmp_path / "five.gz"), f"--out={out}", "--worst=2"]
    assert main([*arguments, "--stats=running", "--batch_size=3"]) == 0
    assert {file.name for file in out.iterdir()} == {*FILES}
    results, said = json.loads((out / "results.json").read_text()), capsys.readouterr().out
    images, classes = table(out / "images.csv"), table(out / "classes.csv")
    assert [row["image"] for row in images] == [f"image {index}" for index in range(5)]
    assert [row["class"] for row in classes] == [*scenes.class_names, "mean"]
    for name in (*metrics.SCORES, "boundary_f1", "hausdorff", "hd95", "assd", "panoptic_quality",
                 "segmentation_quality", "recognition_quality", "object_recall"):  # fmt: skip
        *each, mean = (float(row[name] or "nan") for row in classes)
        np.testing.assert_allclose(mean, np.nanmean(each))
    half = results["test"]["half"]
    assert [row["iou"] for row in classes[:5]] == [str(v) for v in half["per_class"]["iou"]]
    assert np.isfinite([float(row["hd95"]) for row in classes]).all()
    # Classes that an image lacks, in truth and prediction, have no score there.
    for row, mean in ((row, float(row["iou"])) for row in images):
        own = [float(value) for name, value in row.items() if name.startswith("iou ") and value]
        assert mean == pytest.approx(np.mean(own))
    lowest = sorted(images, key=lambda row: float(row["iou"]))[:2]
    assert [row["image"] for row in results["worst"]] == [row["image"] for row in lowest]
    assert f"{lowest[0]['image']} ({float(lowest[0]['iou']):.3f})" in said
    pixels = np.array(results["confusion"]["pixels"])
    recall = np.array(half["per_class"]["recall"])
    np.testing.assert_allclose(pixels.diagonal()[:5] / pixels.sum(1)[:5], recall)
    rows = [list(row.values()) for row in table(out / "confusion.csv")]
    assert [row[0] for row in rows] == [*scenes.class_names, "background"]
    np.testing.assert_array_equal(np.array([row[1:] for row in rows], int), pixels)
    assert sum(results["objects_by_size"]["number"]) == len(scenes.boxes)
    for name in ("confusion.png", "worst.png"):
        with Image.open(out / name) as picture:
            assert min(picture.size) > 300


@pytest.mark.usefixtures("undrawn")
def test_where_it_writes_and_what_it_leaves_alone(unet_run, tmp_path, monkeypatch, capsys):
    run = shutil.copytree(unet_run, tmp_path / "run")
    write_gz(synthetic(2, seed=5), tmp_path / "two.gz")
    shutil.copy(tmp_path / "two.gz", tmp_path / "run" / "two.gz")
    (tmp_path / "shots").mkdir()
    scenes = synthetic(1, seed=1)
    Image.fromarray(scenes.images[0]).save(tmp_path / "shots" / "a.png")
    Image.fromarray(scenes.masks[0].max(-1) // 50).save(tmp_path / "shots" / "a_mask.png")
    monkeypatch.chdir(tmp_path)
    before = contents(run)
    for arguments in ("run", "run", "run two.gz"):  # the second takes the place of the first
        assert main(arguments.split()) == 0
    assert contents(run) == before
    assert {path.name for path in (run / "evaluate").iterdir()} == {"test", "two"}
    capsys.readouterr()
    for arguments, code, said in (
        ("run run/two.gz", 2, "two: is of {'run': "),
        ("run --out=run", 2, "run: holds other files; name another --out"),
        ("run --out=two.gz", 2, "two.gz: is a file"),
        ("absent", 2, "absent: holds no run"),
        ("two.gz", 2, "two.gz"),
        ("run --which=7", 1, "step"),
        ("run --which=last", 2, "--which=last"),
        ("run --batch_size=0", 2, "--batch_size=0: must be in 1.."),
        ("run --worst=0", 2, "--worst=0: must be in 1..100"),
        ("run shots --out=shots/images/new", 2, "lies in the data"),
        ("run absent", 1, "absent: no such folder"),
        ("run --stats=both", 2, "invalid choice: 'both'"),
    ):
        assert main(arguments.split()) == code, arguments
        line = capsys.readouterr().err.splitlines()[-1]
        assert said in line, (arguments, line)
    started = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(started | {"data": "0" * 64}))
    assert main(["run"]) == 1
    assert "the data is not what the run was started with" in capsys.readouterr().err
    config = RunFolder(run).config().replace(synthetic_seed=9)
    (run / "config.json").write_text(config.to_json())
    assert main(["run"]) == 1
    assert "config.json is not what the checkpoint was trained with" in capsys.readouterr().err
