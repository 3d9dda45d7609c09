"""Compiler options that change no number, and memory that is used again."""

import platform
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.networks.conv import conv
from segjax.training import backend
from segjax.training.backend import compiler_options, jit


def test_jit_gives_the_same_numbers_with_its_compiler_options():
    rng = np.random.default_rng(1)
    x, kernel = (
        rng.standard_normal(shape).astype(np.float32) for shape in [(4, 16, 16, 8), (3, 3, 8, 8)]
    )
    plain = jax.jit(conv)(x, kernel)
    scale = float(jnp.abs(plain).max())
    np.testing.assert_allclose(jit(conv)(x, kernel), plain, rtol=0, atol=1e-5 * scale)


def test_unknown_compiler_options_are_left_out(monkeypatch):
    monkeypatch.setattr(backend, "CPU_OPTIONS", {"xla_cpu_no_such_option": "1"})
    compiler_options.cache_clear()
    try:
        assert compiler_options() is None
        assert jit(jnp.sin)(jnp.zeros(())) == 0
    finally:
        compiler_options.cache_clear()


MEMORY = """
import resource, sys
from segjax.training import backend
prepared = backend.prepare() if "prepared" in sys.argv else None
import jax, jax.numpy as jnp

# The product between is 42 MiB: above the 32 MiB up to which glibc learns to keep blocks by itself,
# below the 64 MiB that fit into the memory of a thread other than the first.
def work(x):
    return ((x @ x.T) @ x).sum()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    compiled(x).block_until_ready()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

x = jnp.ones((3328, 8))
compiled = jax.jit(work).lower(x).compile()
# Any of several threads may do the work, each with memory of its own: the best of many turns.
print(prepared, min(faults() for _ in range(20)))
"""


def faults(*arguments):
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, *arguments], check=True, capture_output=True, text=True
    )
    prepared, count = done.stdout.split()
    return prepared, int(count)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_prepared_programs_reuse_their_memory():
    _, afresh = faults()
    prepared, reused = faults("prepared")
    assert prepared == "True"
    assert reused < afresh / 10
