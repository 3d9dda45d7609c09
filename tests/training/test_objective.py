"""How outputs become masks, and what each kind of loss is asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.errors import ConfigError
from segjax.training.objective import dlstudio_windows, half_value, make_objective
from tests.small_net import CLASS_VALUES, objective_of


def test_windows_are_open_intervals_as_in_dlstudio_and_channel_counts_must_agree():
    edges = [(25, 85), (65, 135), (115, 185), (165, 230), (210, 1e6)]
    for channel, (low, high) in enumerate(edges):
        values = np.full((5, 5), -1.0, np.float32)
        values[:, channel] = [low, low + 0.5, (low + high) / 2, high - 0.5, high]
        on = np.asarray(dlstudio_windows(jnp.asarray(values)))[:, channel]
        assert on.tolist() == [False, True, True, True, channel == 4]
    # Half the value is open too.
    values = jnp.asarray([[25.0, 50.1, 75.0, 100.0, 125.5]])
    expected = [[False, True, False, False, True]]
    assert np.asarray(half_value(values, CLASS_VALUES)).tolist() == expected
    for read in (dlstudio_windows, lambda values: half_value(values, CLASS_VALUES)):
        with pytest.raises(ConfigError, match="3 channels"):
            read(jnp.zeros((2, 3)))
    with pytest.raises(ConfigError, match="above 0"):
        make_objective("mse", class_values=(50, 0))


def masks_of(*on):
    """The masks of a row of pixels, each of a class or, at -1, of none."""
    return np.uint8(np.eye(6, 5)[list(on)][None, None] * CLASS_VALUES)


def test_regression_reads_mask_values_or_units():
    masks = masks_of(0, 4, -1)
    for targets, expected in (("values", masks), ("unit", masks > 0)):
        objective = objective_of("mse", targets=targets)
        perfect = objective.targets(masks)
        np.testing.assert_array_equal(perfect, np.float32(expected))
        # The perfect output decodes to the mask under both.
        values = objective.values(perfect)
        np.testing.assert_array_equal(half_value(values, CLASS_VALUES), masks > 0)
        np.testing.assert_array_equal(dlstudio_windows(values), masks > 0)
        assert float(objective.loss(perfect, masks)) == 0
        np.testing.assert_allclose(objective.scores(perfect), masks > 0)


def test_softmax_reads_the_likeliest_class_beside_a_background():
    objective = objective_of("ce")
    assert (objective.num_outputs, objective_of("bce").num_outputs) == (6, 5)
    ones = make_objective("bce", class_values=(1,)).targets(np.eye(2, dtype=np.uint8))
    np.testing.assert_array_equal(ones, np.eye(2))
    masks = masks_of(-1, 1, 4)
    masks[..., 2, 0] = CLASS_VALUES[0]  # of overlapping classes the last wins
    np.testing.assert_array_equal(objective.targets(masks), [[[0, 2, 5]]])
    outputs = np.float32([[[9, 0, 0, 0, 0, 0], [0, 0, 3, 1, 0, 0], [0, 0, 0, 0, 0, 9]]])
    values = [[[0, 0, 0, 0, 0], [0, 100, 0, 0, 0], [0, 0, 0, 0, 250]]]
    np.testing.assert_array_equal(objective.values(jnp.asarray(outputs)), values)
    shares = np.exp(outputs) / np.exp(outputs).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(objective.scores(jnp.asarray(outputs)), shares[..., 1:], rtol=1e-5)


def test_combo_adds_up_also_under_jit_and_in_single_precision():
    masks = masks_of(1, 2)
    outputs = jax.random.normal(jax.random.key(0), masks.shape) * 50
    mse, dice = (objective_of(name).loss(outputs, masks) for name in ("mse", "dice"))
    combo = objective_of("combo", parameters={"dice_scale": 400.0})
    for loss in (combo.loss, jax.jit(combo.loss)):
        np.testing.assert_allclose(loss(outputs, masks), mse + 400 * dice, rtol=1e-6)
    # Outputs of half precision are widened before the loss.
    assert combo.loss(outputs.astype(jnp.bfloat16), masks).dtype == jnp.float32
