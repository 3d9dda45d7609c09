"""Prediction in Python: the network that was tested, images of any size."""

import numpy as np
import pytest

import segjax
from segjax.errors import ConfigError, DataError
from segjax.predict.predictor import Predictor
from segjax.predict.tiling import make_grid
from segjax.predict.trained import load_trained
from segjax.training.evaluate import make_predict


def test_three_lines_of_python_and_many_images(unet_run, image):
    predictor = segjax.Predictor.load(unet_run)
    prediction = predictor(image)
    assert prediction.labels.shape == image.shape[:2]
    assert prediction.scores.shape == (*image.shape[:2], 5)
    assert prediction.class_names == ("rectangle", "triangle", "disk", "oval", "star")
    np.testing.assert_array_equal(prediction.masks, prediction.scores > 0.5)
    # An image's prediction does not depend on its company.
    crops = {name: image[:side, :side] for name, side in (("a", 24), ("b", 33), ("c", 21))}
    together = dict(predictor.predict_each(crops.items()))
    for name, crop in crops.items():
        alone = predictor(crop)
        np.testing.assert_allclose(together[name].scores, alone.scores, atol=1e-5)
        assert alone.labels.shape == crop.shape[:2]


@pytest.mark.parametrize("run", ["unet_run", "faithful_run"])
def test_it_is_what_the_test_pass_computes(run, image, request):
    trained = load_trained(request.getfixturevalue(run))
    predict = make_predict(trained.model, trained.objective, stats="running")
    values = np.asarray(predict(dict(trained.variables), image[None]))[0]
    scale = np.array(trained.objective.class_values, np.float32)
    found = Predictor(trained)(image)
    np.testing.assert_allclose(found.scores * scale, values, rtol=1e-5, atol=1e-4)


def test_a_large_image_in_tiles_is_close_to_the_whole(predictor, image):
    assert len(make_grid(image.shape[:2], tile=48, overlap=16).corners) == 4
    in_tiles, whole = Predictor(predictor.trained, tile=48, overlap=16)(image), predictor(image)
    assert in_tiles.labels.shape == whole.labels.shape
    # A tile's middle sees what the whole image shows there; only its border is guessed.
    assert np.abs(in_tiles.scores - whole.scores).mean() < 0.1 * whole.scores.std() + 0.01


def test_what_cannot_work_is_refused(predictor, tmp_path):
    for image, message in (
        (np.zeros((8, 8, 3), np.float32), "dtype float32"),
        (np.zeros((8, 8, 4), np.uint8), "shape"),
        (tmp_path / "absent.png", r"absent\.png"),
    ):
        with pytest.raises(DataError, match=message):
            predictor(image)
    for name, value in (("stats", "both"), ("scale", "half")):
        with pytest.raises(ConfigError, match=f"--{name}={value}: choose"):
            Predictor(predictor.trained, **{name: value})
