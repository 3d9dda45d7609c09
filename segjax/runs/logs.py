"""Where a run's records go beside the JSONL log: a CSV file always, TensorBoard if asked."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from segjax.errors import ConfigError

# Of every CSV, in this order, so that files of several runs can be pasted together.
CSV_COLUMNS = ("step", "epoch", "iter", "kind", "loss", "mean_over",
               "val_loss", "val_miou", "seconds")  # fmt: skip
FLUSH_S = 5
# What TensorBoard shows: the record's key and the name of its curve.
CURVES = {"loss": "train/loss", "val_loss": "validation/loss", "val_miou": "validation/miou"}


def csv_text(records: Iterable[Mapping[str, Any]]) -> str:
    """Return records as CSV: a header, then a row each; what a record lacks is empty.

    Keys beyond `CSV_COLUMNS` get columns after them, in the order in which they first occur.
    """
    rows = list(records)
    columns = dict.fromkeys([*CSV_COLUMNS, *(key for row in rows for key in row)])
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def check_tensorboard() -> Any:
    """Return tensorboardX; ConfigError if it, which ``segjax[tensorboard]`` has, is missing."""
    try:
        import tensorboardX
    except ImportError:
        raise ConfigError(
            "--tensorboard needs the package tensorboardX: pip install 'segjax[tensorboard]'"
        ) from None
    return tensorboardX


class TensorBoard:
    """Writes records as TensorBoard scalars, in a folder of event files.

    Raises ConfigError as `check_tensorboard`.
    """

    def __init__(self, folder: Path | str, *, step: int = 0) -> None:
        """Open a new event file; what an earlier session wrote after ``step`` is hidden."""
        writer = check_tensorboard().SummaryWriter
        # A resumed run writes the steps after its checkpoint again; without a checkpoint, all.
        # The thread writes when it likes, whatever flush() says: a killed run loses this much.
        # Files are named by the second: the number is for a session begun within that second.
        number = f".{len(list(Path(folder).glob('*')))}"
        self._writer = writer(
            str(folder), flush_secs=FLUSH_S, purge_step=step + 1, filename_suffix=number
        )

    def add(self, record: Mapping[str, Any]) -> None:
        """Write the curves' values of one record at its step."""
        for key, curve in CURVES.items():
            if record.get(key) is not None:
                self._writer.add_scalar(curve, record[key], record["step"])

    def close(self) -> None:
        """Write what is still held back and close the event file."""
        self._writer.close()
