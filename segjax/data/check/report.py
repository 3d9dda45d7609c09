"""What a check of data found, as lines for a terminal and as plain values."""

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence

import numpy as np

from segjax.data.own.problems import KINDS, Problem, by_kind, describe, printable
from segjax.data.own.resize import Size
from segjax.data.own.samples import Sample, region_boxes

_SIZES_SHOWN = 6


@dataclasses.dataclass
class SplitReport:
    """What one split holds; pixels are counted in the pictures' own sizes."""

    images: int = 0
    sizes: Counter[str] = dataclasses.field(default_factory=Counter)  # by 'HEIGHTxWIDTH'
    # Of each class: its pixels, the pictures that show it, COCO's objects or connected regions.
    class_pixels: Counter[str] = dataclasses.field(default_factory=Counter)
    class_images: Counter[str] = dataclasses.field(default_factory=Counter)
    objects: Counter[str] = dataclasses.field(default_factory=Counter)
    pixels: int = 0  # that count
    ignored_pixels: int = 0

    def add(self, sample: Sample, class_names: Sequence[str]) -> None:
        """Count one picture."""
        height, width = sample.size
        ignored = 0 if sample.ignore is None else int(sample.ignore.sum())
        self.images += 1
        self.sizes[_size_text(sample.size)] += 1
        self.pixels += height * width - ignored
        self.ignored_pixels += ignored
        boxes = region_boxes(sample.masks) if sample.boxes is None else sample.boxes
        found = [channel for channel, _ in boxes]
        for channel, name in enumerate(class_names):
            on = int(np.count_nonzero(sample.masks[..., channel]))
            self.class_pixels[name] += on
            self.class_images[name] += on > 0
            self.objects[name] += found.count(channel)


@dataclasses.dataclass
class Report:
    """Everything the check found; ``failed`` is what the exit code says."""

    where: str
    layout: str
    class_names: tuple[str, ...]
    trained_size: Size | None
    splits: dict[str, SplitReport]
    problems: list[Problem]
    notes: list[str]

    @property
    def failed(self) -> bool:
        """Whether there is a problem that is more than a notice."""
        return any(KINDS[problem.kind].level != "notice" for problem in self.problems)

    def text(self) -> str:
        """Return the report in lines for a terminal."""
        lines = [f"{self.where}: {self.layout}"]
        if self.trained_size is not None:
            lines.append(f"images are trained on at {_size_text(self.trained_size)} pixels")
        lines += [f"note: {note}" for note in self.notes]
        for split, part in self.splits.items():
            shown = [f"{size} ({count})" for size, count in part.sizes.most_common(_SIZES_SHOWN)]
            rest = len(part.sizes) - _SIZES_SHOWN
            sizes = ", ".join(shown) + (f" and {rest} more sizes" if rest > 0 else "")
            sizes = sizes if len(shown) != 1 else next(iter(part.sizes))
            lines += ["", f"{split}: {part.images} images, height x width {sizes}"]
            lines += _class_lines(part, self.class_names)
        lines.append("")
        groups = by_kind(self.problems)
        lines += [f"{KINDS[kind].level}: {describe(some)}" for kind, some in groups.items()]
        counts = Counter(KINDS[problem.kind].level for problem in self.problems)
        words = [f"{n} {level}{'s' * (n > 1)}" for level, n in sorted(counts.items())]
        lines.append(f"result: {', '.join(words) or 'nothing wrong'}")
        return "\n".join(lines) + "\n"

    def json(self) -> str:
        """Return the report as a JSON object."""
        return json.dumps({**vars(self), "failed": self.failed}, default=vars, indent=2) + "\n"


def _size_text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def _class_lines(part: SplitReport, names: Sequence[str]) -> list[str]:
    if not part.pixels:
        return []
    width = max(len(printable(name)) for name in [*names, "background"])
    lines = [
        f"  {printable(name):{width}} {100 * part.class_pixels[name] / part.pixels:6.2f} % of"
        f" pixels, in {part.class_images[name]} images, {part.objects[name]} objects"
        for name in names
    ]
    if part.ignored_pixels:
        share = 100 * part.ignored_pixels / (part.pixels + part.ignored_pixels)
        lines.append(f"  {'(ignored)':{width}} {share:6.2f} % of all pixels")
    return lines
