"""A few scenes and the smallest network, shared by the tests of the training core."""

import numpy as np
import pytest

from segjax.config import Config
from segjax.data import synthetic
from segjax.purdue import PURDUE_SHAPES_LABELS
from segjax.training.objective import make_objective


@pytest.fixture(scope="session")
def scenes():
    return synthetic(8, seed=7)


@pytest.fixture(scope="session")
def batch(scenes):
    """Eight 32x32 cut-outs: the same network, a quarter of the work."""
    middle = np.s_[:, 16:48, 16:48]
    return {"images": scenes.images[middle].copy(), "masks": scenes.masks[middle].copy()}


@pytest.fixture
def objective():
    return make_objective("mse", class_values=tuple(PURDUE_SHAPES_LABELS.values()))


@pytest.fixture
def tiny(tmp_path):
    """The real settings, shrunk: same code, seconds."""
    return Config(
        data="synthetic",
        synthetic_train=26,
        synthetic_test=10,
        val_images=6,
        depth=2,
        head="dense",
        epochs=2,
        log_steps=2,
        progress="off",
        run_dir=str(tmp_path / "run"),
    )
