"""The output layer's floors: by hand, against the layer itself, and on the real files."""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from segjax import data, losses
from segjax.dlstudio.floors import Reach, output_layer_floors
from segjax.errors import ConfigError, DataError
from segjax.networks.layers import DLStudioHead
from tests.goldens import recipe

EVEN = np.zeros((8, 8, 1), bool)
EVEN[::2, ::2] = True


def random_masks(seed=0):
    random = np.random.default_rng(seed)
    return (random.random((3, 8, 8, 2)) < [0.3, 0.1]) * np.array([50, 250], np.uint8)


def test_hand_computed_and_iou_for_every_answer_on_the_constant_pixels():
    # One 2x2 image, one channel: 4 on the even pixel, 1, 1 and 4 on the three others.
    floors = output_layer_floors(np.array([[[[4.0], [1]], [[1], [4]]]]))
    assert floors.mse == pytest.approx((1 + 1 + 4) / 4)  # the others' mean is 2
    assert floors.mse_all_zero == pytest.approx((16 + 1 + 1 + 16) / 4)
    assert floors.mse_best_constant == pytest.approx(9 / 4)  # mean 2.5: four times 1.5 squared
    assert floors.dice == pytest.approx(1 - (28 / 34) ** 0.5)  # 16 + 3 * 2**2 of 34
    assert floors.dice_zero_bias == pytest.approx(1 - (16 / 34) ** 0.5)
    assert floors.dice_at_mask_value == pytest.approx(1 - 32 / 50)
    assert floors.dice_amplitude == pytest.approx((34 / 28) ** 0.5)
    np.testing.assert_allclose(floors.iou, [1.0])  # all pixels on
    masks = np.zeros((1, 4, 4, 3))
    masks[0, 0, :, 0] = 50  # two of its four pixels are even
    masks[0, :, :, 1] = 100  # everything: the constant alone can be on; the third class is absent
    np.testing.assert_array_equal(output_layer_floors(masks).iou, [2 / 4, 1.0, np.nan])
    masks = random_masks(2) > 0
    answers = [np.where(EVEN, masks, rest) for rest in (False, True)]
    reached = [(a & masks).sum((0, 1, 2)) / (a | masks).sum((0, 1, 2)) for a in answers]
    np.testing.assert_allclose(output_layer_floors(masks).iou, np.max(reached, axis=0))


def projected(values):
    """P: even pixels as they are, the others the mean over them of their channel."""
    return np.where(EVEN, values, values[:, ~EVEN[..., 0]].mean((0, 1)))


def as_outputs(values, shape):
    """Lay free even pixels and one constant per channel out as the layer does."""
    batch, height, width, channels = shape
    constants, even = values[:channels], values[channels:]
    even = even.reshape(batch, height // 2, width // 2, channels)
    return jnp.broadcast_to(constants, shape).at[:, ::2, ::2].set(even)


@pytest.mark.parametrize("source", ["random", "real"])
@pytest.mark.parametrize("loss", ["mse", "dice"])
def test_optimising_the_outputs_directly_reaches_the_floor_and_no_more(loss, source):
    masks = random_masks() if source == "random" else recipe.real_images()[1][:4]
    masks = masks.astype(np.float64)
    floor, function = getattr(output_layer_floors(masks), loss), getattr(losses, loss)
    start = np.random.default_rng(1).normal(20, 5, masks.shape[3] + masks.size // 4)
    options = {"maxiter": 2000, "ftol": 1e-15, "gtol": 1e-12}
    how = {"jac": True, "method": "L-BFGS-B", "options": options}
    step = jax.value_and_grad(lambda values: function(as_outputs(values, masks.shape), masks))
    with jax.enable_x64(True):
        least = optimize.minimize(jax.jit(step), start, **how).fun
    assert least == pytest.approx(floor, rel=1e-6)
    assert least > floor * (1 - 1e-9)


def test_the_layer_itself_can_write_nothing_else():
    # Random weights and inputs: the projection onto that space leaves the outputs as they are.
    x = np.random.default_rng(0).normal(size=(3, 4, 4, 6)).astype(np.float32)
    outputs, _ = DLStudioHead(2).init_with_output(jax.random.key(0), x)
    np.testing.assert_allclose(projected(np.asarray(outputs)), outputs, rtol=1e-5, atol=1e-6)
    free = as_outputs(np.arange(2.0 + 3 * 16 * 2), (3, 8, 8, 2))
    assert len(np.unique(np.asarray(free))) == 2 + 3 * 16 * 2


def test_the_nearest_outputs_attain_the_floors_and_the_dense_head_has_none():
    masks = random_masks().astype(np.float64)
    floors, best = output_layer_floors(masks), projected(masks)
    with jax.enable_x64(True):
        assert float(losses.mse(best, masks)) == pytest.approx(floors.mse)
        scaled = floors.dice_amplitude * best
        assert float(losses.dice(scaled, masks)) == pytest.approx(floors.dice)
        assert float(losses.dice(1.1 * scaled, masks)) > floors.dice
        half = np.where(EVEN, masks, 0)
        assert float(losses.dice(half, masks)) == pytest.approx(floors.dice_at_mask_value)
    dense = output_layer_floors(random_masks(), head="dense")
    assert (dense.mse, dense.dice) == (0, 0)
    np.testing.assert_array_equal(dense.iou, 1)
    assert dense.mse_all_zero == floors.mse_all_zero > dense.mse_best_constant
    # Many images are summed in parts; real ones show the floor in every class.
    masks = np.concatenate([random_masks(seed) for seed in range(200)])
    lowest = np.square(projected(masks) - masks).mean()
    assert output_layer_floors(masks).mse == pytest.approx(lowest)
    floors = output_layer_floors(recipe.real_images()[1])
    assert 0.7 < floors.mse / floors.mse_all_zero < 0.75
    assert (floors.iou < 0.3).all()


def test_errors():
    for masks, head, error, told in (
        (np.ones((1, 4, 4, 1)), "full", ConfigError, "head='full'"),
        (np.ones((4, 4, 1)), "dlstudio", DataError, r"shape \(4, 4, 1\)"),
        (np.zeros((1, 4, 4, 1)), "dlstudio", DataError, "all masks are empty"),
    ):
        with pytest.raises(error, match=told):
            output_layer_floors(masks, head=head)


@pytest.mark.parametrize(
    ("file", "mses"),
    [
        ("1000-test", [499.7, 488.1, 366.1]),
        pytest.param("10000-train", [494.6, 483.1, 362.2], marks=pytest.mark.slow),
    ],
)
def test_the_reference_on_the_files(file, mses):
    path = Path(os.environ.get("SEGJAX_DATAROOT", ""), f"PurdueShapes5MultiObject-{file}.gz")
    if not path.exists():
        pytest.skip(f"set SEGJAX_DATAROOT to the folder of {path.name}")
    found = output_layer_floors(data.load(path).masks)
    assert [round(m, 1) for m in (found.mse_all_zero, found.mse_best_constant, found.mse)] == mses
    dices = (found.dice, found.dice_zero_bias, found.dice_at_mask_value)
    assert [round(dice, 3) for dice in dices] == [0.483, 0.5, 0.6]
    assert round(found.dice_amplitude, 2) == 1.93
    np.testing.assert_allclose(found.iou, 0.25, atol=0.002)


def test_joint_floor_lies_under_every_sampled_output_and_single_ones_are_the_layers(scenes):
    masks, rng = scenes.masks, np.random.default_rng(0)
    known = output_layer_floors(masks)
    reach = known.reach
    floor, amplitude = reach.best(mse=1.0, dice=400.0)
    target = masks.astype(float)
    even = np.zeros(masks.shape[1:3], bool)
    even[::2, ::2] = True

    def loss(outputs):
        mse = np.mean((outputs - target) ** 2)
        dice = 1 - 2 * (outputs * target).sum() / ((outputs**2).sum() + (target**2).sum())
        return mse + 400 * dice

    best = np.where(even[..., None], target, target[:, ~even].mean((0, 1))) * amplitude
    assert loss(best) == pytest.approx(floor, rel=1e-9)
    for _ in range(20):
        nudge = np.where(even[..., None], rng.normal(0, 3, target.shape), rng.normal(0, 1, 5))
        assert loss(best + nudge) > floor
    assert reach.best(mse=1.0, dice=0.0) == pytest.approx((known.mse, 1.0))
    assert reach.best(mse=0.0, dice=1.0) == pytest.approx((known.dice, known.dice_amplitude))
    reach = Reach(energy=4.0, lowest=3.0)
    assert reach.loss(2.0, mse=0.0, dice=1.0) == pytest.approx(0.5)
    assert reach.best(mse=0.0, dice=1.0) == pytest.approx((0.5, 2.0))
    assert Reach(energy=4.0, lowest=4.0).best(mse=1.0, dice=1.0) == (5.0, 1.0)  # out of reach
