"""Many runs in one program: each is its run alone."""

import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.config import Config
from segjax.errors import ConfigError
from segjax.training.augment import make_augment
from segjax.training.optim import make_optimizer
from segjax.training.step import init_state, make_train_step, take_batch
from segjax.training.vmapped import Member, make_many_step, member_state, stack_states, train_many
from tests.small_net import SmallNet, objective_of

MODEL = SmallNet()
STEPS = 12
BATCH = 2
SGD = {"optimizer": "sgd", "schedule": "onecycle", "accumulate_steps": 2}
RMSPROP = {"optimizer": "rmsprop", "accumulate_steps": 2, "warmup_steps": 3}
ADAMW = {"optimizer": "adamw", "weight_decay": 0.01, "clip_norm": 1.0}


@pytest.fixture
def arrays(batch):
    return jax.tree.map(jnp.asarray, batch)


def orders(seeds):
    """Rows [K, R, B], other ones for each run."""
    draws = [np.random.default_rng(seed).integers(0, 8, (STEPS, BATCH)) for seed in seeds]
    return np.stack(draws, axis=1).astype(np.int32)


@pytest.mark.parametrize(
    ("settings", "losses", "augment"),
    [
        (SGD, ("mse", "bce"), "flip,noise"),
        pytest.param(ADAMW, ("bce", "dice_prob"), "", marks=pytest.mark.slow),
        pytest.param(RMSPROP, ("bce",), "", marks=pytest.mark.slow),
    ],
    ids=["sgd", "adamw", "rmsprop"],
)
def test_each_of_many_equals_its_run_alone(arrays, settings, losses, augment):
    """Losses x seeds, each run with its own learning rate."""
    config, augment = Config(**settings), make_augment(augment)
    runs = list(itertools.product((objective_of(loss, targets="unit") for loss in losses), (3, 4)))
    rates = [1e-3 * (1 + index) for index in range(len(runs))]

    def optimizer_of(rate):
        return make_optimizer(config, STEPS, learning_rate=rate)

    def first(seed):
        shape = arrays["images"].shape[1:]
        return init_state(MODEL, optimizer_of(1.0), seed=seed, image_shape=shape, ema=True)

    seeds = [seed for _, seed in runs]
    members = [Member(run[0], rate) for run, rate in zip(runs, rates, strict=True)]
    how = {"model": MODEL, "optimizer_of": optimizer_of, "augment": augment, "ema_decay": 0.9}
    states = stack_states([first(seed) for seed in seeds])
    together, seen = train_many(states, arrays, orders(seeds), members=members, **how)
    assert seen.shape == (STEPS, len(runs))

    @functools.partial(jax.jit, static_argnames="objective")
    def alone(objective, rate, state, rows):
        step = make_train_step(MODEL, optimizer_of(rate), objective, augment=augment, ema_decay=0.9)
        return step(state, take_batch(arrays, rows))

    for index, ((objective, seed), rate) in enumerate(zip(runs, rates, strict=True)):
        state, losses_alone = first(seed), []
        for rows in orders([seed])[:, 0]:
            state, loss = alone(objective, rate, state, rows)
            losses_alone.append(loss)
        np.testing.assert_allclose(seen[:, index], losses_alone, rtol=1e-5)
        mine = member_state(together, index)
        assert jax.tree.structure(mine) == jax.tree.structure(state)
        assert int(mine.step) == STEPS
        np.testing.assert_array_equal(jax.random.key_data(mine.key), jax.random.key_data(state.key))
        parts = ((one.params, one.batch_stats, one.ema) for one in (mine, state))
        chex.assert_trees_all_close(*parts, rtol=1e-4, atol=1e-5)
    # The runs are not one run four times.
    assert len({float(loss) for loss in seen[-1]}) == len(runs)


def test_what_cannot_go_together_is_refused(arrays):
    members = [Member(objective_of("bce"), 1.0), Member(objective_of("ce"), 1.0)]
    for given, said in ((members, "'bce': 5, 'ce': 6"), ([], "same network outputs")):
        with pytest.raises(ConfigError, match=said):
            make_many_step(MODEL, lambda rate: make_optimizer(Config(), 1), given)
    given = {"model": MODEL, "optimizer_of": lambda rate: None, "members": members[:1] * 2}
    with pytest.raises(ConfigError, match=r"\[12, 1, 2\]: 2 runs need \[K, 2, B\]"):
        train_many(None, arrays, orders([0]), **given)
