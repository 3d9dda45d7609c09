"""The report's own recipe, MSE + 400 Dice, mean IoU 0.24: hours on a CPU, minutes on a GPU.

    python -m segjax.main --config=configs/report.py

DLStudio's network and layers, depth 16, SGD 1e-4 with momentum 0.9, batches of 4, 6 epochs, raw
images and mask values. ``--head=dense --upsampling=dense`` repairs the layers.
"""

from segjax.config import Config


def get_config() -> Config:
    """Return the settings of the report."""
    return Config(loss="combo", loss_params={"dice_scale": 400.0})
