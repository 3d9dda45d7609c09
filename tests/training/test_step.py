"""The training step: pure, traced once, moves every weight, and learns."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from segjax.config import Config
from segjax.networks.munet import MUnet
from segjax.networks.unet import UNet
from segjax.training import step as train
from segjax.training.optim import make_optimizer
from segjax.training.step import init_state, make_steps, make_train_step, take_batch
from tests.small_net import SmallNet, objective_of

MODEL = SmallNet()
OPTIMIZER = optax.sgd(1e-4, momentum=0.9)


@pytest.fixture(scope="module")
def arrays(batch):
    return jax.tree.map(jnp.asarray, batch)


def test_the_step_is_the_textbook_one_and_moves_everything(batch, objective):
    """Loss, gradient and momentum, computed here by hand from the network's outputs."""
    # The same seed draws the same weights, another does not.
    state, again, other = (init_state(MODEL, OPTIMIZER, seed=seed) for seed in (0, 0, 1))
    chex.assert_trees_all_equal(again.params, state.params)
    with pytest.raises(AssertionError):
        chex.assert_trees_all_equal(other.params, state.params)
    first, second = (jax.random.fold_in(jax.random.key(0), number) for number in (0, 1))
    drawn = MODEL.lazy_init(first, jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.uint8), train=False)
    chex.assert_trees_all_equal(state.params, drawn["params"])
    assert state.key == second
    assert state.ema is None

    def loss_of(params):
        variables = {"params": params, "batch_stats": state.batch_stats}
        outputs, _ = MODEL.apply(variables, batch["images"], train=True, mutable=["batch_stats"])
        return jnp.mean((outputs - batch["masks"].astype(jnp.float32)) ** 2)

    loss, grads = jax.jit(jax.value_and_grad(loss_of))(state.params)
    after, step_loss = jax.jit(make_train_step(MODEL, OPTIMIZER, objective))(state, batch)
    assert (step_loss.shape, step_loss.dtype, int(after.step)) == ((), jnp.float32, 1)
    np.testing.assert_allclose(step_loss, loss, rtol=1e-6)
    expected = jax.tree.map(lambda p, g: p - 1e-4 * g, state.params, grads)
    chex.assert_trees_all_close(after.params, expected, rtol=1e-5, atol=1e-7)
    for part in ("params", "batch_stats"):
        same = jax.tree.map(jnp.array_equal, getattr(state, part), getattr(after, part))
        named = jax.tree_util.tree_leaves_with_path(same)
        still = [jax.tree_util.keystr(path) for path, alike in named if alike]
        # A bias that a batch norm takes out again has no gradient but rounding.
        assert not [name for name in still if "'bias'" not in name or "'bn" in name]


@pytest.mark.parametrize(
    "model",
    [
        UNet(widths=(8, 16), patch=2, input_scale=1 / 255),
        pytest.param(MUnet(depth=2, head="dense", input_scale=1 / 255), marks=pytest.mark.slow),
    ],
    ids=["unet", "munet"],
)
def test_loss_falls_on_eight_images(arrays, model):
    objective = objective_of("mse", targets="unit")
    optimizer = optax.adam(3e-3)
    chex.clear_trace_counter()
    step = chex.assert_max_traces(make_train_step(model, optimizer, objective), n=1)
    steps = make_steps(step, scan=False)
    rows = np.tile(np.arange(8, dtype=np.int32), (25, 1))
    state, losses = steps(init_state(model, optimizer, seed=0), arrays, rows)
    losses = np.concatenate(losses)
    assert losses[-1] < 0.5 * losses[0]
    # Traced once over many steps.
    state, _ = steps(state, arrays, rows[:2, ::-1])
    assert int(state.step) == 27


def test_scanned_steps_equal_single_ones(arrays, objective, monkeypatch):
    monkeypatch.setattr(train, "SCAN_STEPS", 3)
    rows = np.random.default_rng(0).integers(0, 8, (7, 2)).astype(np.int32)
    train_step = make_train_step(MODEL, OPTIMIZER, objective)
    (one_by_one, losses), (scanned, scanned_losses) = (
        make_steps(train_step, scan=scan)(init_state(MODEL, OPTIMIZER, seed=0), arrays, rows)
        for scan in (False, True)
    )
    assert (len(losses), len(scanned_losses)) == (7, 3)
    np.testing.assert_allclose(np.concatenate(losses), np.concatenate(scanned_losses), rtol=1e-4)
    assert int(scanned.step) == int(one_by_one.step) == 7
    taken = take_batch(arrays, jnp.array([3, 0], jnp.int32))
    for name, array in arrays.items():
        np.testing.assert_array_equal(taken[name], array[np.array([3, 0])])


def test_pixels_that_are_not_valid_do_not_matter_and_an_average_follows(batch, objective):
    step = jax.jit(make_train_step(MODEL, OPTIMIZER, objective, ema_decay=0.2))
    state = init_state(MODEL, OPTIMIZER, seed=0, ema=True)
    valid = np.ones(batch["masks"].shape[:3], bool)
    valid[:, :10] = False
    spoiled = batch["masks"].copy()
    spoiled[:, :10] = 250
    (_, one), (_, other), (_, everything) = (
        step(state, {**batch, **changed})
        for changed in ({"valid": valid}, {"masks": spoiled, "valid": valid}, {})
    )
    assert float(one) == float(other) != float(everything)
    for decay in (1 / 10, 2 / 11, 0.2):  # (1 + n) / (10 + n) after n steps, at most ema_decay
        after, _ = step(state, batch)
        each = jax.tree.map(lambda a, b, d=decay: d * a + (1 - d) * b, state.ema, after.params)
        chex.assert_trees_all_close(after.ema, each, rtol=1e-6, atol=1e-8)
        state = after
    assert after.variables()["params"] is after.ema


class Convolutions(nn.Module):
    """A network without batch norm: no image's output depends on the other images."""

    @nn.compact
    def __call__(self, images, *, train):
        hidden = nn.relu(nn.Conv(8, (3, 3))(images / 255.0))
        return nn.Conv(5, (3, 3))(hidden)


def accumulated(model, objective, batch, size, *, every):
    """The state after, and the losses of, steps of ``size`` images, of which not all update."""
    config = Config(optimizer="adamw", learning_rate=1e-3, clip_norm=0.1, accumulate_steps=every)
    count = len(batch["images"])
    optimizer = make_optimizer(config, count // size)
    step, losses = jax.jit(make_train_step(model, optimizer, objective)), []
    state = init_state(model, optimizer, seed=0, image_shape=batch["images"].shape[1:])
    for at in range(0, count, size):
        state, loss = step(state, {name: array[at : at + size] for name, array in batch.items()})
        losses.append(float(loss))
    return state, losses


def test_accumulated_gradients_are_those_of_the_large_batch(batch):
    """Without batch norm, for a loss that is a mean over images: same updates, same mean loss.

    Equal but for rounding: the two sum the same numbers in another order.
    """
    (large, large_losses), (small, small_losses) = (
        accumulated(Convolutions(), objective_of("bce"), batch, size, every=every)
        for size, every in ((4, 1), (2, 2))
    )
    chex.assert_trees_all_close(small.params, large.params, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.reshape(small_losses, (2, 2)).mean(1), large_losses, rtol=1e-5)
    # The tolerance is far below what the updates did.
    start = init_state(Convolutions(), optax.sgd(0.0), seed=0, image_shape=(32, 32, 3)).params
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), large.params, start)
    assert min(jax.tree.leaves(moved)) > 1e-3


def test_accumulation_is_not_the_large_batch_where_images_meet(batch):
    """In batch norm, and in a Dice that is summed over the batch, as docs/training.md says."""
    dice = objective_of("combo", parameters={"dice_scale": 400.0}, targets="unit")
    _, large = accumulated(Convolutions(), dice, batch, 4, every=1)
    _, small = accumulated(Convolutions(), dice, batch, 2, every=2)
    assert np.mean(small[:2]) != pytest.approx(large[0], rel=1e-5)
    bce = objective_of("bce")
    two, four = ({name: array[:count] for name, array in batch.items()} for count in (2, 4))
    _, large = accumulated(MODEL, bce, four, 4, every=1)
    state, small = accumulated(MODEL, bce, four, 2, every=2)
    assert np.mean(small) != pytest.approx(large[0], rel=1e-5)
    # The running statistics see every small batch, also those without an update.
    first, _ = accumulated(MODEL, bce, two, 2, every=2)
    start = init_state(MODEL, OPTIMIZER, seed=0)
    chex.assert_trees_all_equal(first.params, start.params)
    seen = [jax.tree.leaves(one.batch_stats) for one in (start, first, state)]
    for before, once, twice in zip(*seen, strict=True):
        assert np.any(before != once)
        assert np.any(once != twice)


def test_augmentation_draws_anew_each_step_and_the_same_again(batch, objective):
    def augment(key, batch):
        noise = jax.random.randint(key, batch["images"].shape, 0, 50, jnp.uint8)
        return {**batch, "images": batch["images"] // 2 + noise}

    step = jax.jit(make_train_step(MODEL, optax.sgd(0.0), objective, augment=augment))
    start = init_state(MODEL, optax.sgd(0.0), seed=0)
    (state, first), (_, again) = step(start, batch), step(start, batch)
    assert float(first) == float(again) != float(step(state, batch)[1])
