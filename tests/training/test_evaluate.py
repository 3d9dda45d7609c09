"""The test pass against NumPy: whole and partial batches, both kinds of statistics."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.classes import DLSTUDIO_WINDOWS
from segjax.networks.layers import BatchNorm, Pointwise
from segjax.training import evaluate
from segjax.training.evaluate import apply_network, decoders, make_evaluate, make_predict
from tests.small_net import CLASS_VALUES as VALUES
from tests.small_net import objective_of


class NormThenMix(nn.Module):
    """Outputs that NumPy can compute, and that depend on the statistics used."""

    @nn.compact
    def __call__(self, images, *, train):
        x = BatchNorm(name="bn")(images.astype("float32"), train=train)
        return Pointwise(5, name="mix")(x)


@pytest.fixture(scope="module")
def given():
    """Weights, running statistics, and five images with masks and pixels without truth."""
    rng = np.random.default_rng(0)
    norm = {"scale": np.float32([1.0, 0.5, 2.0]), "bias": np.float32([0.1, -0.2, 0.3])}
    mix = {"kernel": np.float32(rng.normal(0, 60, (1, 1, 3, 5))), "bias": np.float32(VALUES)}
    stats = {"bn": {"mean": np.float32([100, 120, 140]), "var": np.float32([5000, 6000, 7000])}}
    images = rng.integers(0, 256, (5, 8, 8, 3)).astype(np.uint8)
    masks = ((rng.random((5, 8, 8, 5)) < 0.4) * np.array(VALUES)).astype(np.uint8)
    arrays = {"images": images, "masks": masks, "valid": rng.random((5, 8, 8)) < 0.7}
    variables = {"params": {"bn": norm, "mix": mix}, "batch_stats": stats}
    return variables, jax.tree.map(jnp.asarray, arrays)


def outputs_of(variables, images, stats):
    x, norm, mix = np.asarray(images, np.float64), *map(variables["params"].get, ("bn", "mix"))
    seen = variables["batch_stats"]["bn"]
    if stats == "batch":
        seen = {"mean": x.mean((0, 1, 2)), "var": x.var((0, 1, 2))}
    x = (x - seen["mean"]) / np.sqrt(seen["var"] + 1e-5) * norm["scale"] + norm["bias"]
    return x @ mix["kernel"][0, 0] + mix["bias"]


@pytest.mark.parametrize("stats", ["batch", "running"])
@pytest.mark.parametrize("with_valid", [True, False])
def test_loss_and_counts_are_those_of_the_batches(given, stats, with_valid):
    variables, arrays = given
    arrays = {name: arrays[name] for name in ("images", "masks", "valid")[: 2 + with_valid]}
    objective = objective_of("mse")
    found = make_evaluate(NormThenMix(), objective, stats=stats, batch_size=2)(variables, arrays)
    # Two batches of two, and one of one, whose statistics are that image's.
    parts = [slice(0, 2), slice(2, 4), slice(4, 5)]
    outputs = np.concatenate([outputs_of(variables, arrays["images"][p], stats) for p in parts])
    masks = np.asarray(arrays["masks"], np.float64)
    valid = np.asarray(arrays.get("valid", np.ones((5, 8, 8), bool)))
    losses = [np.square(outputs[p] - masks[p])[valid[p]].mean() for p in parts]
    assert found.loss == pytest.approx(np.average(losses, weights=[2, 2, 1]), rel=1e-5)
    low, high = np.array(list(DLSTUDIO_WINDOWS.values())).T
    readings = {
        "half": outputs > np.array(VALUES) / 2,
        "windows": (outputs > low) & (outputs < high),
    }
    assert set(found.counts) == set(readings)
    for name, read in readings.items():
        assert 100 < read.sum() < read.size - 100
        truth, counts = masks > 0, found.counts[name]
        chosen = (read & truth, read & ~truth, ~read & truth, ~read & ~truth)
        for count, pixels in zip((counts.tp, counts.fp, counts.fn, counts.tn), chosen, strict=True):
            np.testing.assert_array_equal(count, pixels[valid].sum(0))


def test_batch_statistics_are_the_default_and_change_no_variable(given):
    variables, arrays = given
    images, objective = arrays["images"], objective_of("bce")
    for stats, told in (("batch", {}), ("running", {"stats": "running"})):
        outputs = apply_network(NormThenMix(), variables, images, stats=stats)
        expected = outputs_of(variables, images, stats)
        np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-2)
        predicted = make_predict(NormThenMix(), objective, **told)(variables, images)
        np.testing.assert_allclose(predicted, objective.values(outputs), rtol=1e-4)
    half = make_evaluate(NormThenMix(), objective)(variables, arrays).counts["half"]
    truth = np.asarray(arrays["masks"] > 0)[np.asarray(arrays["valid"])]
    assert (half.tp + half.fn).sum() == truth.sum()
    # The windows are for DLStudio's values alone.
    assert set(decoders(VALUES)) == {"half", "windows"}
    assert set(decoders((1, 1))) == {"half"}


def test_losses_and_pictures_share_the_networks_program(given, monkeypatch):
    variables, arrays = given
    traced, model = [], NormThenMix(name="shared")
    traces = lambda *a, **k: traced.append(a[2].shape) or apply_network(*a, **k)  # noqa: E731
    monkeypatch.setattr(evaluate, "apply_network", traces)
    for loss in ("mse", "bce", "dice"):
        make_evaluate(model, objective_of(loss), batch_size=5)(variables, arrays)
        make_predict(model, objective_of(loss))(variables, arrays["images"])
    assert traced == [(5, 8, 8, 3)]
