"""The exported folder: whole or not at all, and true to the run."""

import json

import jax
import numpy as np
import pytest

from segjax.errors import CheckpointError
from segjax.export import formats
from segjax.export.folder import export_one, export_run, make_reference
from segjax.predict.predictor import Predictor
from segjax.predict.trained import load_trained
from tests.export.untrained import SMALL, untrained


def test_the_folder_says_what_is_in_it(exported, exported_for_dlstudio):
    for folder, size, names in (
        (exported, [32, 40], ["jax", "onnx", "safetensors"]),
        (exported_for_dlstudio, [64, 64], ["dlstudio"]),
    ):
        about = json.loads((folder / "export.json").read_text())
        assert about["image_size"] == size
        assert about["classes"][-1] == "star"
        assert about["jax"] == jax.__version__  # how long a program can be read depends on it
        assert list(about["formats"]) == names
        for name, check in about["formats"].items():
            assert (folder / check["file"]).stat().st_size == check["bytes"]
            differences = check["largest_difference_by_batch_size"]
            assert list(differences) == ["1", "2", "5"]
            assert name in ("jax", "onnx") or set(differences.values()) == {0.0}


def test_exported_programs_agree_with_the_predictor(exported, unet_run):
    image = np.random.default_rng(4).integers(0, 256, (32, 40, 3), np.uint8)
    wanted = Predictor.load(unet_run)(image)
    assert wanted.scores.shape == (32, 40, 5)
    trained = load_trained(unet_run)
    for name, tolerance in (("jax", 1e-5), ("onnx", 1e-4)):
        form = formats.FORMATS[name]
        scores, labels = form.run(trained, exported / form.file, image[None])
        np.testing.assert_allclose(scores[0], wanted.scores, rtol=tolerance, atol=tolerance)
        assert (labels[0] != wanted.labels).mean() < 1e-3


def test_a_wrong_export_is_caught(tmp_path):
    trained = untrained(tmp_path, **SMALL)
    reference = make_reference(trained, (8, 8))
    form = formats.FORMATS["jax"]
    images, scores = reference[2]
    reference[2] = images, scores + 1e-3 * (np.arange(scores.size) == 0).reshape(scores.shape)
    with pytest.raises(CheckpointError, match=r"differ by 0\.001 at batch size 2"):
        export_one(form, trained, tmp_path, (8, 8), reference)


def test_nothing_is_left_of_an_export_that_fails(unet_run, tmp_path, monkeypatch):
    monkeypatch.setattr("segjax.export.folder.LABELS_MAY_DIFFER", -1)
    with pytest.raises(CheckpointError, match="of the labels differ; it was not exported"):
        export_run(unet_run, tmp_path / "out")
    assert not list(tmp_path.iterdir())
