"""The check that training runs first."""

import numpy as np
import pytest

from segjax.data.own.quick import quick_check
from segjax.errors import DataError
from tests.data.own.owndata_files import dataset


def test_quick_check_passes_good_data():
    assert quick_check(dataset(), dataset(start=10), dataset(start=20)) == []
    assert quick_check(dataset()) == []


def test_quick_check_refuses_by_name():
    train = dataset()
    for test, message in (
        (dataset(size=(24, 24), start=9), "things: images of 24x24, but those of train are 16x24"),
        (dataset(names=("dog", "cat"), start=9, name="t"), "t: classes dog, cat, but those of"),
        (dataset(start=9)[:0], "the test split has no image"),
        (dataset(start=9, ignore=np.ones((4, 16, 24), bool)), "every pixel of the test split"),
    ):
        with pytest.raises(DataError, match=message):
            quick_check(train, None, test)
    empty = dataset(masks=np.zeros((4, 16, 24, 2), np.uint8))
    with pytest.raises(DataError, match="no training mask has any foreground"):
        quick_check(empty)
    with pytest.raises(DataError, match="both sides must be multiples of 8"):
        quick_check(dataset(size=(12, 24)))


def test_quick_check_warns_of_an_absent_class():
    masks = dataset().masks.copy()
    masks[..., 1] = 0
    assert quick_check(dataset(masks=masks)) == ["things: no pixel of dog in the train masks"]
