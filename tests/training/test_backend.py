"""Compiler options that change no number, memory that is used again, and --cache_dir."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.networks.conv import conv
from segjax.training import backend
from segjax.training.backend import jit
from tests.small_net import SMALL


def test_jit_gives_the_same_numbers_with_its_compiler_options():
    draw = np.random.default_rng(1).standard_normal
    x, kernel = (draw(shape, np.float32) for shape in [(4, 16, 16, 8), (3, 3, 8, 8)])
    plain = jax.jit(conv)(x, kernel)
    scale = float(jnp.abs(plain).max())
    np.testing.assert_allclose(jit(conv)(x, kernel), plain, rtol=0, atol=1e-5 * scale)


def test_unknown_compiler_options_are_left_out(monkeypatch):
    monkeypatch.setattr(backend, "CPU_OPTIONS", {"xla_cpu_no_such_option": "1"})
    monkeypatch.setattr(backend, "compiler_options", backend.compiler_options.__wrapped__)
    assert backend.compiler_options() is None
    assert jit(jnp.sin)(jnp.zeros(())) == 0


MEMORY = """
import resource, sys
from segjax.training import backend
prepared = "prepared" in sys.argv and (backend.prepare() or backend.keep_memory())
import jax, jax.numpy as jnp, numpy as np

# A block of more than 2 GiB, which no int can name, of which nothing is used.
block = np.empty(9 << 28, np.uint8)
heap = (line.split()[0].split("-") for line in open("/proc/self/maps") if "[heap]" in line)
kept = any(int(start, 16) <= block.ctypes.data < int(end, 16) for start, end in heap)

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
print(prepared and kept, min(faults() for _ in range(20)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_prepared_programs_reuse_their_memory():
    how = {"check": True, "capture_output": True, "text": True}
    (_, afresh), (prepared, reused) = (
        subprocess.run([sys.executable, "-c", MEMORY, *told], **how).stdout.split()
        for told in ([], ["prepared"])
    )
    assert prepared == "True"
    assert int(reused) < int(afresh) / 10


@pytest.mark.slow
def test_with_a_cache_a_second_run_compiles_nothing_anew(tmp_path):
    """In processes of their own, without this test run's cache."""
    environment = dict(os.environ, PYTHONPATH=str(Path(__file__).parents[2]))
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    # By default JAX keeps what took a second or more to compile: here nothing, on a quick machine.
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    cache, found = tmp_path / "compiled", []
    small = {"data": "synthetic", "synthetic_train": 8, "synthetic_test": 4, "epochs": 1} | SMALL
    for number in (1, 2):
        own = {"progress": "off", "run_dir": tmp_path / str(number), "cache_dir": cache}
        given = [f"--{name}={value}" for name, value in (small | own).items()]
        told = [sys.executable, "-m", "segjax.main", *given]
        subprocess.run(told, check=True, capture_output=True, env=environment)
        found.append({path.name for path in cache.iterdir() if not path.name.endswith("-atime")})
    assert found[0]
    assert found[1] == found[0]
