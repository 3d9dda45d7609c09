"""The cheap part of checking data, which training runs first."""

from __future__ import annotations

import hashlib

from segjax.data.dataset import Dataset
from segjax.errors import DataError
from segjax.settings import SIZE_MULTIPLE


def quick_check(
    train: Dataset, val: Dataset | None = None, test: Dataset | None = None
) -> list[str]:
    """Refuse loaded data that cannot be trained on; return warnings, one sentence each.

    Raises:
      DataError: if a split is empty, sizes or classes differ, a side is no multiple of 8, or no
        training mask has any foreground.
    """
    warnings = []
    given = {"train": train, "val": val, "test": test}
    parts = {split: part for split, part in given.items() if part is not None}
    for split, part in parts.items():
        if not len(part):
            raise DataError(f"{part.name}: the {split} split has no image")
        height, width = part.image_size
        if height % SIZE_MULTIPLE or width % SIZE_MULTIPLE or not height or not width:
            raise DataError(
                f"{part.name}: images of {height}x{width}; both sides must be multiples of"
                f" {SIZE_MULTIPLE}, set --image_size"
            )
        if part.image_size != train.image_size:
            raise DataError(
                f"{part.name}: images of {height}x{width}, but those of train are"
                f" {train.image_size[0]}x{train.image_size[1]}; set --image_size"
            )
        if list(part.label_map.items()) != list(train.label_map.items()):  # the order counts
            raise DataError(
                f"{part.name}: classes {', '.join(part.class_names)}, but those of train are"
                f" {', '.join(train.class_names)}"
            )
        seen = [bool(part.masks[..., channel].any()) for channel in range(part.num_classes)]
        if split == "train" and not any(seen):
            raise DataError(f"{part.name}: no training mask has any foreground; look at the masks")
        absent = [name for name, found in zip(part.class_names, seen, strict=True) if not found]
        if absent:
            warnings.append(f"{part.name}: no pixel of {', '.join(absent)} in the {split} masks")
        if part.ignore is not None and part.ignore.all():
            raise DataError(f"{part.name}: every pixel of the {split} split is ignored")
    digests: dict[bytes, str] = {}
    shared: dict[tuple[str, str], int] = {}
    for split, part in parts.items():
        for digest in {hashlib.sha256(image.tobytes()).digest() for image in part.images}:
            other = digests.setdefault(digest, split)
            if other != split:
                shared[other, split] = shared.get((other, split), 0) + 1
    for (one, other), count in shared.items():
        pictures = "picture is" if count == 1 else "pictures are"
        warnings.append(
            f"{train.source or train.name}: {count} {pictures} in both {one} and {other};"
            f" scores there say little"
        )
    return warnings
