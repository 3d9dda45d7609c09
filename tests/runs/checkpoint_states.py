"""Small states that have everything a training state has."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax


class State(NamedTuple):
    """Stands in for a training state: a pytree of named fields."""

    params: Any
    batch_stats: Any
    opt_state: Any
    step: Any
    key: Any


META = {"epoch": 2, "place": 1500, "loss_sums": [0.1, 1e-300, -0.0], "config": {"depth": 16}}
ADAMW = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))


def make_state(seed=0, *, depth=2, width=8, dtype=jnp.float32, optimizer=ADAMW, impl=None):
    rng = np.random.default_rng(seed)

    def draw(like):
        return jnp.asarray(rng.uniform(1, 9, like.shape).astype(like.dtype))

    shapes = {"kernel": (3, 3, width, width), "bias": (width,)}
    params = {
        f"conv_{layer}": {name: draw(np.empty(shape, dtype)) for name, shape in shapes.items()}
        for layer in range(depth)
    }
    return State(
        params=params,
        batch_stats={"bn": {"mean": draw(np.empty(width, np.float32)), "count": jnp.int32(7)}},
        # Drawn, since real updates would have to be compiled.
        opt_state=jax.tree.map(draw, jax.eval_shape(optimizer.init, params)),
        step=jnp.asarray(seed, jnp.int32),
        key=jax.random.key(seed, impl=impl),
    )


def bits(tree):
    """Dtype, shape and bytes of every leaf: equal only if bitwise equal."""

    def one(leaf):
        dtype = str(getattr(leaf, "dtype", type(leaf).__name__))
        if dtype.startswith("key<"):
            leaf = jax.random.key_data(leaf)
        return dtype, np.shape(leaf), np.asarray(leaf).tobytes()

    return [one(leaf) for leaf in jax.tree.leaves(tree)]


def assert_same(one, two):
    assert jax.tree.structure(one) == jax.tree.structure(two)
    assert bits(one) == bits(two)


def flip_a_bit(path):
    """Only a full read finds it, as the file has the right size; the next saves know of it."""
    data = max(path.rglob("d/*"), key=lambda p: p.stat().st_size)
    data.write_bytes(bytes([data.read_bytes()[0] ^ 1]) + data.read_bytes()[1:])
