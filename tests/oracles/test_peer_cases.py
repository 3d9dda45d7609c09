"""Numbers of other libraries' own tests, said with segjax: the rows of peers.json.

A row names its source and case. `calls` are names in segjax with their settings, the first on pred
and target (channels last), each further one on what came before; the answer, `times` a factor where
the source divides otherwise, is the `expected` number within the source's own tolerance.
"""

import functools
import json
import pathlib
from operator import attrgetter

import numpy as np
import pytest

import segjax
import segjax.losses
from segjax import metrics as m

CASES = json.loads(pathlib.Path(__file__).with_name("peers.json").read_text("utf-8"))


@pytest.mark.parametrize("row", CASES, ids=lambda row: f"{row['source']}: {row['case']}")
def test_case(row):
    pair = [np.asarray(row[name]) for name in ("pred", "target")]
    (first, settings), *further = row["calls"]
    start = attrgetter(first)(segjax)(*pair, **settings)
    found = functools.reduce(
        lambda x, call: attrgetter(call[0])(segjax)(x, **call[1]), further, start
    )
    np.testing.assert_allclose(found * row["times"], row["expected"], rtol=0, atol=row["atol"])


def test_surface_dice_of_monai():
    """Project-MONAI/MONAI, tests/metrics/test_surface_dice.py: Euclidean, a tolerance per class."""
    pred, true = np.zeros((2, 1, 10, 10), int)
    pred[0, 1:4, 1] = true[0, 5:8, 6] = 1
    pair = [labels[..., None] == np.arange(2) for labels in (pred, true)]
    for tolerance, expected in (
        ((0, 0), (1 - 12 / 84, 0)),
        ((2.8, 5.5), (1 - 3 / 84, 1 - 4 / 6)),
        ((3, 6), (1 - 1 / 84, 1 - 2 / 6)),
    ):
        counts = m.boundary_count(*pair, tolerance=tolerance)
        np.testing.assert_allclose(m.surface_dice(counts), expected, atol=1e-6)
