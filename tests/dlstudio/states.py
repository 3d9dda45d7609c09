"""State_dicts as PyTorch draws them, and how two are compared."""

import numpy as np

from segjax.dlstudio import layout


def fresh(depth):
    """Return the state_dict of a network as PyTorch initialises it."""
    random, tensors = np.random.default_rng(0), layout.tensors(layout.Kind(depth))
    return {tensor.name: tensor.initial(random, np.float32) for tensor in tensors}


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        np.testing.assert_array_equal(found[name], value, err_msg=name)
