"""What must hold of every loss that has a name: gradients, edges, dtypes, transformations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.test_util import check_grads

from segjax.errors import ConfigError
from segjax.loss_table import LOSSES
from segjax.losses import make_loss

NAMES = sorted(LOSSES)
LOWEST = {"kaggle_combo": -0.5}  # of a perfect prediction; 0 for the others
BELOW_ZERO = ("boundary", "boundary_softmax")  # bounded by the mask, not by 0
OF_THE_BATCH = {"dice", "combo", *(name for name in NAMES if name.startswith("kaggle"))}
SHAPE = (2, 6, 6, 3)
# Most of a test's time is LLVM's; its optimised code runs in all other tests of the losses.
_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def _example(reads, shape=SHAPE):
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=shape)
    if reads == "softmax":
        return outputs, rng.integers(0, shape[-1], shape[:-1])
    masks = rng.integers(0, 2, shape).astype(np.float64)
    return outputs, masks * 50.0 * (1 + np.arange(shape[-1])) if reads == "values" else masks


def _right(reads, targets, size=40.0):
    if reads == "softmax":
        targets = np.eye(SHAPE[-1])[targets]
    return targets.astype(np.float64) if reads == "values" else size * (2 * targets - 1)


def _quick(names):
    """All names; those that are other names' functions with a softmax or presets are slow."""
    own = ("dice_softmax", "generalized_dice_softmax", "lovasz_softmax", "unified_focal_softmax")
    twins = [n for n in names if n.endswith("_softmax") and n not in own]
    twins += [f"kaggle_{n}" for n in ("bce", "dice", "bce_dice", "jaccard", "tversky", "lovasz")]
    return [pytest.param(n, marks=pytest.mark.slow) if n in twins else n for n in names]


@pytest.mark.parametrize("name", _quick(NAMES))
def test_gradient_matches_differences_in_float64(name):
    outputs, targets = _example(LOSSES[name].reads)
    with jax.enable_x64(True):
        step = _jit(jax.value_and_grad(lambda o: make_loss(name)(o, targets)))
        assert step(outputs)[0].dtype == jnp.float64

        @jax.custom_vjp  # the one compiled step for values and gradients alike
        def loss(o):
            return step(o)[0]

        loss.defvjp(step, lambda grad, g: (g * grad,))
        # check_grads' own tolerance is 1e-5, as large as the gradients of a mean over pixels.
        check_grads(loss, (outputs,), order=1, modes=["rev"], eps=1e-6, atol=1e-8, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_to_compare_is_refused(name):
    for shape in ((0, 6, 6, 3), (2, 0, 6, 3)):
        outputs, targets = _example(LOSSES[name].reads, shape)
        with pytest.raises(ConfigError, match="there is nothing to compare"):
            make_loss(name)(outputs, targets)


@pytest.mark.parametrize("name", ["lovasz_hinge", "lovasz_softmax", "topk_bce", "topk_ce"])
def test_gradient_in_float32_is_that_in_float64(name):
    """These order float32 by its bits, in another way than float64."""
    outputs, targets = _example(LOSSES[name].reads)
    low = jax.jit(jax.grad(make_loss(name)))(outputs.astype(np.float32), targets)
    with jax.enable_x64(True):
        high = jax.jit(jax.grad(make_loss(name)))(outputs, targets)
    assert (low.dtype, high.dtype) == (jnp.float32, jnp.float64)
    np.testing.assert_allclose(low, high, rtol=1e-4, atol=1e-8)


# As a user compiles; the suite switches this off to be quick.
OPTIMISED = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}
SMALL_AND_ODD = [(1, 4, 4, 2), (2, 5, 7, 3), (3, 16, 16, 4), (2, 32, 32, 3), (1, 1, 9, 2)]


@pytest.mark.parametrize(
    ("names", "shape"),
    [
        (["cldice_softmax"], (1, 8, 8, 2)),
        *(pytest.param(NAMES, shape, marks=pytest.mark.slow) for shape in SMALL_AND_ODD),
    ],
    ids=str,
)
def test_compiled_values_and_gradients_are_the_eager_ones(names, shape):
    """XLA computes a softmax anew, in other bits, where it fuses it with what reads it."""
    for name in names:
        outputs, targets = _example(LOSSES[name].reads, shape)
        outputs, weights = outputs.astype(np.float32), None
        if shape[0] > 1:
            weights = np.linspace(0, 3, np.prod(shape[:-1]), dtype=np.float32).reshape(shape[:-1])
        step = jax.value_and_grad(functools.partial(make_loss(name), valid=weights))
        compiled = jax.jit(step, compiler_options=OPTIMISED)
        (value, grad), (eager, eager_grad) = (f(outputs, targets) for f in (compiled, step))
        np.testing.assert_allclose(value, eager, rtol=1e-5, atol=1e-7, err_msg=name)
        # Lovasz's slopes are differences of running sums, which round once pixels have weights.
        near = 1e-3 if weights is not None and "lovasz" in name else 1e-5
        most = near * np.abs(eager_grad).max()
        np.testing.assert_allclose(grad, eager_grad, rtol=0, atol=most, err_msg=name)


@pytest.mark.parametrize("name", ["bce", "dice_ce", "topk_bce", "lovasz_hinge", "boundary"])
def test_four_devices_give_the_loss_of_one(name):
    outputs, targets = _example(LOSSES[name].reads, (4, 5, 6, 3))
    mesh = jax.make_mesh((4,), ("batch",), axis_types=(AxisType.Auto,))
    sharding = NamedSharding(mesh, P("batch"))
    placed = [jax.device_put(a, sharding) for a in (outputs, targets)]
    assert len(placed[0].sharding.device_set) == 4
    step = jax.jit(jax.value_and_grad(make_loss(name)))
    (one, one_grad), (four, four_grad) = step(outputs, targets), step(*placed)
    np.testing.assert_allclose(four, one, rtol=1e-6)
    np.testing.assert_allclose(four_grad, one_grad, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", _quick(NAMES))
def test_edges(name):
    """All edge cases of a loss in one compiled call: values, and gradients that are finite."""
    reads = LOSSES[name].reads
    outputs, targets = _example(reads)
    empty = np.zeros_like(targets)
    full = np.ones_like(targets) if reads == "softmax" else np.full_like(targets, targets.max())
    all_valid, none_valid = np.ones(SHAPE[:-1]), np.zeros(SHAPE[:-1])
    half, first = np.zeros(SHAPE[:-1], bool), np.zeros(SHAPE[:-1])
    first[0] = 1
    half[0, 3:] = True
    unknown = np.where(half[..., None], outputs, np.nan)
    stripe = empty.copy()
    stripe[:, 1:4] = full[:, 1:4]  # three wide: one that is all border has no inside for boundary
    wrong = _right(reads, targets[::-1], 1e4)
    cases = {
        "perfect": (_right(reads, targets), targets, all_valid),
        "both empty": (_right(reads, empty), empty, all_valid),
        "false positives on empty": (_right(reads, stripe, 2.0), empty, all_valid),
        "nothing predicted": (_right(reads, empty, 2.0), stripe, all_valid),
        "saturated and wrong": (wrong, targets, all_valid),
        "nothing valid": (np.full(SHAPE, np.nan), targets, none_valid),
        "half valid, rest unknown": (unknown, targets, half),
        "half valid, rest known": (outputs, targets, half),
        "half valid, rest otherwise": (np.where(half[..., None], outputs, 9.0), targets, half),
        "samples swapped": (outputs[::-1], targets[::-1], all_valid),
        "flipped": (outputs[:, :, ::-1], targets[:, :, ::-1], all_valid),
        "plain": (outputs, targets, all_valid),
        "the first sample": (outputs, targets, first),
        "the second sample": (outputs, targets, 1 - first),
        "the second weighs three times as much": (outputs, targets, 3 - 2 * first),
        "all weigh three": (outputs, targets, 3 * all_valid),
    }
    if reads == "softmax":
        gone = np.where(np.arange(SHAPE[-1]) == 0, -np.inf, outputs)
        cases["a class masked out"] = gone, np.maximum(targets, 1), all_valid
    stacked = [np.stack(parts) for parts in zip(*cases.values(), strict=True)]
    singles = (np.asarray(x, np.float32 if x.dtype == np.float64 else x.dtype) for x in stacked)
    loss = make_loss(name)
    each = jax.vmap(jax.value_and_grad(lambda o, t, v: loss(o, t, valid=v)))
    value, grad = (dict(zip(cases, np.asarray(x), strict=True)) for x in _jit(each)(*singles))
    for case in cases:
        assert np.isfinite(value[case]), case
        assert np.isfinite(grad[case]).all(), case

    if reads == "softmax":
        assert (grad["a class masked out"][..., 0] == 0).all()
    if name in BELOW_ZERO:
        assert value["perfect"] < value["plain"]
    else:
        np.testing.assert_allclose(value["perfect"], LOWEST.get(name, 0), atol=1e-6)
        assert value["plain"] > value["perfect"]
        assert value["saturated and wrong"] > value["perfect"]
    if reads == "values":
        # The report's Dice is 1 for two empty ones, by its formula.
        assert value["both empty"] == {"mse": 0, "dice": 1, "combo": 20}[name]
    elif name != "boundary_softmax":  # there the background has an inside
        np.testing.assert_allclose(value["both empty"], LOWEST.get(name, 0), atol=1e-6)

    for case, truth in [("false positives on empty", empty), ("nothing predicted", stripe)]:
        if name == "dice":  # its value is 1 then, whatever the other one is
            continue
        better = _right(reads, truth, 1.0)
        if reads == "values":
            better = better - cases[case][0]
        else:  # at the pixels that are wrong
            better = better * np.any(better * cases[case][0] < 0, -1, keepdims=True)
        assert np.sum(grad[case] * better) < -1e-4, case

    assert value["nothing valid"] == 0
    assert (grad["nothing valid"] == 0).all()
    assert (grad["half valid, rest unknown"][~half] == 0).all()
    for other in ("known", "otherwise"):
        found = value[f"half valid, rest {other}"]
        np.testing.assert_allclose(value["half valid, rest unknown"], found, rtol=1e-6)
    for same in (value["samples swapped"], value["flipped"], value["all weigh three"]):
        np.testing.assert_allclose(same, value["plain"], rtol=2e-5)
    if name not in OF_THE_BATCH:
        expected = (value["the first sample"] + 3 * value["the second sample"]) / 4
        found = value["the second weighs three times as much"]
        np.testing.assert_allclose(found, expected, rtol=2e-5)


@pytest.mark.parametrize("name", ["mcc", "mcc_softmax", "exp_log_softmax", "dice_prob", "tversky"])
def test_a_large_nearly_perfect_mask_in_float32(name):
    reads = LOSSES[name].reads
    labels = np.zeros((1, 512, 512), np.int32)
    labels[0, 250:253, 250:253] = 1
    truth = np.eye(2)[labels]
    outputs = 8.0 * truth if reads == "softmax" else 8.0 * (2 * truth - 1)
    loss = _jit(make_loss(name))
    found = loss(outputs.astype(np.float32), labels if reads == "softmax" else truth)
    with jax.enable_x64(True):
        exact = loss(outputs, labels if reads == "softmax" else truth)
    np.testing.assert_allclose(found, exact, rtol=1e-4)


def _sums(jaxpr):
    """The dtypes that a program sums in, those of programs inside it too."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("reduce_sum", "cumsum", "dot_general"):
            yield equation.outvars[0].aval.dtype
        for inner in jax.tree.leaves(equation.params, is_leaf=lambda p: hasattr(p, "eqns")):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from _sums(inner)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_no_sum_in_half_precision(name, dtype):
    outputs, targets = _example(LOSSES[name].reads)
    step = jax.value_and_grad(make_loss(name))
    closed, (value, grad) = jax.make_jaxpr(step, return_shape=True)(
        jnp.asarray(outputs, dtype), jnp.asarray(targets)
    )
    assert (value.dtype, grad.dtype) == (jnp.float32, dtype)
    found = set(_sums(closed.jaxpr))
    assert found
    assert not {d for d in found if d.itemsize < 4 and jnp.issubdtype(d, jnp.floating)}


@pytest.mark.parametrize("name", ["dice_prob", "generalized_dice", "mcc", "ce", "lovasz_softmax"])
def test_a_large_perfect_mask_in_float16(name):
    mask = np.arange(512)[:, None, None] < np.full((1, 512, 512, 1), 256)
    targets = mask if LOSSES[name].reads == "sigmoid" else mask[..., 0].astype(np.int32)
    truth = mask if LOSSES[name].reads == "sigmoid" else np.concatenate([~mask, mask], -1)
    outputs = np.where(truth, 40, -40).astype(np.float16)
    value, grad = _jit(jax.value_and_grad(make_loss(name)))(outputs, targets)
    assert np.isfinite(np.asarray(grad)).all()
    np.testing.assert_allclose(value, 0, atol=2e-6)


def test_scan_over_steps():
    loss = make_loss("linear(0,1,2)*bce + dice_prob")
    outputs, targets = _example("sigmoid")

    def step(carry, _):
        logits, i = carry
        value, grad = jax.value_and_grad(lambda x: loss(x, targets, step=i))(logits)
        return (logits - 300 * grad, i + 1), value

    start = (jnp.asarray(outputs, jnp.float32), jnp.int32(0))
    _, values = jax.jit(lambda s: jax.lax.scan(step, s, length=30))(start)
    assert values[-1] < values[0] / 2
