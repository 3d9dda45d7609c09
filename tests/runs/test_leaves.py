"""Arrays come back in kind and place; others than those asked for are told in words."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from hypothesis.extra import numpy as hnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from segjax.errors import CheckpointError
from segjax.runs import leaves
from segjax.runs.checkpoints import Checkpoints
from tests.runs.checkpoint_states import State, assert_same, bits, make_state


def test_leaves_keep_their_kind(tmp_path):
    patterns = np.array([0x7FC00001, 0xFF800000, 0x80000000, 1, 0x7F7FFFFF], np.uint32)
    state = {
        "special": patterns.view(np.float32), "numpy": np.arange(3.0), "scalar": np.float32(2.5),
        "int": 2**40, "float": 0.1, "flag": True, "weak": jnp.asarray(5), "strong": jnp.int32(5),
        "none": None, "empty": jnp.zeros((0, 3), jnp.bfloat16),
        "other key": jax.random.key(1, impl="rbg"), "keys": jax.random.split(jax.random.key(1), 3),
    }  # fmt: skip
    Checkpoints(tmp_path).save(0, state, {"worst": float("inf"), "lost": float("nan")})
    restored, meta, _ = Checkpoints(tmp_path).restore(state)
    assert str(meta) == "{'worst': inf, 'lost': nan}"
    np.testing.assert_array_equal(restored["special"].view(np.uint32), patterns)
    assert_same(restored, state)
    assert jax.tree.map(type, restored) == jax.tree.map(type, state)
    assert (restored["weak"].weak_type, restored["strong"].weak_type) == (True, False)
    # An array that is not tied to a device may join others anywhere, and is not compiled for anew.
    assert not restored["strong"].committed
    tied = jax.device_put(jnp.arange(3), jax.devices()[1])
    Checkpoints(tmp_path).save(1, tied, {})
    restored = Checkpoints(tmp_path).restore(tied).state
    assert (restored.committed, restored.devices()) == (True, tied.devices())


DTYPES = "float32 float64 int8 uint8 int32 int64 bool complex64 bfloat16"


@st.composite
def arrays(draw):
    dtype = np.dtype(getattr(ml_dtypes, name := draw(st.sampled_from(DTYPES.split())), name))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
    if dtype == np.bool_:
        return draw(hnp.arrays(dtype, shape))
    size = int(np.prod(shape)) * dtype.itemsize
    return np.frombuffer(draw(st.binary(min_size=size, max_size=size)), dtype).reshape(shape)


KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
TREES = st.recursive(
    arrays(),
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
    checkpoints = Checkpoints(tmp_path_factory.mktemp("any"))
    if jax.tree.leaves(tree):
        checkpoints.save(0, tree, {})
        assert_same(checkpoints.restore(tree).state, tree)
        return
    with pytest.raises(CheckpointError, match="no arrays"):
        checkpoints.save(0, tree, {})


def test_restores_onto_the_templates_shardings(tmp_path):
    mesh = Mesh(np.array(jax.devices()), ("data",))
    split, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (["data"], []))
    values = {"w": jnp.arange(32.0).reshape(8, 4), "b": jnp.arange(3), "key": jax.random.key(5)}
    state = jax.device_put(values, {"w": split, "b": whole, "key": whole})
    Checkpoints(tmp_path).save(0, state, {})
    # Onto concrete arrays, onto abstract ones, and from four devices onto one.
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
    )
    for template, like, devices in ((state, state, 4), (abstract, state, 4), (values, values, 1)):
        restored = Checkpoints(tmp_path).restore(template).state
        assert bits(restored) == bits(values)
        assert len(restored["w"].sharding.device_set) == devices
        for name, leaf in restored.items():
            assert leaf.sharding.is_equivalent_to(like[name].sharding, leaf.ndim), name


def test_what_cannot_be_kept_as_it_is_is_refused_and_float64_not_narrowed(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    one, text = {"w": np.ones(1)}, {"a": {"name": np.array("abc")}}
    for step, state, meta, told in (
        (0, text, {}, "a/name holds <U3"),
        *((step, one, {}, "whole number") for step in (-1, 1.5, True)),
        (0, one, {"score": np.float32(1)}, r"meta\['score'\] is a numpy.float32"),
        (0, one, {"a": [1, {"b": jnp.ones(())}]}, r"meta\['a'\]\[1\]\['b'\] is a jaxlib"),
        (0, one, {"a": {1: 2}}, r"meta\['a'\] has the key 1"),
    ):
        with pytest.raises(CheckpointError, match=told):
            checkpoints.save(step, state, meta)
    assert not list(tmp_path.iterdir())
    with pytest.raises(CheckpointError, match="keep=0"):
        Checkpoints(tmp_path, keep=0)
    checkpoints.save(0, {"w": np.ones(2)}, {})
    with jax.enable_x64(True):
        template = {"w": jax.ShapeDtypeStruct((2,), jnp.float64)}
    with pytest.raises(CheckpointError, match="narrow float64"):
        checkpoints.restore(template)


def test_another_state_is_an_error_in_words_and_no_cast(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    meta = {"config": {"depth": 2, "head": "dense", "loss": "mse"}, "optimizer": "adamw"}
    checkpoints.save(5, make_state(1), meta)
    made_with = "it was made with depth=2, head='dense', loss='mse', optimizer='adamw'; "
    for other, told in (
        ({"depth": 3}, "; 6 arrays only here: params/conv_2/"),
        ({"depth": 1}, "; 6 arrays only in the checkpoint: params/conv_1/"),
        ({"dtype": jnp.bfloat16}, "bias is float32[8] in the checkpoint and bfloat16[8] here"),
        ({"width": 9}, "kernel is float32[3, 3, 8, 8] in the checkpoint and float32[3, 3, 9, 9] "),
        ({"impl": "rbg"}, "key is key<fry>[] in the checkpoint and key<rbg>[] here"),
        ({"optimizer": optax.identity()}, "; 9 arrays only in the checkpoint: opt_state/"),
    ):
        with pytest.raises(CheckpointError) as caught:
            checkpoints.restore(make_state(1, **other))
        assert f"step_00000005 does not belong to this run: {made_with}" in str(caught.value)
        assert told in str(caught.value)
    for n, told in ((1, "1 array only here: a."), (3, "here: a, b, c."), (4, "b, c, ....")):
        assert told in leaves.difference({"arrays": {}, "meta": {}}, dict.fromkeys("abcd"[:n], 1))


class Twin(int):
    __eq__, __hash__ = object.__eq__, object.__hash__


def test_names_are_those_on_the_disk_and_one_leafs_each():
    """Checkpoints of earlier versions are read by these names."""
    tree = {"a/b": [1, {"c%": (2,)}], "é": State(3, {4: 5}, None, [], 6)}
    names = "a%2Fb/0", "a%2Fb/1/c%25/0", "%C3%A9/params", "%C3%A9/batch_stats/4", "%C3%A9/key"
    assert dict(zip(names, [1, 2, 3, 5, 6], strict=True)) == leaves.named_leaves(tree)
    assert list(leaves.named_leaves(np.ones(1))) == ["value"]
    named = leaves.named_leaves({"a/b": {"c": 1, "d": {"é%": 2}}, "e": 3})
    assert leaves.nested(named) == {"a/b": {"c": 1, "d": {"é%": 2}}, "e": 3}
    with pytest.raises(CheckpointError, match="the same name, a/1: rename one"):
        leaves.named_leaves({"a": {Twin(1): 0, Twin(1): 0}})
