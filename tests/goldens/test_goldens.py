"""segjax against what DLStudio computed when scripts/parity/goldens.py ran; no PyTorch here.

Both sides compute in float64, so the limit is 1e-9, far above rounding (about 1e-14, amplified to
1e-12 by ten training steps) and far below any change of what is computed.
"""

import jax
import numpy as np
import pytest

from tests.goldens import recipe
from tests.parity import jax_side

LIMIT = 1e-9

# The first has every row of blocks, blocks that run twice and the additions: it notices whatever
# scripts.parity.mutations plants. The others take as long again each.
others = (
    pytest.param(*case, marks=pytest.mark.slow) for case in [(8, False), (4, True), (4, False)]
)
networks = pytest.mark.parametrize(("depth", "skip"), [(8, True), *others])
slow_losses = (pytest.param(loss, marks=pytest.mark.slow) for loss in ("dice", "combo"))


@pytest.fixture(autouse=True)
def _float64():
    # XLA's own convolutions in float64 take minutes where nothing is optimised.
    given = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    with jax_side.precision("float64"):
        yield
    jax.config.update("jax_disable_most_optimizations", given)


def build(depth, skip):
    state = recipe.random_state_dict(depth=depth)
    network = jax_side.Network(state, skip=skip, depth=depth, dtype="float64")
    with np.load(recipe.golden_path(depth=depth, skip=skip)) as stored:
        return network, dict(stored)


def assert_close(found, expected):
    assert found.shape == expected.shape
    assert np.linalg.norm(found - expected) <= LIMIT * np.linalg.norm(expected)


@networks
def test_passes_and_statistics(depth, skip):
    network, golden = build(depth, skip)
    [batch] = recipe.golden_batches(count=1)
    assert_close(network.forward(batch, train=False), golden["evaluation"])
    assert_close(network.forward(batch, train=True), golden["training"])
    state = network.state()
    found = recipe.digest({n: v for n, v in state.items() if ".running_" in n})
    for row, expected in zip(found, golden["statistics"], strict=True):
        assert_close(row, expected)


@pytest.mark.parametrize("loss", ["mse", *slow_losses])
@networks
def test_gradients(depth, skip, loss):
    network, golden = build(depth, skip)
    [batch] = recipe.golden_batches(count=1)
    gradients = network.gradients(batch, loss=loss)
    gradients = {n: v for n, v in gradients.items() if ".running_" not in n}
    found, expected = recipe.digest(gradients), golden[f"gradients_{loss}"]
    norms = dict(zip(sorted(gradients), expected[:, 0], strict=True))
    for name, row, wanted in zip(sorted(gradients), found, expected, strict=True):
        # A bias whose gradient is zero but for rounding is measured by its kernel's gradient.
        kernel = norms.get(name.removesuffix("bias") + "weight", 0.0)
        small = name.endswith("bias") and wanted[0] < LIMIT * kernel
        size = kernel if small else wanted[0]
        assert np.abs(row - wanted).max() <= LIMIT * size, name


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["mse", "dice", "combo"])
@networks
def test_ten_steps(depth, skip, loss):
    network, golden = build(depth, skip)
    losses = network.sgd_steps(recipe.golden_batches(count=recipe.STEPS), loss=loss)
    assert_close(np.array(losses), golden[f"losses_{loss}"])
