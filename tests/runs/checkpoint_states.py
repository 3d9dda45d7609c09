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


def make_state(seed: int = 0, *, depth: int = 2, width: int = 8, dtype: Any = jnp.float32) -> State:
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> jax.Array:
        return jnp.asarray(rng.standard_normal(shape), dtype)

    params = {
        f"conv_{layer}": {"kernel": draw(3, 3, width, width), "bias": draw(width)}
        for layer in range(depth)
    }
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))
    opt_state = optimizer.init(params)
    for _ in range(2):
        _, opt_state = optimizer.update(params, opt_state, params)
    return State(
        params=params,
        batch_stats={"bn": {"mean": draw(width).astype(jnp.float32), "count": jnp.int32(7)}},
        opt_state=opt_state,
        step=jnp.asarray(seed, jnp.int32),
        key=jax.random.key(seed),
    )


def bits(tree: Any) -> list[tuple[str, tuple[int, ...], bytes]]:
    """Dtype, shape and bytes of every leaf: equal only if bitwise equal."""

    def one(leaf: Any) -> tuple[str, tuple[int, ...], bytes]:
        dtype = str(getattr(leaf, "dtype", type(leaf).__name__))
        if dtype.startswith("key<"):
            leaf = jax.random.key_data(leaf)
        value = np.asarray(leaf)
        return dtype, value.shape, value.tobytes()

    return [one(leaf) for leaf in jax.tree.leaves(tree)]


def assert_same(one: Any, two: Any) -> None:
    assert jax.tree.structure(one) == jax.tree.structure(two)
    assert bits(one) == bits(two)
