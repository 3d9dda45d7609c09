"""What segjax asks of the backend: compiler options, and memory that stays."""

import ctypes
import functools
from typing import Any

import jax
import jax.numpy as jnp

# XLA:CPU sends convolutions and products to YNNPACK by default, which runs those with 64 channels
# on one core; Eigen runs them on all. Reductions it does well.
CPU_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE"}

# glibc's mallopt: how many blocks may lie outside the heap, each mapped by itself, and from which
# size on the heap's free end goes back to the system (-1: never).
M_MMAP_MAX, M_TRIM_THRESHOLD = -4, -1


def prepare() -> None:
    """Make XLA:CPU start programs on the thread that calls them, as `keep_memory` needs it.

    Call it before anything else uses JAX. Changes nothing on a GPU.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)


def keep_memory() -> bool:
    """Make XLA:CPU reuse its memory from step to step; call it when the data is loaded.

    A training step's temporary memory is one block. By default the system maps it afresh for every
    step and fills it with zeros page by page, a tenth of a step's time. glibc keeps large blocks
    only in the main thread's heap, where arrays no longer grow in place. Processes keep the memory
    of their largest step. Returns False where the C library has no such setting.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return False
    return mallopt(M_MMAP_MAX, 0) == mallopt(M_TRIM_THRESHOLD, -1) == 1


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
