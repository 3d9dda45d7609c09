"""Four simulated CPU devices, and programs that compile quickly, once."""

import atexit
import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tests import annotations

flags = os.environ.get("XLA_FLAGS", "")
os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count=4"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Compiling is most of the work, and half of that is LLVM making code fast that runs a few times.
# The comparisons with DLStudio in .ci/run have it all: JAX_DISABLE_MOST_OPTIMIZATIONS=0.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # Many tests, some in processes of their own, run the same few programs; compiling them is
    # most of the work. The folder is this run's alone and goes with it.
    _compiled = tempfile.mkdtemp(prefix="segjax-tests-")
    atexit.register(shutil.rmtree, _compiled, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"

annotations.check("segjax.losses", "segjax.metrics")  # brings in jax, which reads all of these

# Rooms, or files of them, that may combine arrays of two dtypes or ranks without saying so.
LENIENT = (
    # optax does it, in adam, in schedules and where gradients are gathered
    *("training/test_knobs", "training/test_optim", "training/test_step", "training/test_vmapped"),
    *("docs", "scripts"),
    # the libraries that segjax is compared with do it
    *("goldens", "oracles", "parity"),
)


def pytest_collection_modifyitems(items):
    """Let what takes longest go first, so that no worker is left with it in the end."""
    items.sort(key=lambda i: i.path.parent.name not in ("training", "runs", "goldens", "networks"))


@contextlib.contextmanager
def promotion_is(dtypes, ranks):
    import jax

    with jax.numpy_dtype_promotion(dtypes), jax.numpy_rank_promotion(ranks):
        yield


@pytest.fixture(scope="module", autouse=True)
def promotion(request):
    """Make it an error to combine arrays of two dtypes, or of two ranks, without saying so."""
    name = request.path.relative_to(Path(__file__).parent).as_posix()
    with promotion_is(*["standard", "allow"] if name.startswith(LENIENT) else ["strict", "raise"]):
        yield


@pytest.fixture(scope="module")
def no_figures():
    """Let runs end without drawing, which would take most of the time of a small one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("segjax.training.results.draw_figures", lambda *given: None)
        yield


@pytest.fixture(scope="session")
def scenes():
    from segjax.data import synthetic

    return synthetic(8, seed=7)


@pytest.fixture(scope="session")
def batch(scenes):
    """Eight 32x32 cut-outs: the same network, a quarter of the work."""
    middle = np.s_[:, 16:48, 16:48]
    return {"images": scenes.images[middle].copy(), "masks": scenes.masks[middle].copy()}


@pytest.fixture(scope="session")
def objective():
    from tests.small_net import objective_of

    return objective_of("mse")


@pytest.fixture
def tiny(tmp_path):
    """The real settings, shrunk: same code, seconds."""
    from tests.small_net import small_run

    return small_run(tmp_path / "run")


def _trained(tmp_path_factory, name, **settings):
    """Train a tiny run, if no other worker has by now; none writes into it."""
    folder, base = tmp_path_factory.mktemp("runs") / name, tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    if shared.exists():
        return shared
    from segjax.training.run import run
    from tests.small_net import silent, small_run

    tiny = {"synthetic_train": 4, "synthetic_test": 2, "val_images": 0, "batch_size": 2}
    config = small_run(folder, **tiny, epochs=1, log_steps=1).replace(**settings)
    with promotion_is("standard", "allow"), pytest.MonkeyPatch.context() as patch:
        # Nobody looks at these runs' figures, which take longer than the training.
        patch.setattr("segjax.training.results.draw_figures", lambda *given: None)
        run(config, say=silent)
    with contextlib.suppress(OSError):  # another was quicker
        folder.rename(shared)
    return shared


@pytest.fixture(scope="session")
def unet_run(tmp_path_factory):
    """A run of the small network, which compiles in a moment; predicts with averaged weights."""
    settings = {"unet_widths": "4,8", "loss": "bce", "input_range": "unit", "ema_decay": 0.9}
    return _trained(tmp_path_factory, "unet", **settings)


@pytest.fixture(scope="session")
def exclusive_run(tmp_path_factory):
    """A run whose classes exclude each other, with weights from its images."""
    settings = {"unet_widths": "4,8", "loss": "ce", "loss_params": {"loss_class_weights": "median"}}
    return _trained(tmp_path_factory, "exclusive", **settings)


@pytest.fixture(scope="session")
def faithful_run(tmp_path_factory):
    """A run of DLStudio's network with all its quirks, as shallow as it goes."""
    from tests.small_net import MUNET

    return _trained(tmp_path_factory, "faithful", **MUNET)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Three pictures of two sizes, one in a folder below, and one that is damaged."""
    from PIL import Image

    from segjax.data import synthetic

    folder = tmp_path_factory.mktemp("pictures")
    images = synthetic(3, seed=3).images
    (folder / "more").mkdir()
    Image.fromarray(images[0]).save(folder / "a.png")
    Image.fromarray(images[1][:45, :37]).save(folder / "b.jpg")
    Image.fromarray(images[2][:20]).save(folder / "more" / "a.png")
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:200])
    return folder
