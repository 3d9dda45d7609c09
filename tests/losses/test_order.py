"""Places and thresholds in the order of the values, found by the bits of float32."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segjax.losses.entropy import _largest
from segjax.losses.lovasz import _descending

SIZE = 12
# Few distinct values, so that ties are common; both zeros, and the ends of the range.
KEYS = st.sampled_from([0.0, -0.0, 1.0, 1.5, 1e-38, 1e-45, -2.0, -1e-3, 3e38, -np.inf, np.inf])


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float32, (2, SIZE), elements=KEYS | st.floats(-3, 3, width=32)))
def test_descending_with_equal_keys_in_their_order(keys):
    place = np.asarray(jax.jit(_descending)(keys))
    assert place.dtype == np.int32
    expected = [np.lexsort((np.signbit(row), -row)) for row in keys]  # 0.0 is before -0.0
    np.testing.assert_array_equal(place, expected)
    with jax.enable_x64(True):
        assert _descending(jnp.asarray([2.0, 1, 2, 1, 2])).tolist() == [0, 2, 4, 1, 3]


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(np.float32, (2, SIZE), elements=st.sampled_from([-1.0, 0.0, 1e-37, 1.0, 2.0])),
    st.integers(1, SIZE),
)
def test_largest(x, count):
    places = np.maximum((x >= 0).sum(-1), 1)
    counts = np.minimum(count, places)[:, None].astype(np.float32)
    found = np.asarray(jax.jit(_largest)(x, counts))[:, 0]
    for row in range(2):
        expected = np.sort(x[row])[::-1][int(counts[row, 0]) - 1]
        assert found[row] == max(expected, 0)
