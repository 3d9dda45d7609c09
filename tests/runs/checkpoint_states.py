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


def make_state(
    seed: int = 0,
    *,
    depth: int = 2,
    width: int = 8,
    dtype: Any = jnp.float32,
    optimizer: optax.GradientTransformation = ADAMW,
    impl: str | None = None,
) -> State:
    rng = np.random.default_rng(seed)

    def draw(like: Any) -> jax.Array:
        return jnp.asarray(rng.uniform(1, 9, like.shape).astype(like.dtype))

    params = {
        f"conv_{layer}": {
            "kernel": draw(np.empty((3, 3, width, width), dtype)),
            "bias": draw(np.empty(width, dtype)),
        }
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
