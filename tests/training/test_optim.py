import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from segjax.config import Config
from segjax.training.optim import make_optimizer, make_schedule, orthogonal

SCHEDULES = ("constant", "cosine", "linear")
PEAK = 0.5


def rates(steps, **settings):
    schedule = make_schedule(Config(learning_rate=PEAK, **settings), steps)
    return np.array([float(schedule(step)) for step in range(steps + 1)])


def tree(seed=0):
    """A kernel, a bias and a scale, as the network's parameters are shaped."""
    rng, shapes = np.random.default_rng(seed), [(4,), (3, 3, 2, 4), (4,)]
    bias, kernel, scale = (jnp.asarray(rng.normal(size=size), jnp.float32) for size in shapes)
    return {"conv": {"bias": bias, "kernel": kernel}, "norm": {"scale": scale}}


def descend(config, gradients, *, total_steps=100, params=None):
    """Apply a list of gradients; return the parameters after each."""
    optimizer = make_optimizer(config, total_steps)
    params = tree() if params is None else params
    state, seen = optimizer.init(params), []
    update = jax.jit(optimizer.update)
    for gradient in gradients:
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        seen.append(params)
    return seen


def test_schedules_go_from_the_peak_to_a_hundredth():
    for schedule, shares, top in (
        ("constant", {0: 1, 50: 1, 100: 1}, 0),
        ("cosine", {0: 1, 50: 0.505, 100: 0.01}, 0),
        ("linear", {0: 1, 25: 0.7525, 50: 0.505, 75: 0.2575, 100: 0.01}, 0),
        ("onecycle", {0: 0.04, 25: 1, 100: 0.01}, 25),
    ):
        values = rates(100, schedule=schedule)
        expected = PEAK * np.array(list(shares.values()))
        np.testing.assert_allclose(values[list(shares)], expected, rtol=1e-5)
        if schedule != "constant":
            assert np.all(np.diff(values[: top + 1]) > 0)
            assert np.all(np.diff(values[top:]) < 0)


def test_warmup_rises_linearly_and_rates_stay_finite_and_positive_in_short_runs():
    for schedule in SCHEDULES:
        for warmup in (2, 10):
            values = rates(100, schedule=schedule, warmup_steps=warmup)
            rise = PEAK * np.array([*range(1, warmup + 1), warmup]) / warmup
            np.testing.assert_allclose(values[: warmup + 1], rise, rtol=1e-5)
            rest = rates(100 - warmup, schedule=schedule)
            np.testing.assert_allclose(values[warmup:], rest, rtol=1e-5)
        last = rates(3, schedule=schedule, warmup_steps=2)[-1]
        assert last == pytest.approx(PEAK if schedule == "constant" else PEAK / 100)
    for steps in (2, 4):
        expected = PEAK * np.array([0.04, 1, 0.01])
        np.testing.assert_allclose(rates(steps, schedule="onecycle")[[0, 1, -1]], expected)
    given = [*itertools.product(SCHEDULES, (0, 1, 7)), ("onecycle", 0)]
    for steps, (schedule, warmup) in itertools.product((1, 2, 5), given):
        values = rates(steps, schedule=schedule, warmup_steps=warmup)
        assert np.all((values > 0) & (values <= PEAK * 1.00001)), (steps, schedule, warmup)


@pytest.mark.parametrize(
    ("config", "rate", "decay"),
    [(Config(), 1e-4, 0), (Config(learning_rate=0.1, weight_decay=0.01), 0.1, 0.01)],
    ids=["dlstudio", "decay"],
)
def test_sgd_is_pytorchs_formula(config, rate, decay):
    gradients = [tree(seed) for seed in (1, 2, 3)]
    weights = jax.tree.map(np.float64, tree())
    velocity = optax.tree.zeros_like(weights)
    for gradient, got in zip(gradients, descend(config, gradients), strict=True):
        # torch.optim.SGD: g = g + decay * w;  v = momentum * v + g;  w = w - rate * v
        velocity = jax.tree.map(
            lambda v, g, w: 0.9 * v + np.float64(g) + decay * w * (w.ndim > 1),
            *(velocity, gradient, weights),
        )
        weights = jax.tree.map(lambda w, v: w - rate * v, weights, velocity)
        chex.assert_trees_all_close(got, jax.tree.map(np.float32, weights), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lamb", "lion", "muon"])
def test_weight_decay_shrinks_kernels_and_nothing_else(optimizer):
    config = Config(optimizer=optimizer, learning_rate=0.1, weight_decay=0.2)
    before = tree()
    (after,) = descend(config, [optax.tree.zeros_like(before)])
    kernel = before["conv"]["kernel"]
    assert np.all(np.abs(after["conv"]["kernel"]) < np.abs(kernel))
    if optimizer in ("adamw", "lion", "muon"):  # decoupled: rate times decay
        np.testing.assert_allclose(after["conv"]["kernel"], 0.98 * kernel, rtol=1e-5)
    np.testing.assert_array_equal(after["conv"]["bias"], before["conv"]["bias"])
    np.testing.assert_array_equal(after["norm"]["scale"], before["norm"]["scale"])


def test_clipping_bounds_the_global_norm_and_leaves_smaller_gradients():
    config = Config(learning_rate=1.0, momentum=0.0, clip_norm=2.0)
    gradient = tree(1)
    norm = float(optax.tree.norm(gradient))
    assert norm > 2
    for given, factor in ((gradient, 2 / norm), (optax.tree.scale(1 / norm, gradient), 1.0)):
        (after,) = descend(config, [given])
        moved, expected = optax.tree.sub(tree(), after), optax.tree.scale(factor, given)
        chex.assert_trees_all_close(moved, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "lamb", "lion", "muon", "rmsprop"])
def test_accumulation_equals_the_big_batch_and_a_quadratic_is_lowered_at_the_rate_given(optimizer):
    usual = Config(optimizer=optimizer, schedule="cosine")
    config = usual.replace(learning_rate=0.01, clip_norm=1.0, warmup_steps=1)
    parts = [tree(seed) for seed in range(1, 7)]
    means = [jax.tree.map(lambda *leaves: sum(leaves) / 3, *parts[at : at + 3]) for at in (0, 3)]
    small = descend(config.replace(accumulate_steps=3), parts, total_steps=6)
    large = descend(config, means, total_steps=2)
    for still, before in ((small[0], tree()), (small[1], tree()), (small[3], small[2])):
        chex.assert_trees_all_equal(still, before)
    for index in (0, 1):
        chex.assert_trees_all_close(small[3 * index + 2], large[index], rtol=1e-4, atol=1e-5)
    target, params = tree(5), tree()
    descent = make_optimizer(usual.replace(learning_rate=0.1), 150)
    assert not isinstance(descent.init(params), optax.MultiStepsState)  # whose arrays are others

    def loss(params):
        return 0.5 * optax.tree.norm(optax.tree.sub(params, target), squared=True)

    @jax.jit
    def step(carry, _):
        params, state = carry
        updates, state = descent.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    (after, _), _ = jax.lax.scan(step, (params, descent.init(params)), length=150)
    assert float(loss(after)) < 0.05 * float(loss(params))
    # Half the peak moves half as far on the first step: no optimizer ignores the rate.
    full, half = (
        optax.tree.sub(descend(usual.replace(learning_rate=rate), [tree(1)])[0], tree())
        for rate in (0.01, 0.005)
    )
    chex.assert_trees_all_close(full, optax.tree.scale(2, half), rtol=1e-3, atol=1e-6)


def test_muon_turns_kernels_into_orthogonal_steps_as_long_as_adamws():
    def pair(seed):
        # A matrix is a kernel too.
        flat = {"kernel": tree(seed + 2)["conv"]["kernel"].reshape(18, 4)}
        return {"conv": tree(seed)["conv"], "flat": flat, "conv_out": tree(seed + 1)["conv"]}

    params, gradient = pair(0), pair(2)
    config = Config(optimizer="muon", learning_rate=0.1)
    (after,) = descend(config, [gradient], params=params)
    step = optax.tree.sub(params, after)
    for layer in ("conv", "flat"):
        matrix = np.asarray(step[layer]["kernel"]).reshape(-1, 4)
        # Newton-Schulz in five steps brings all singular values into 0.5 to 1.5 or so.
        lengths = np.linalg.svd(matrix, compute_uv=False) / (0.1 * 0.2 * np.sqrt(len(matrix)))
        assert 0.5 < lengths.min() <= lengths.max() < 1.5
        x = np.asarray(gradient[layer]["kernel"], np.float64).reshape(-1, 4)
        # Along the gradient: the same singular vectors, so the product is positive definite.
        assert np.linalg.eigvalsh(matrix.T @ x + x.T @ matrix).min() > 0
        x /= np.linalg.norm(x)
        for _ in range(5):
            x = 3.4445 * x - 4.7750 * x @ (x.T @ x) + 2.0315 * x @ (x.T @ x) @ (x.T @ x)
        np.testing.assert_allclose(matrix, 0.1 * 0.2 * np.sqrt(len(x)) * x, rtol=1e-4, atol=1e-6)
        for wide in (x.T, x * 0, np.outer(x[:, 0], [1.0, 1e-4, 0, 0])):  # also of lower rank
            lengths = np.linalg.svd(orthogonal(np.float32(wide)), compute_uv=False)
            assert lengths.max() < 1.5
    # The output layer and all that is no kernel take Adam's first step: the rate, by sign.
    for adams in (*step["conv_out"].values(), step["conv"]["bias"]):
        assert np.abs(adams).max() / np.abs(adams).min() < 1.01
