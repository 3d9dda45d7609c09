"""Losses by name: the table, the sums, the errors; and the table agrees with the functions."""

import inspect
from typing import get_args

import jax.numpy as jnp
import numpy as np
import pytest

from segjax import losses
from segjax.errors import ConfigError
from segjax.loss_table import LOSSES, PARAMETERS, spec
from segjax.losses import combo, dice, linear_weight, make_loss, mse

PRED = np.array([[[[1.0], [2.0]], [[3.0], [0.5]]]], np.float32)
TARGET = np.array([[[[0.0], [2.0]], [[1.0], [0.0]]]], np.float32)


def _keywords(function):
    """Name -> whether it must be given, of a function whose options are a TypedDict."""
    keywords = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            options = get_args(parameter.annotation)[0]
            keywords |= {k: k in options.__required_keys__ for k in options.__annotations__}
        else:
            keywords[name] = parameter.default is parameter.empty
    return keywords


def test_table_agrees_with_the_functions():
    assert set(PARAMETERS) == {flag for row in LOSSES.values() for flag in row.parameters}
    for name, row in LOSSES.items():
        module, function = row.function.split(".")
        keywords = _keywords(getattr(getattr(losses, module), function))
        given = [*row.fixed, *(PARAMETERS[flag].keyword for flag in row.parameters)]
        assert len(set(given)) == len(given), name
        assert {*given, "valid"} <= set(keywords), name
        assert {k for k, needed in keywords.items() if needed} <= {"pred", "target", *given}, name


def test_names_and_sums_with_numbers_and_with_a_schedule():
    parts = mse(PRED, TARGET), dice(PRED, TARGET)
    for name, step, (one, two) in (
        ("mse", 0, (1, 0)),
        ("dice", 0, (0, 1)),
        ("mse+0.5*dice", 0, (1, 0.5)),
        ("mse + linear(0, 20, 100) * dice", 0, (1, 0)),
        ("mse + linear(0, 20, 100) * dice", 50, (1, 10)),
        ("mse + linear(0, 20, 100) * dice", 1000, (1, 20)),
    ):
        found = make_loss(name)(PRED, TARGET, step=jnp.asarray(step))
        np.testing.assert_allclose(found, one * parts[0] + two * parts[1], rtol=1e-6)
    moving = make_loss("linear(0, 20, 100) * dice")
    assert moving(PRED, TARGET) == moving.terms(PRED, TARGET)["dice"] == 0
    named = make_loss("combo", parameters={"dice_scale": 400.0})
    np.testing.assert_allclose(named(PRED, TARGET), combo(PRED, TARGET, dice_scale=400.0))
    assert spec("mse+0.5*combo").parameters == {"dice_scale": 20.0}
    assert spec("mse").reads == "values"
    with pytest.raises(ConfigError, match="mse has no setting 'dice_scale'"):
        make_loss("mse", parameters={"dice_scale": 3.0})
    # A weight may move in one step.
    weight = linear_weight(1.0, 3.0, steps=1)
    assert [float(weight(step)) for step in (0, 1, 2)] == [1, 3, 3]
    with pytest.raises(ConfigError, match="steps=0: must be >= 1"):
        linear_weight(1.0, 3.0, steps=0)


def test_a_wrong_name_says_why():
    for name, message in (
        ("dcie", "did you mean dice"),
        ("mse+", "cannot read 'the end'"),
        ("mse-dice", r"expected \+ before '-dice'"),
        ("mse+mse", "twice"),
        ("mse+bce", "one network output cannot be both"),
        ("linear(0,1,0)*mse", "at least 1 step"),
    ):
        with pytest.raises(ConfigError, match=message):
            spec(name)


def test_what_sorts_or_measures_distances_says_so():
    """How long each takes is measured by scripts/docs/losses.py."""
    dear = ("topk", "lovasz", "kaggle_lovasz", "boundary", "hausdorff", "cldice")
    assert all(row.cost for name, row in LOSSES.items() if name.startswith(dear))
    assert not any(LOSSES[name].cost for name in ("mse", "dice", "combo", "bce", "dice_prob"))


def test_help_tells_every_argument():
    for row in LOSSES.values():
        family, name = row.function.split(".")
        if family not in ("regression", "kaggle"):
            loss = getattr(losses, name)
            told = loss.__doc__.replace("see `segjax.losses`", losses.__doc__)
            assert [key for key in _keywords(loss) if key not in told] == [], name
