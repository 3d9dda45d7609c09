"""The errors that the suite measures, and the table that it writes of them."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def relative(found: Any, expected: Any) -> float:
    """Return the norm of the difference over the norm of what is expected."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape
    size = float(np.linalg.norm(expected.ravel()))
    difference = float(np.linalg.norm((found - expected).ravel()))
    return difference / size if size else difference


def largest(found: Mapping[str, Any], expected: Mapping[str, Any]) -> tuple[float, str]:
    """Return the largest relative error over tensors of the same names, and whose it is."""
    assert found.keys() == expected.keys()
    return max((relative(found[name], expected[name]), name) for name in expected)


@dataclass
class Row:
    """One quantity: how it is judged, and the largest error seen for each network."""

    precision: str
    limit: float
    cells: dict[str, float] = field(default_factory=dict)


@dataclass
class Measurements:
    """What one session measured."""

    rows: dict[str, Row] = field(default_factory=dict)

    def check(
        self,
        quantity: str,
        error: float,
        *,
        limit: float,
        network: str = "any",
        precision: str = "float64",
        where: str = "",
    ) -> None:
        """Record an error and fail if it exceeds its limit (or is no number)."""
        row = self.rows.setdefault(quantity, Row(precision, limit))
        row.cells[network] = max(error, row.cells.get(network, 0.0))
        assert error <= limit, f"{quantity}, {network}: {error:.2e} > {limit:.0e} {where}"

    def write(self, path: Path) -> None:
        """Replace the part of ``path`` between the marks by the table of this session."""
        before, after = HEADER, ""
        if path.exists():
            text = path.read_text()
            before, _, rest = text.partition(BEGIN)
            after = rest.partition(END)[2]
        path.write_text(before + BEGIN + "\n" + self.table() + END + after)

    def table(self) -> str:
        """Return the table in Markdown, with what it was measured on."""
        networks = sorted({n for row in self.rows.values() for n in row.cells if n != "any"})
        networks.sort(key=lambda name: (int(name.split()[1].rstrip(",")), name))
        lines = [
            "| quantity | precision | limit | " + " | ".join(networks) + " | any network |",
            "|---" * (len(networks) + 4) + "|",
        ]
        for quantity, row in self.rows.items():
            limit = f"{row.limit:.0e}" if np.isfinite(row.limit) else "none"
            errors = [row.cells.get(name) for name in (*networks, "any")]
            cells = ["" if error is None else f"{error:.1e}" if error else "0" for error in errors]
            lines.append("| " + " | ".join([quantity, row.precision, limit, *cells]) + " |")
        packages = ", ".join(
            f"{name} {version(name)}" for name in ("DLStudio", "torch", "jax", "flax", "numpy")
        )
        machine = f"CPU ({platform.machine()}), Python {platform.python_version()}"
        return "\n".join([*lines, "", f"{packages}; {machine}.", ""])


HEADER = """# Parity with DLStudio's mUnet

Measured against DLStudio itself (`pip install --no-deps DLStudio==2.3.6`), not against a second
port. Both sides hold the same seeded weights and non-trivial running statistics and see the same
real images of PurdueShapes5MultiObject. An error is relative: the norm of the difference over the
norm of DLStudio's tensor; of several tensors the largest is given. Biases of convolutions that a
batch norm follows have gradient zero, and both sides return rounding noise there; that noise is
compared with the gradient of the same layer's kernel instead.

Without skip connections DLStudio's own backward pass does not run in PyTorch: mUnet overwrites, in
place, relu outputs that the gradient needs. The suite gives every relu's result its own memory,
which changes nothing that is computed.

This part is written by `SEGJAX_PARITY_REPORT=docs/parity.md pytest tests/parity -m ""`:

"""
