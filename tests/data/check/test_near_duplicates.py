import numpy as np

from segjax.data.check.near_duplicates import difference_hash, near_pairs
from tests.data.data_files import picture


def test_a_copy_in_another_split_is_found_noise_and_flat_pictures_are_passed_over():
    noise = [("train", f"n{i}", difference_hash(picture(i, (64, 64)))) for i in range(40)]
    noise += [("test", f"n{i}", difference_hash(picture(i, (64, 64)))) for i in range(40, 80)]
    assert near_pairs(noise) == []
    image = difference_hash(picture(0, (64, 64)))
    pictures = [("train", "a", image), ("train", "b", image), ("test", "c", image)]
    flat = difference_hash(np.zeros((64, 64, 3), np.uint8))
    pictures += [("train", "x", flat), ("test", "y", flat)]
    found = [("c", "resembles a in train"), ("c", "resembles b in train")]
    assert near_pairs(pictures) == found
