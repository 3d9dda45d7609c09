"""What is saved comes back bit for bit, in kind, place and meta."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis.extra import numpy as hnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from segjax.errors import CheckpointError
from segjax.runs.checkpoints import Checkpoints, load_params
from tests.runs.checkpoint_states import assert_same, bits, make_state

META = {"epoch": 2, "place": 1500, "loss_sums": [0.1, 1e-300, -0.0], "config": {"depth": 16}}


def blank(state):
    """The same structure with other contents, so that a restore has everything to do."""

    def one(leaf):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.key(999)
        return jnp.full_like(leaf, 99)

    return jax.tree.map(one, state)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_training_state_comes_back_bitwise(tmp_path, dtype):
    state = make_state(3, dtype=dtype)
    Checkpoints(tmp_path / "new" / "folder").save(3, state, META, best_score=0.5)
    restored, meta, step = Checkpoints(tmp_path / "new" / "folder").restore(blank(state))
    assert_same(restored, state)
    assert (meta, step) == (META, 3)
    assert np.copysign(1, meta["loss_sums"][2]) == -1
    # The key is a key again and draws the same numbers.
    assert jax.random.bits(restored.key) == jax.random.bits(state.key)


def test_special_values_keep_their_bits(tmp_path):
    patterns = np.array([0x7FC00001, 0xFF800000, 0x80000000, 1, 0x7F7FFFFF], np.uint32)
    state = {"w": patterns.view(np.float32)}
    Checkpoints(tmp_path).save(0, state, {"worst": float("inf"), "lost": float("nan")})
    restored, meta, _ = Checkpoints(tmp_path).restore(state)
    np.testing.assert_array_equal(restored["w"].view(np.uint32), patterns)
    assert meta["worst"] == float("inf")
    assert meta["lost"] != meta["lost"]


def test_abstract_template_gives_arrays(tmp_path):
    state = make_state(1)
    Checkpoints(tmp_path).save(1, state, {})
    restored = Checkpoints(tmp_path).restore(jax.eval_shape(lambda: state)).state
    assert_same(restored, state)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(restored))


def test_leaves_keep_their_kind(tmp_path):
    state = {
        "numpy": np.arange(3.0),
        "scalar": np.float32(2.5),
        "int": 2**40,
        "float": 0.1,
        "flag": True,
        "weak": jnp.asarray(5),
        "strong": jnp.int32(5),
        "none": None,
        "empty": jnp.zeros((0, 3), jnp.bfloat16),
        "other key": jax.random.key(1, impl="rbg"),
        "keys": jax.random.split(jax.random.key(1), 3),
    }
    Checkpoints(tmp_path).save(0, state, {})
    restored = Checkpoints(tmp_path).restore(state).state
    assert_same(restored, state)
    assert [type(leaf) for leaf in jax.tree.leaves(restored)] == [
        type(leaf) for leaf in jax.tree.leaves(state)
    ]
    assert restored["weak"].weak_type
    assert not restored["strong"].weak_type
    # An array that is not tied to a device may join others anywhere, and is not compiled for anew.
    assert not restored["strong"].committed
    tied = jax.device_put(jnp.arange(3), jax.devices()[1])
    Checkpoints(tmp_path).save(1, tied, {})
    restored = Checkpoints(tmp_path).restore(tied).state
    assert restored.committed
    assert restored.devices() == tied.devices()


def test_state_of_one_bare_array(tmp_path):
    Checkpoints(tmp_path).save(0, jnp.arange(4), {})
    np.testing.assert_array_equal(Checkpoints(tmp_path).restore(jnp.zeros(4, int)).state, range(4))


def test_resumed_step_is_not_traced_again(tmp_path):
    traces = []

    @jax.jit
    def advance(state):
        traces.append(1)
        return state._replace(step=state.step + 1)

    state = advance(make_state())
    Checkpoints(tmp_path).save(1, state, {})
    advance(Checkpoints(tmp_path).restore(state).state)
    assert len(traces) == 1


DTYPES = [np.float32, np.float64, np.int8, np.uint8, np.int32, np.int64, np.bool_, np.complex64]
ARRAYS = st.sampled_from([np.dtype(d) for d in [*DTYPES, ml_dtypes.bfloat16]]).flatmap(
    lambda dtype: hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3).flatmap(
        lambda shape: (
            st.binary(min_size=(size := int(np.prod(shape)) * dtype.itemsize), max_size=size).map(
                lambda raw: np.frombuffer(raw, np.uint8).view(dtype).reshape(shape)
            )
            if dtype != np.bool_
            else hnp.arrays(dtype, shape)
        )
    )
)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
TREES = st.recursive(
    ARRAYS,
    lambda inner: st.one_of(
        st.dictionaries(KEYS, inner, max_size=3),
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
    ),
    max_leaves=5,
)


@hypothesis.settings(max_examples=25, deadline=None, derandomize=True)
@hypothesis.given(tree=TREES)
def test_any_tree_comes_back_bitwise(tmp_path_factory, tree):
    folder = tmp_path_factory.mktemp("any")
    if not jax.tree.leaves(tree):
        with pytest.raises(CheckpointError, match="no arrays"):
            Checkpoints(folder).save(0, tree, {})
        return
    Checkpoints(folder).save(0, tree, {})
    assert_same(Checkpoints(folder).restore(tree).state, tree)


def test_restores_onto_the_templates_shardings(tmp_path):
    assert len(jax.devices()) == 4, "tests/conftest.py asks for four devices"
    mesh = Mesh(np.array(jax.devices()), ("data",))
    split = NamedSharding(mesh, PartitionSpec("data"))
    whole = NamedSharding(mesh, PartitionSpec())
    key = jax.random.key(5)
    values = {"w": jnp.arange(32.0).reshape(8, 4), "b": jnp.arange(3), "key": key}
    state = {
        "w": jax.device_put(values["w"], split),
        "b": jax.device_put(values["b"], whole),
        "key": jax.device_put(key, whole),
    }
    Checkpoints(tmp_path).save(0, state, {})
    # Onto concrete arrays, onto abstract ones, and from four devices onto one.
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
    )
    for template in (state, abstract):
        restored = Checkpoints(tmp_path).restore(template).state
        assert bits(restored) == bits(values)
        for name, leaf in restored.items():
            assert leaf.sharding.is_equivalent_to(state[name].sharding, leaf.ndim), name
    assert len(restored["w"].sharding.device_set) == 4
    single = Checkpoints(tmp_path).restore(values).state
    assert bits(single) == bits(values)
    assert len(single["w"].sharding.device_set) == 1


def test_async_save_survives_donation(tmp_path):
    state = make_state(2)
    want = bits(state)
    advance = jax.jit(lambda s: jax.tree.map(lambda x: x * 0, s), donate_argnums=0)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save_async(2, state, {"epoch": 1}, best_score=1.0)
    advance(state._replace(key=jnp.uint32(0)))
    checkpoints.wait()
    assert bits(checkpoints.restore(make_state(0)).state) == want
    assert checkpoints.best() == (2, 1.0)


def test_async_save_survives_changes_in_place(tmp_path):
    value = np.arange(300_000)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save_async(0, {"w": value}, {})
    value[:] = 0
    np.testing.assert_array_equal(checkpoints.restore({"w": value}).state["w"], np.arange(300_000))


def test_async_failure_is_raised_by_wait(tmp_path):
    (tmp_path / "file").write_text("in the way")
    checkpoints = Checkpoints(tmp_path / "file")
    checkpoints.save_async(0, {"w": np.ones(2)}, {})
    with pytest.raises(CheckpointError, match="cannot save checkpoint step 0"):
        checkpoints.wait()
    checkpoints.wait()


def test_params_alone_without_an_optimizer(tmp_path):
    state = make_state(4)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state, {"epoch": 1}, best_score=0.9)
    checkpoints.save(2, make_state(5), {"epoch": 2}, best_score=0.1)
    params, batch_stats, meta = load_params(tmp_path)
    assert meta == {"epoch": 1}
    assert_same(params, jax.tree.map(np.asarray, state.params))
    assert_same(batch_stats, jax.tree.map(np.asarray, state.batch_stats))
    assert load_params(tmp_path, which="newest")[2] == {"epoch": 2}
    assert load_params(tmp_path, which=1)[2] == {"epoch": 1}
    assert load_params(tmp_path / "step_00000002")[2] == {"epoch": 2}
    Checkpoints(tmp_path / "other").save(0, {"w": np.ones(1)}, {})
    with pytest.raises(CheckpointError, match="no params"):
        load_params(tmp_path / "other")


def test_orbax_alone_can_read_the_arrays(tmp_path):
    from orbax.checkpoint import v1

    state = make_state(4)
    path = Checkpoints(tmp_path).save(1, state, {})
    raw = v1.load(path / "arrays")
    np.testing.assert_array_equal(
        raw["opt_state/1/0/mu/conv_0/kernel"], state.opt_state[1][0].mu["conv_0"]["kernel"]
    )


@pytest.mark.parametrize(
    ("meta", "told"),
    [
        ({"score": np.float32(1)}, r"meta\['score'\] is a numpy.float32"),
        ({"a": [1, {"b": jnp.ones(())}]}, r"meta\['a'\]\[1\]\['b'\] is a jaxlib"),
        ({"a": {1: 2}}, r"meta\['a'\] has the key 1"),
    ],
)
def test_meta_that_json_would_change_is_refused(tmp_path, meta, told):
    with pytest.raises(CheckpointError, match=told):
        Checkpoints(tmp_path).save(0, {"w": np.ones(1)}, meta)
    assert not list(tmp_path.iterdir())


def test_what_is_no_number_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="a/name holds <U3"):
        Checkpoints(tmp_path).save(0, {"a": {"name": np.array("abc")}}, {})
    for step in (-1, 1.5, True):
        with pytest.raises(CheckpointError, match="whole number"):
            Checkpoints(tmp_path).save(step, {"w": np.ones(1)}, {})
    with pytest.raises(CheckpointError, match="keep=0"):
        Checkpoints(tmp_path, keep=0)


def test_float64_is_not_narrowed_silently(tmp_path):
    Checkpoints(tmp_path).save(0, {"w": np.ones(2)}, {})
    with jax.enable_x64(True):
        template = {"w": jax.ShapeDtypeStruct((2,), jnp.float64)}
    with pytest.raises(CheckpointError, match="narrow float64"):
        Checkpoints(tmp_path).restore(template)


QUIET = """
import logging, sys
import absl.logging
absl.logging.set_verbosity(absl.logging.INFO)
import numpy as np
from segjax.runs.checkpoints import Checkpoints, load_params
assert "orbax" not in sys.modules, "Orbax is slow to import and must wait for its first use"
state = {"params": {"w": np.ones((4, 4), np.float32)}, "empty": np.zeros((0,), np.int8)}
checkpoints = Checkpoints(sys.argv[1], keep=1)
for step in range(3):
    checkpoints.save(step, state, {"epoch": step}, best_score=-step)
checkpoints.save_async(3, state, {})
checkpoints.wait()
checkpoints.restore(state)
load_params(sys.argv[1])
absl.logging.info("others may speak")
"""


def test_saving_and_restoring_are_silent(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", QUIET, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert [line.split("] ")[-1] for line in done.stderr.splitlines()] == [
        "INFO:absl:others may speak"
    ]


def test_orbax_filter_is_added_once(tmp_path):
    for step in range(3):
        Checkpoints(tmp_path).save(step, {"w": np.ones(1)}, {})
    filters = [getattr(f, "__name__", "") for f in logging.getLogger("absl").filters]
    assert filters.count("_not_from_orbax") == 1


def test_manifest_says_what_is_inside(tmp_path):
    path = Checkpoints(tmp_path).save(7, make_state(7), META, best_score=0.25)
    manifest = json.loads((path / "manifest.json").read_text())
    assert (manifest["step"], manifest["score"], manifest["meta"]) == (7, 0.25, META)
    kernel = manifest["arrays"]["params/conv_0/kernel"]
    assert (kernel["dtype"], kernel["shape"]) == ("float32", [3, 3, 8, 8])
    assert manifest["arrays"]["key"]["key_impl"] == "threefry2x32"
    on_disk = {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()}
    assert on_disk == {*manifest["files"], "manifest.json"}


def test_the_network_of_a_run_with_an_average_is_the_average(tmp_path):
    state = {
        "params": {"conv": {"kernel": jnp.full((2, 3), 1.0)}},
        "ema": {"conv": {"kernel": jnp.full((2, 3), 2.0)}},
        "batch_stats": {"norm": {"mean": jnp.full(3, 3.0)}},
        "opt_state": (jnp.zeros(4),),
    }
    Checkpoints(tmp_path).save(1, state, {"epoch": 1})
    params, batch_stats, _ = load_params(tmp_path)
    np.testing.assert_array_equal(params["conv"]["kernel"], 2.0)
    np.testing.assert_array_equal(batch_stats["norm"]["mean"], 3.0)
    assert set(params) == {"conv"}
