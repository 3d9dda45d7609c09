"""Using a loss alone stays light."""

import subprocess
import sys

HEAVY = ("flax", "optax", "orbax", "absl", "matplotlib", "tensorstore", "scipy.ndimage", "torch")


def _modules_after(statement):
    code = f"{statement}; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_losses_import_jax_and_nothing_heavier():
    loaded = _modules_after("import segjax.losses")
    assert "jax" in loaded
    assert not loaded & set(HEAVY)


def test_the_table_needs_no_jax():
    loaded = _modules_after("import segjax.loss_table")
    assert not loaded & {"jax", "numpy", *HEAVY}
