"""Counts of two real processes merge to the exact sum on both."""

import os
import socket
import subprocess
import sys

import numpy as np

from segjax.metrics import Counts, merge_hosts

PROGRAM = """
import sys
import jax
import numpy as np
from segjax.metrics import Counts, merge_hosts

rank = int(sys.argv[2])
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=rank)
# Neither fits int32, and the low words carry when added.
mine = Counts(*(np.array([2**31 - 1 + rank, 7 * 2**40 + 5, rank], np.int64) for _ in range(4)))
for leaf in vars(merge_hosts(mine)).values():
    print(leaf.dtype, leaf.tolist())
"""


def test_two_processes():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        address = f"localhost:{probe.getsockname()[1]}"
    env = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, address, str(rank)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
        )
        for rank in range(2)
    ]
    try:
        outputs = [run.communicate(timeout=120) for run in runs]
    finally:
        for run in runs:
            run.kill()
    expected = [f"int64 {[2**32 - 1, 14 * 2**40 + 10, 1]}"] * 4
    for run, (out, err) in zip(runs, outputs, strict=True):
        assert run.returncode == 0, err
        # Gloo, which carries the numbers, talks on the same stream.
        assert [line for line in out.splitlines() if line.startswith("int64")] == expected


def test_one_process_keeps_its_counts():
    counts = Counts(*(np.array([2**40 + i]) for i in range(4)))
    merged = merge_hosts(counts)
    for name, leaf in vars(counts).items():
        np.testing.assert_array_equal(getattr(merged, name), leaf)
