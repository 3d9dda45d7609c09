"""The annotations of the cores are checked while tests run; a user's arguments are not."""

import jaxtyping
import numpy as np
import pytest

from segjax.metrics import SCORES, boundary_count, count, masks, scores


def test_a_core_called_against_its_annotation_is_told():
    on = np.ones((1, 4, 4, 2), bool)
    with pytest.raises(jaxtyping.TypeCheckError, match="valid"):
        masks.boundaries(on, on)  # valid has no axis of classes
    with pytest.raises(jaxtyping.TypeCheckError, match="kept"):
        scores.mean_of(np.ones(3), np.ones(3), axis=0)  # kept is no bool
    with pytest.raises(jaxtyping.TypeCheckError, match="kept"):
        scores.mean_of(np.ones(3), np.ones(4, bool), axis=0)


def test_users_lists_pass():
    pred, target = [[[[1], [0]]]], [[[[1], [1]]]]
    assert boundary_count(pred, target).pred_all.tolist() == [[1]]
    counts = count(np.array(pred), np.array(target))
    assert [float(score(counts)[0]) for score in SCORES.values()][:2] == [1 / 2, 2 / 3]
