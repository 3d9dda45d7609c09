"""The errors that the suite measures, and the table that it writes of them."""

import platform
from importlib.metadata import version

import numpy as np

from scripts.docs.markdown import table, write_part


def relative(found, expected):
    """Return the norm of the difference over the norm of what is expected."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape
    size = float(np.linalg.norm(expected.ravel()))
    difference = float(np.linalg.norm((found - expected).ravel()))
    return difference / size if size else difference


def largest(found, expected):
    """Return the largest relative error over tensors of the same names, and whose it is."""
    assert found.keys() == expected.keys()
    return max((relative(found[name], expected[name]), name) for name in expected)


class Measurements:
    """What one session measured: of each quantity the largest error seen for each network."""

    def __init__(self):
        self.rows = {}

    def check(self, quantity, error, *, limit, network="any", precision="float64", where=""):
        """Record an error and fail if it exceeds its limit (or is no number)."""
        *_, cells = self.rows.setdefault(quantity, (precision, limit, {}))
        cells[network] = max(error, cells.get(network, 0.0))
        assert error <= limit, f"{quantity}, {network}: {error:.2e} > {limit:.0e} {where}"

    def write(self, path):
        """Put a table of this session, and what it was measured on, between the marks of a page."""
        networks = sorted({n for *_, cells in self.rows.values() for n in cells if n != "any"})
        networks.sort(key=lambda name: (int(name.split()[1].rstrip(",")), name))
        rows = []
        for quantity, (precision, limit, cells) in self.rows.items():
            errors = [cells.get(name) for name in (*networks, "any")]
            shown = ["" if error is None else f"{error:.1e}" if error else "0" for error in errors]
            told = f"{limit:.0e}" if np.isfinite(limit) else "none"
            rows.append([quantity, precision, told, *shown])
        names = ("DLStudio", "torch", "jax", "flax", "numpy")
        packages = ", ".join(f"{name} {version(name)}" for name in names)
        machine = f"CPU ({platform.machine()}), Python {platform.python_version()}"
        lines = table(["quantity", "precision", "limit", *networks, "any network"], rows)
        text = "\n".join([*lines, "", f"{packages}; {machine}."])
        write_part(path, "measured", "tests/parity", text)
