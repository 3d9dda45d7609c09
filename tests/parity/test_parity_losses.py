"""The report's losses against its formulas written in PyTorch: values and gradients."""

import functools

import jax
import numpy as np
import pytest
import torch

from segjax import losses
from tests.goldens import recipe
from tests.parity import jax_side, torch_side
from tests.parity.measurements import Measurements, relative

OURS = {
    "mse": losses.mse,
    "dice": losses.dice,
    "combo, 20": functools.partial(losses.combo, dice_scale=20.0),
    "combo, 400": functools.partial(losses.combo, dice_scale=400.0),
}


def theirs(name: str, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    kind, _, scale = name.partition(", ")
    if kind == "combo":
        return torch_side.mse(output, target) + float(scale) * torch_side.dice(output, target)
    return torch_side.LOSSES[kind](output, target)


def outputs(kind: str, masks: np.ndarray) -> np.ndarray:
    random = np.random.default_rng(0)
    if kind == "random":
        return random.normal(0, 60, masks.shape)
    if kind == "near":
        return masks + random.normal(0, 1, masks.shape)
    return np.zeros(masks.shape)


@pytest.mark.parametrize("kind", ["random", "near", "zero"])
@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_and_gradients(name: str, kind: str, dtype: str, measured: Measurements) -> None:
    _, masks = recipe.real_images()
    masks = masks[:4].astype(dtype)
    pred = outputs(kind, masks).astype(dtype)
    output = torch.tensor(pred, requires_grad=True)
    value = theirs(name, output, torch.tensor(masks))
    value.backward()
    assert output.grad is not None
    with jax_side.precision(dtype):
        found, grad = jax.value_and_grad(OURS[name])(pred, masks)
    limit = 1e-9 if dtype == "float64" else 1e-5
    where = {"limit": limit, "precision": dtype, "network": "any"}
    measured.check(f"{name}: value, {dtype}", relative(found, value.item()), **where)
    error = relative(grad, output.grad.numpy())
    measured.check(f"{name}: gradient, {dtype}", error, **where)
