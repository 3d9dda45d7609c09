"""A finished run as one committed JSON file: what pages need once its folder is gone."""

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from scripts.study.measure import measures_of, shown_values
from segjax.data.splits import load_splits
from segjax.files import write_text
from segjax.predict.trained import load_trained
from segjax.runs.folder import RunFolder

SHOWN_IMAGES = 3  # the first with three classes or more
WHAT = "network outputs, rounded and clipped to 0..255, uint8, zlib, base64"


def keep_record(folder: Path, out: Path) -> None:
    """Write the results, losses, measures and shown outputs of the run in ``folder`` to ``out``."""
    run = RunFolder(folder)
    record = {
        "name": folder.name,
        "results": run.results(),
        "log": run.records(),
        "measured": measures_of(folder),
        "shown": shown(folder),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, json.dumps(record, indent=1) + "\n")


def shown(folder: Path) -> dict[str, Any]:
    """Return the outputs on the test images that the figures show, each within its own batch."""
    trained = load_trained(folder)
    data = load_splits(trained.config, say=lambda line: None).test
    rich = np.flatnonzero((data.masks > 0).any(axis=(1, 2)).sum(axis=-1) >= 3).tolist()
    rows = (rich or [*range(len(data))])[:SHOWN_IMAGES]
    values = shown_values(trained, data.images, rows)
    outputs = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    packed = base64.b64encode(zlib.compress(outputs.tobytes(), 9)).decode()
    return {"test_images": rows, "what": WHAT, "shape": list(outputs.shape), "outputs": packed}


def unpacked(record: dict[str, Any]) -> np.ndarray:
    """Return a record's shown outputs, uint8 [N, H, W, C]."""
    packed = zlib.decompress(base64.b64decode(record["shown"]["outputs"]))
    return np.frombuffer(packed, np.uint8).reshape(record["shown"]["shape"])
