"""Prediction: the network that was tested, images of any size, bad ones named and skipped."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

import segjax
from segjax.data import synthetic
from segjax.errors import CheckpointError, ConfigError, DataError
from segjax.predict.__main__ import find_images, main, output_names
from segjax.predict.predictor import Predictor
from segjax.predict.trained import load_trained, strongest
from segjax.runs.checkpoints import load_params
from segjax.training.evaluate import make_predict


@pytest.fixture(scope="session")
def predictor(dense_run):
    return Predictor.load(dense_run)


@pytest.fixture(scope="session")
def image():
    return synthetic(1, seed=5).images[0]


def test_three_lines_of_python(dense_run, image):
    predictor = segjax.Predictor.load(dense_run)
    prediction = predictor(image)
    assert prediction.labels.shape == image.shape[:2]
    assert prediction.scores.shape == (*image.shape[:2], 5)
    assert prediction.class_names == ("rectangle", "triangle", "disk", "oval", "star")
    np.testing.assert_array_equal(prediction.masks, prediction.scores > 0.5)


@pytest.mark.parametrize("run", ["dense_run", "faithful_run"])
def test_it_is_what_the_test_pass_computes(run, image, request):
    trained = load_trained(request.getfixturevalue(run))
    predict = make_predict(trained.model, trained.objective, stats="running")
    values = np.asarray(predict(dict(trained.variables), image[None]))[0]
    scale = np.array(trained.objective.class_values, np.float32)
    found = Predictor(trained)(image)
    np.testing.assert_allclose(found.scores * scale, values, rtol=1e-5, atol=1e-4)


def test_a_run_with_an_average_predicts_with_it(dense_run):
    trained = load_trained(dense_run)
    params, _, meta = load_params(dense_run / "checkpoints")
    assert trained.config.ema_decay > 0
    same = jax.tree.map(np.array_equal, trained.variables["params"], params)
    assert all(jax.tree.leaves(same))
    assert meta["label_map"]["star"] == 250
    assert trained.image_size == (64, 64)


def test_the_prediction_of_an_image_does_not_depend_on_its_company(predictor, image):
    crops = {name: image[:side, :side] for name, side in (("a", 24), ("b", 33), ("c", 21))}
    together = dict(predictor.predict_each(crops.items()))
    for name, crop in crops.items():
        alone = predictor(crop)
        np.testing.assert_allclose(together[name].scores, alone.scores, atol=1e-5)
        assert alone.labels.shape == crop.shape[:2]


def test_a_large_image_in_tiles_is_close_to_the_whole(dense_run, predictor, image):
    tiled = Predictor(predictor.trained, tile=48, overlap=16)
    assert len(list(tiled._begin(None, image).grid.corners)) == 4
    whole = predictor(image)
    in_tiles = tiled(image)
    assert in_tiles.labels.shape == whole.labels.shape
    # A tile's middle sees what the whole image shows there; only its border is guessed.
    assert np.abs(in_tiles.scores - whole.scores).mean() < 0.1 * whole.scores.std() + 0.01


def test_labels_are_the_strongest_class_above_one_half():
    scores = np.array([[0.4, 0.3], [0.6, 0.9], [0.9, 0.6], [0.5, 0.1]], np.float32)
    assert strongest(scores, exclusive=False).tolist() == [0, 2, 1, 0]
    # With 0.4 and 0.3 the background has 0.3: the first class is the likeliest of the three.
    shared = np.array([[0.4, 0.3], [0.3, 0.2]], np.float32)
    assert strongest(shared, exclusive=True).tolist() == [1, 0]


def opened(path):
    """Read a picture whole and close its file."""
    with Image.open(path) as picture:
        picture.load()
        return picture.copy()


def test_what_is_no_image_is_refused(predictor, tmp_path):
    with pytest.raises(DataError, match="dtype float32"):
        predictor(np.zeros((8, 8, 3), np.float32))
    with pytest.raises(DataError, match="shape"):
        predictor(np.zeros((8, 8, 4), np.uint8))
    with pytest.raises(DataError, match=r"absent\.png"):
        predictor(tmp_path / "absent.png")


def test_files_folders_and_globs(dense_run, pictures, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = [str(dense_run), str(pictures), str(pictures / "*.jpg"), "--scores=npz"]
    assert main([*arguments, f"--out={out}", "--batch_size=2"]) == 1
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "broken.png" in said.err
    assert "skipped" in said.err
    assert "3 images done, 1 skipped" in said.out
    listed = json.loads((out / "predictions.json").read_text())
    assert [len(row["files"]) for row in listed["done"]] == [3, 3, 3]
    sizes = {"a": (64, 64), "b": (45, 37), "more/a": (20, 64)}
    predictor = Predictor.load(dense_run)
    for name, size in sizes.items():
        mask = opened(out / f"{name}_mask.png")
        assert mask.mode == "P"
        labels = np.array(mask)
        assert labels.shape == size
        assert mask.getpalette()[:3] == [0, 0, 0]
        assert opened(out / f"{name}_overlay.png").size == size[::-1]
        with np.load(out / f"{name}_scores.npz") as stored:
            assert stored["scores"].shape == (*size, 5)
            assert stored["classes"].tolist()[0] == "rectangle"
        source = pictures / (name + (".jpg" if name == "b" else ".png"))
        np.testing.assert_array_equal(labels, predictor(source).labels)


def test_scores_as_pictures_and_no_overlay(dense_run, pictures, tmp_path):
    source = str(pictures / "a.png")
    arguments = [str(dense_run), source, "--scores=png", "--no-overlay", f"--out={tmp_path}"]
    assert main(arguments) == 0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["a_mask.png", *(f"a_score{i}.png" for i in range(1, 6)), "predictions.json"]
    wide = np.array(opened(tmp_path / "a_score5.png"))
    scores = Predictor.load(dense_run)(source).scores[..., 4]
    np.testing.assert_allclose(wide / 65535, np.clip(scores, 0, 1), atol=1 / 65535)


def test_the_faithful_run_says_what_it_is(faithful_run, pictures, tmp_path, capsys):
    assert main([str(faithful_run), str(pictures / "a.png"), f"--out={tmp_path}"]) == 0
    out = capsys.readouterr().out
    assert "tested with batch statistics; predicting with running ones" in out
    assert "one pixel in four" in out


def test_own_results_are_no_images_and_names_do_not_clash(tmp_path):
    out = tmp_path / "predictions"
    out.mkdir()
    for path in (tmp_path / "a.png", tmp_path / "a.jpg", out / "a_mask.png"):
        path.write_bytes(b"")
    files, missing = find_images([str(tmp_path), str(tmp_path / "a.png"), "absent*"], out)
    assert [path.name for path, _ in files] == ["a.jpg", "a.png"]
    assert missing == ["absent*"]
    assert [str(name) for name in output_names([*files, *files[:1]])] == ["a", "a_png", "a_jpg"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["absent", "a.png"], "holds no run"),
        (["RUN", "absent.png"], "no images to predict"),
        (["RUN", "a.png", "--tile=60"], "--tile=60"),
        (["RUN", "a.png", "--which=last"], "--which=last"),
        (["RUN", "a.png", "--batch_size=0"], "--batch_size=0"),
        (["RUN", "a_mask.png", "a.png", "--out=."], "is one of the images"),
        (["RUN", ".", "--out=."], "holds the images"),
    ],
)
def test_a_mistake_is_a_line_and_exit_code_2(
    dense_run, pictures, tmp_path, monkeypatch, capsys, arguments, said
):
    for name in ("a.png", "a_mask.png"):
        (tmp_path / name).write_bytes((pictures / "a.png").read_bytes())
    monkeypatch.chdir(tmp_path)
    assert main([str(dense_run) if word == "RUN" else word for word in arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert said in lines[-1]
    assert all(line.startswith("segjax: ") for line in lines)


def test_a_damaged_run_is_refused(dense_run, tmp_path):
    (tmp_path / "config.json").write_text((dense_run / "config.json").read_text())
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_trained(tmp_path)


def test_weights_of_another_depth_are_refused(dense_run, tmp_path):
    text = (dense_run / "config.json").read_text()
    (tmp_path / "config.json").write_text(text.replace('"depth": 2', '"depth": 4'))
    (tmp_path / "checkpoints").symlink_to(dense_run / "checkpoints")
    with pytest.raises(CheckpointError, match=r"do not fit config\.json"):
        load_trained(tmp_path)


def test_settings_that_cannot_work(predictor):
    with pytest.raises(ConfigError, match="--stats"):
        Predictor(predictor.trained, stats="both")
    with pytest.raises(ConfigError, match="--scale"):
        Predictor(predictor.trained, scale="half")


def test_help_needs_no_jax():
    code = (
        "import sys; from segjax.predict.__main__ import main; assert main(['--help']) == 0;"
        "assert not {'jax', 'flax', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
