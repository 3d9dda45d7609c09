"""Counts are right, and merge to exactly what one pass over everything gives."""

import functools
import os
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from segjax.metrics import Counts, confusion_matrix, count, merge_hosts
from tests.metrics.scenes import refused

# One shape for hypothesis: every new shape would be compiled anew.
SHAPE = (4, 3, 5, 2)
masks = hnp.arrays(bool, SHAPE)


def as_lists(counts):
    return {name: np.asarray(leaf).tolist() for name, leaf in vars(counts).items()}


def equal(one, two):
    assert as_lists(one) == as_lists(two)


def random_masks(seed, shape=(8, 6, 7, 3)):
    rng = np.random.default_rng(seed)
    return rng.random(shape) < 0.4, rng.random(shape) < 0.3, rng.random(shape[:-1]) < 0.8


@settings(max_examples=50, deadline=None)
@given(masks, masks, hnp.arrays(bool, SHAPE[:-1]))
def test_equals_the_sums_of_the_four_cases(pred, target, valid):
    cases = {"tp": pred & target, "fp": pred & ~target, "fn": ~pred & target, "tn": ~pred & ~target}
    sums = {name: case[valid].sum(0).tolist() for name, case in cases.items()}
    assert as_lists(count(pred, target, valid=valid)) == sums


def test_other_forms_of_the_same_masks():
    pred, target, valid = random_masks(0)
    flat = [mask.reshape(-1, mask.shape[-1]) for mask in (pred, target)]
    values = np.array([50, 100, 250], np.uint8)
    for same in (flat, (pred.astype(np.int8), target * values)):
        equal(count(*same), count(pred, target))
    per_class = np.broadcast_to(valid[..., None], pred.shape)
    for same in (per_class, valid[..., None]):
        equal(count(pred, target, valid=same), count(pred, target, valid=valid))
    equal(count(pred, target, valid=np.zeros_like(valid)), Counts.zero(3))
    classes = [2, 0]
    equal(count(pred, target).select(classes), count(pred[..., classes], target[..., classes]))


def test_jit_vmap_scan_equal_eager():
    pred, target, valid = random_masks(4)
    whole = count(pred, target, valid=valid)
    jitted = jax.jit(lambda p, t, v: count(p, t, valid=v))(pred, target, valid)
    assert jitted.tp.dtype == jnp.int32
    equal(jitted, whole)

    def one(p, t, v):
        return count(p[None], t[None], valid=v[None])

    apart = count(pred, target, valid=valid, per_image=True)
    equal(jax.vmap(one)(pred, target, valid), apart)
    assert apart.tp.shape == (8, 3)
    equal(apart.total(), whole)

    @jax.jit
    def scanned(*arrays):
        return jax.lax.scan(lambda so_far, x: (so_far + one(*x), None), Counts.zero(3), arrays)[0]

    equal(scanned(pred, target, valid), whole)


@settings(max_examples=50, deadline=None)
@given(masks, masks, st.permutations(range(4)))
def test_merging_batches_in_any_order_equals_the_whole(pred, target, order):
    parts = [count(pred[i : i + 1], target[i : i + 1]) for i in order]
    merged = Counts.merge(parts)
    assert merged.tp.dtype == np.int64
    for summed in (merged, sum(parts), sum(parts[1:], Counts.zero(2) + parts[0])):
        equal(summed, count(pred, target))
    joined = Counts.concatenate([count(pred, target, per_image=True)] * 2)
    assert joined.tp.shape == (8, 2)
    equal(joined.total(), merged + merged)


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_sharded_equals_one_device(devices):
    pred, target, valid = random_masks(5)
    whole = count(pred, target, valid=valid)
    mesh = jax.make_mesh((devices,), ("batch",), axis_types=(AxisType.Auto,))
    sharding = NamedSharding(mesh, P("batch"))
    placed = [jax.device_put(a, sharding) for a in (pred, target, valid)]
    assert len(placed[0].sharding.device_set) == devices
    equal(jax.jit(lambda p, t, v: count(p, t, valid=v))(*placed), whole)

    def shard(p, t, v):
        return jax.lax.psum(count(p, t, valid=v), "batch")

    summed = jax.jit(jax.shard_map(shard, mesh=mesh, in_specs=P("batch"), out_specs=P()))
    equal(summed(*placed), whole)


def test_nothing_overflows():
    big = Counts(*(np.full(2, 2**31 - 1, np.int32) for _ in range(4)))
    assert as_lists(big + big + big)["tp"] == [3 * (2**31 - 1)] * 2
    on_device = jax.tree.map(jnp.asarray, big)
    assert as_lists(on_device + on_device)["fn"] == [2 * (2**31 - 1)] * 2
    refused("does not fit", lambda: jax.jit(lambda c: c + (big + big))(on_device))
    equal(merge_hosts(big + big), big + big)
    # Too many pixels are refused before anything runs.
    huge = jax.ShapeDtypeStruct((2**31, 1), jnp.bool_)
    refused(r"2\^31", jax.eval_shape, count, huge, huge)
    fits = jax.ShapeDtypeStruct((2**31 - 1, 1), jnp.bool_)
    assert jax.eval_shape(count, fits, fits).tp.shape == (1,)
    table = functools.partial(confusion_matrix, classes=2)
    huge, fits = (jax.ShapeDtypeStruct((size,), jnp.int32) for size in (2**31, 2**31 - 1))
    refused(r"2\^31", jax.eval_shape, table, huge, huge)
    assert jax.eval_shape(table, fits, fits).shape == (2, 2)


def test_wrong_inputs_say_what_to_do():
    pred, target, valid = random_masks(6)
    counts = count(pred, target)
    refused("one shape", count, pred, target[..., :2])
    refused("one shape", count, pred.ravel(), target.ravel())
    refused(r"pred > 0\.5", count, pred.astype(np.float32), target)
    refused("valid", count, pred, target, valid=valid[:2])
    labels = np.ones((2, 4, 4), np.int32)
    refused(r"pred \(2, 4, 4\) of int32 looks like labels", count, labels, labels)
    assert count(labels > 0, labels > 0).tp.tolist() == [8] * 4
    refused("cannot add shapes", lambda: counts + count(pred, target, per_image=True))
    refused("per_image", Counts.concatenate, [counts])
    refused("at least one", Counts.zero, 0)
    assert Counts.zero(1).tp.tolist() == [0]
    refused("nothing to merge", Counts.merge, [])
    refused(r"0\.\.2", counts.select, [3])
    refused("give class indices", counts.select, [True, False, True])
    refused("give class indices", counts.select, [0.0, 1.0])
    with pytest.raises(TypeError):
        counts + 1


def test_confusion_matrix_by_hand_and_as_counts():
    true, pred = np.array([[0, 0, 0, 1, 1, 2, 2, 9]]), np.array([[0, 1, 2, 1, 1, 0, 2, 1]])
    kept = true < 9
    expected = [[1, 1, 1], [0, 2, 0], [1, 0, 1]]
    for pair in ((pred, true), (jnp.asarray(pred, jnp.uint8), true.tolist())):
        found = confusion_matrix(*pair, classes=3, valid=kept)
        assert (found.dtype, found.tolist()) == (jnp.int32, expected)
    step = jax.jit(functools.partial(confusion_matrix, classes=3))
    assert step(pred, true).tolist() == expected  # 9 is out of range, so left out
    for matrix in (found, np.asarray(found, np.int64)):
        masks = [labels[..., None] == np.arange(3) for labels in (pred, true)]
        equal(Counts.of_matrix(matrix), count(*masks, valid=kept))
    how = {"classes": 3}
    refused(r"labels must be in 0\.\.2", confusion_matrix, pred, true, **how)
    refused("pred is float32 and", confusion_matrix, pred * 1.0, true, **how)
    refused("one shape", confusion_matrix, pred, true[:, 1:], **how)
    refused("valid", confusion_matrix, pred, true, valid=kept[0], **how)
    refused("needs 1 class", confusion_matrix, pred, true, classes=0)


TWO_PROCESSES = """
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


def test_labels_beyond_32_bits_are_no_class_and_a_running_sum_leaves_counts_alone():
    refused("labels must be in", confusion_matrix, np.array([2**32]), np.array([0]), classes=2)
    matrix = np.array([[3, 1], [0, 2]])
    counts = Counts.of_matrix(matrix)
    matrix += 5
    assert [leaf.tolist() for leaf in jax.tree.leaves(counts)] == [[3, 2], [0, 1], [1, 0], [2, 3]]
    equal(Counts.of_matrix([[3, 1], [0, 2]]), counts)


def test_counts_of_two_processes_merge_to_the_exact_sum_on_both():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        address = f"localhost:{probe.getsockname()[1]}"
    env = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    command, how = [sys.executable, "-c", TWO_PROCESSES, address], {"text": True, "env": env}
    how |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    runs = [subprocess.Popen([*command, str(rank)], **how) for rank in range(2)]
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
