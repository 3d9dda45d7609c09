"""segjax: semantic segmentation in JAX, with DLStudio's mUnet as its starting point.

Names are loaded on first use, so that ``import segjax.losses`` brings in jax and nothing heavier.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Config": "segjax.config",
    "MUnet": "segjax.networks.munet",
    "Predictor": "segjax.predict.predictor",
    "TrainState": "segjax.training.step",
    "UNet": "segjax.networks.unet",
    "init_state": "segjax.training.step",
    "make_eval_step": "segjax.training.evaluate",
    "make_train_step": "segjax.training.step",
    "run": "segjax.training.run",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'segjax' has no attribute {name!r}")
