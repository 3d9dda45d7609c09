"""What segjax asks of a backend's compiler."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

# XLA:CPU sends convolutions and products to YNNPACK by default, which runs those with 64 channels
# on one core; Eigen runs them on all. Reductions it does well.
CPU_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE"}


def jit(function: Any, **settings: Any) -> Any:
    """Return ``jax.jit(function, **settings)`` with the compiler options of the default backend."""
    return jax.jit(function, compiler_options=compiler_options(), **settings)


@functools.cache
def compiler_options() -> dict[str, str] | None:
    """Return the options for the default backend, or None; options it does not know are left out.

    Options come and go with XLA's releases, so a tiny program is compiled to see.
    """
    if jax.default_backend() != "cpu":
        return None
    try:
        jax.jit(jnp.negative, compiler_options=CPU_OPTIONS).lower(jnp.zeros(())).compile()
    except Exception:  # XLA's error types are not public
        return None
    return CPU_OPTIONS
