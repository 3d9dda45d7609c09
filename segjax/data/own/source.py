"""One door to all kinds of own data: ``folder:PATH``, ``coco:ANNOTATIONS.json``, ``FILE.npz``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from segjax.data.dataset import Dataset
from segjax.data.own.coco import scan_coco
from segjax.data.own.folder import IGNORE_VALUE, scan_folder
from segjax.data.own.npz import scan_npz
from segjax.data.own.problems import Problem, printable, refuse
from segjax.data.own.resize import FITS, Size, choose_size
from segjax.data.own.samples import (
    TEST_SHARE,
    VAL_SHARE,
    Progress,
    Source,
    build_dataset,
    check_memory,
    divide,
    sizes_of,
)
from segjax.errors import ConfigError

KINDS = ("folder:PATH", "coco:ANNOTATIONS.json", "FILE.npz")


class OwnSplits(NamedTuple):
    """Own data, ready to train on; ``val`` and ``test`` are None when their share is 0."""

    train: Dataset
    val: Dataset | None
    test: Dataset | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class OwnOptions:
    """How own data is read; each field is a setting of a run.

    Attributes:
      image_size: side or (height, width) of the images, multiples of 8; None: chosen by the data.
      fit: 'resize', 'crop' or 'pad'; see ``resize.make_fit``.
      classes: the classes to use, in channel order; empty: all. COCO's categories, too.
      ignore_value: the value of mask pixels that do not count; None: there is none.
      val_share: share of the images to set aside for validation, unless the data says.
      test_share: share of the images to test on, unless the data says.
      images_dir: folder of the pictures that COCO annotations name.
      val_annotations: COCO file of the validation pictures.
      test_annotations: COCO file of the test pictures.
      min_object_area: ignore COCO objects of fewer pixels.
      single_object: use only pictures with exactly one COCO object.
      keep_empty: use pictures without any COCO object, too.
    """

    image_size: int | Size | None = None
    fit: str = "resize"
    classes: Sequence[str] = ()
    ignore_value: int | None = IGNORE_VALUE
    val_share: float = VAL_SHARE
    test_share: float = TEST_SHARE
    images_dir: str | Path | None = None
    val_annotations: str | Path | None = None
    test_annotations: str | Path | None = None
    min_object_area: float = 0
    single_object: bool = False
    keep_empty: bool = False

    def __post_init__(self) -> None:
        if self.fit not in FITS:
            raise ConfigError(f"--fit={self.fit}: choose one of {', '.join(FITS)}")
        if self.image_size is not None:
            choose_size(self.image_size, [])


def is_own(spec: str) -> bool:
    """Whether ``spec`` names own data rather than a data set by name."""
    return spec.startswith(("folder:", "coco:")) or spec.lower().endswith(".npz")


def scan_source(spec: str, options: OwnOptions | None = None) -> Source:
    """Scans the data that ``spec`` names, without reading the pictures.

    Raises:
      ConfigError: if ``spec`` is of no known kind.
      DataError: if the data cannot be understood.
    """
    options = options or OwnOptions()
    kind, _, path = spec.partition(":")
    classes = list(options.classes) or None
    if kind == "folder" and path:
        return scan_folder(path, classes=classes, ignore_value=options.ignore_value)
    if kind == "coco" and path:
        return scan_coco(
            path,
            images_dir=options.images_dir,
            val_annotations=options.val_annotations,
            test_annotations=options.test_annotations,
            categories=classes,
            min_area=options.min_object_area,
            single_object=options.single_object,
            keep_empty=options.keep_empty,
        )
    if spec.lower().endswith(".npz"):
        return scan_npz(spec, classes=classes, ignore_value=options.ignore_value)
    raise ConfigError(f"--data={printable(spec)}: expected {', '.join(KINDS)}")


def open_source(
    spec: str, options: OwnOptions | None = None, *, on_progress: Progress | None = None
) -> OwnSplits:
    """Loads own data as train, val and test, all of one size and with the same classes.

    ``on_progress(done, total)`` hears the number of images read.

    Raises:
      ConfigError: if ``spec`` or an option has a value that cannot work.
      DataError: one line that names the data, the files and what to do.
    """
    options = options or OwnOptions()
    source = scan_source(spec, options)
    refuse(source.where, source.problems)
    splits = divide(source, val_share=options.val_share, test_share=options.test_share)
    items = [item for some in splits.values() for item in some]
    problems: list[Problem] = []
    sizes = sizes_of(source, items, problems)
    refuse(source.where, problems)
    size = choose_size(options.image_size, sizes)
    check_memory(source.where, len(items), size, len(source.class_names))
    loaded: dict[str, Dataset | None] = {}
    done = 0
    for split, some in splits.items():
        if not some:
            loaded[split] = None
            continue
        loaded[split] = build_dataset(
            source,
            some,
            size=size,
            fit=options.fit,
            name=f"{Path(source.where).name} {split}",
            on_progress=on_progress and _shifted(on_progress, done, len(items)),
        )
        done += len(some)
    train = loaded["train"]
    assert train is not None  # divide refuses an empty train split
    return OwnSplits(train, loaded["val"], loaded["test"])


def _shifted(on_progress: Progress, before: int, total: int) -> Progress:
    """Returns a listener for one split that tells the count over all."""
    return lambda done, _: on_progress(before + done, total)
