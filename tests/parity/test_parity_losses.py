"""The report's losses against its formulas written in PyTorch: values and gradients."""

import functools

import jax
import numpy as np
import pytest
import torch

from segjax import losses
from tests.goldens import recipe
from tests.parity import jax_side, torch_side
from tests.parity.measurements import relative

SIDES = {"mse": (losses.mse, torch_side.mse), "dice": (losses.dice, torch_side.dice)}
for scale in (20.0, 400.0):
    ours = functools.partial(losses.combo, dice_scale=scale)
    SIDES[f"combo, {scale:g}"] = ours, functools.partial(torch_side.combo, scale=scale)


@pytest.mark.parametrize("kind", ["random", "near", "zero"])
@pytest.mark.parametrize("name", SIDES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_and_gradients(name, kind, dtype, measured):
    _, masks = recipe.real_images()
    masks = masks[:4].astype(dtype)
    middle, spread = {"random": (0, 60), "near": (masks, 1), "zero": (0, 0)}[kind]
    pred = np.random.default_rng(0).normal(middle, spread, masks.shape).astype(dtype)
    output = torch.tensor(pred, requires_grad=True)
    ours, theirs = SIDES[name]
    value = theirs(output, torch.tensor(masks))
    value.backward()
    assert output.grad is not None
    with jax_side.precision(dtype):
        found, grad = jax.value_and_grad(ours)(pred, masks)
    how = {"limit": 1e-9 if dtype == "float64" else 1e-5, "precision": dtype}
    measured.check(f"{name}: value, {dtype}", relative(found, value.item()), **how)
    measured.check(f"{name}: gradient, {dtype}", relative(grad, output.grad.numpy()), **how)
