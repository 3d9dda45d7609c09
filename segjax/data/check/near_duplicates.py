"""Finding pictures that are almost the same: frames of one film, copies saved again."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

MAX_BITS = 2  # of 64; a copy saved as JPEG again differs in 0 to 2
MAX_PAIRS = 200
_CHUNK = 1024


def difference_hash(image: np.ndarray) -> np.ndarray:
    """Return 64 bits as uint64 []: whether brightness rises between neighbours of an 8x9 grid."""
    small = Image.fromarray(image).convert("L").resize((9, 8), Image.Resampling.BOX)
    grid = np.asarray(small, np.int16)
    return np.packbits((grid[:, 1:] > grid[:, :-1]).ravel()).view(np.uint64)[0]


def near_pairs(hashes: Sequence[tuple[str, str, np.ndarray]]) -> list[tuple[str, str]]:
    """Return (name, what it resembles) of pictures in different splits that hash almost alike.

    ``hashes``: (split, name, hash). At most 200 are returned. Pictures without any structure
    (hash 0) resemble each other by accident and are passed over.
    """
    kept = [entry for entry in hashes if int(entry[2])]
    codes = np.array([entry[2] for entry in kept], np.uint64)
    splits = np.array([entry[0] for entry in kept])
    found: list[tuple[str, str]] = []
    for start in range(0, len(kept), _CHUNK):
        distance = np.bitwise_count(codes[start : start + _CHUNK, None] ^ codes[None, :])
        others = splits[start : start + _CHUNK, None] != splits[None, :]
        for row, column in np.argwhere((distance <= MAX_BITS) & others):
            if start + row < column:
                split, other, _ = kept[start + row]
                found.append((kept[column][1], f"resembles {other} in {split}"))
                if len(found) == MAX_PAIRS:
                    return found
    return found
