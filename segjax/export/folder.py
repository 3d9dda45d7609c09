"""The exported folder: the formats, their checks, export.json and a README that says how to run."""

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

import segjax
from segjax.errors import CheckpointError, ConfigError, Say
from segjax.export import formats as writers
from segjax.export.card import readme
from segjax.files import new_folder
from segjax.predict.trained import Trained, Which, load_trained, strongest
from segjax.runs.folder import RunFolder

EXPORT_FILE = "export.json"
Size = tuple[int, int]

DEFAULT_SIZE = (64, 64)  # of runs that did not note the size of their images
CHECK_BATCHES = (1, 2, 5)
Reference = dict[int, tuple[np.ndarray, np.ndarray]]  # batch size -> images, the run's own scores
# Of the run's, in export.json.
SETTINGS = (
    *("depth", "head", "upsampling", "skip_connections"),
    *("input_range", "dtype", "loss", "targets"),
)
# Rounding may carry a score over one half, or one class over its equal.
LABELS_MAY_DIFFER = 1e-3


def export_run(
    run_folder: str | Path,
    out: str | Path,
    *,
    formats: Sequence[str] = ("jax",),
    size: Size | None = None,
    which: Which = "best",
    say: Say = print,
) -> dict[str, Any]:
    """Write the folder ``out``, whole or not at all, and return what export.json says.

    Every format is run on images at several batch sizes and compared with the run's own network.

    Raises ConfigError for a folder in use, a format that the network cannot have, or a package that
    is missing; CheckpointError if the run has no good checkpoint or an exported network differs.
    """
    target = Path(out)
    RunFolder(run_folder).config()  # before advice on ``out``: is it the run, the two swapped?
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"{target}: exists already; remove it or name another folder")
    trained = load_trained(run_folder, which=which)
    size = size or trained.image_size or DEFAULT_SIZE
    for name in formats:
        writers.FORMATS[name].refuse(trained)
    reference = make_reference(trained, size)
    config, checks = trained.config, dict[str, Any]()
    about = {
        "segjax": segjax.__version__,
        "jax": jax.__version__,
        "run": trained.folder.name,
        "step": trained.step,
        "classes": list(trained.class_names),
        "network": config.network_name(),
        **{name: getattr(config, name) for name in SETTINGS},
        "scores": trained.objective.reads,
        "batch_norm": "running",
        "image_size": list(size),
        "training_image_size": None if trained.image_size is None else list(trained.image_size),
        "formats": checks,
    }
    with new_folder(target) as work:
        for name in formats:
            check = checks[name] = export_one(writers.FORMATS[name], trained, work, size, reference)
            differences = check["largest_difference_by_batch_size"]
            say(
                f"{name}: {target / check['file']}, {check['bytes'] / 1e6:.1f} MB, batch sizes "
                f"{', '.join(differences)}: scores differ by at most "
                f"{max(differences.values()):.2g} (largest score {check['largest_score']:.3g})"
            )
        (work / EXPORT_FILE).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        (work / "README.md").write_text(readme(about), encoding="utf-8")
    say(f"{target}: see README.md in it")
    return about


def make_reference(trained: Trained, size: Size) -> Reference:
    """Compute what the run's network gives for images of every kind of pixel."""
    scores_of = jax.jit(trained.scores)
    random = np.random.default_rng(0)
    reference = {}
    for batch in CHECK_BATCHES:
        noise = random.integers(0, 256, (batch, *size, 3), dtype=np.uint8)
        flat = random.integers(0, 256, (batch, 1, 1, 3), dtype=np.uint8)
        left = np.arange(size[1])[:, None] < size[1] // 2
        images = np.where(left, noise, flat)
        reference[batch] = images, np.asarray(scores_of(dict(trained.variables), images))
    return reference


def export_one(
    form: writers.Format, trained: Trained, folder: Path, size: Size, reference: Reference
) -> dict[str, Any]:
    """Write one format, run what was written, and return the comparison.

    Raises CheckpointError if it differs by more than its tolerance.
    """
    path = folder / form.file
    form.write(trained, path, size)
    tolerance = form.tolerances[trained.config.dtype != "float32"]
    differences, labels_differ, largest_score = {}, 0.0, 0.0
    for batch, (images, wanted) in reference.items():
        scores, labels = form.run(trained, path, images)
        difference = float(np.abs(scores - wanted).max())
        largest = float(np.abs(wanted).max())
        largest_score = max(largest_score, largest)
        limit = tolerance * max(1.0, largest)
        if not difference <= limit:
            raise CheckpointError(
                f"{form.file}: scores differ by {difference:.3g} at batch size {batch}, more than "
                f"{limit:.3g}; it was not exported"
            )
        differences[str(batch)] = difference
        own = strongest(wanted, multiclass=trained.multiclass)
        labels_differ = max(labels_differ, float((labels != own).mean()))
    if labels_differ > LABELS_MAY_DIFFER + tolerance:
        raise CheckpointError(
            f"{form.file}: {labels_differ:.2%} of the labels differ; it was not exported"
        )
    return {
        "file": form.file,
        "bytes": path.stat().st_size,
        "largest_score": largest_score,
        "largest_difference_by_batch_size": differences,
        "tolerance_relative_to_largest_score_or_1": tolerance,
        "share_of_labels_that_differ": labels_differ,
        "packages": {name: version(name) for name in ("jax", *form.packages)},
    }
