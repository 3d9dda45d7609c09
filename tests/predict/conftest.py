"""A predictor and an image for all tests of prediction."""

import pytest

from segjax.data import synthetic
from segjax.predict.predictor import Predictor


@pytest.fixture(scope="session")
def predictor(unet_run):
    return Predictor.load(unet_run)


@pytest.fixture(scope="session")
def image():
    return synthetic(1, seed=5).images[0]
