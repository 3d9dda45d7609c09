"""Two tiny trained runs, shared by the tests of what comes after training."""

import pytest
from PIL import Image

from segjax.config import Config
from segjax.data import synthetic
from segjax.training.run import run


def train(folder, **settings):
    config = Config(
        data="synthetic",
        synthetic_train=4,
        synthetic_test=2,
        depth=2,
        epochs=1,
        log_steps=1,
        batch_size=2,
        progress="off",
        run_dir=str(folder),
    ).replace(**settings)
    run(config, say=lambda _: None)
    return folder


@pytest.fixture(scope="session")
def dense_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "dense"
    return train(folder, head="dense", loss="bce", input_range="unit", ema_decay=0.9)


@pytest.fixture(scope="session")
def unet_run(tmp_path_factory):
    settings = {"network": "unet", "unet_widths": "4,8", "unet_patch": 4, "depth": Config.depth}
    folder = tmp_path_factory.mktemp("runs") / "unet"
    return train(folder, head="dense", loss="bce", input_range="unit", **settings)


@pytest.fixture(scope="session")
def faithful_run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "faithful")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Three pictures of two sizes, one in a folder below, and one that is damaged."""
    folder = tmp_path_factory.mktemp("pictures")
    images = synthetic(3, seed=3).images
    (folder / "more").mkdir()
    Image.fromarray(images[0]).save(folder / "a.png")
    Image.fromarray(images[1][:45, :37]).save(folder / "b.jpg")
    Image.fromarray(images[2][:20]).save(folder / "more" / "a.png")
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:200])
    return folder
