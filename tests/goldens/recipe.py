"""Inputs that tests with and without PyTorch share: seeded weights and a few real images.

The weights are NumPy's, so they are the same on both sides without being stored.
"""

import json
import math
import zlib
from pathlib import Path

import numpy as np

from segjax.dlstudio import layout

FOLDER = Path(__file__).parent
# 20 images and masks of PurdueShapes5MultiObject-20-train.gz, cut by scripts/parity/goldens.py.
IMAGES = FOLDER / "images.npz"
TORCH_FILE = FOLDER / "torch_save.zip"

LEARNING_RATES = {"mse": 1e-4, "dice": 1e-2, "combo": 1e-4}
MOMENTUM = 0.9
DICE_SCALE = 20.0
STEPS = 10


def pinned(name):
    """Return the values that ``name``.json holds."""
    return json.loads((FOLDER / f"{name}.json").read_text("utf-8"))


def random_state_dict(*, depth, seed=0):
    """Draw a state_dict, float64: convolutions as PyTorch does, batch norms away from 0 and 1.

    Every tensor has its own stream, named by its name, so depth changes no other tensor. Batch
    norms shift by about 1, so that relus cut off some of their input, not half of it: with
    PyTorch's initial 0 the gradients of a deep mUnet without skip connections explode, and ten
    steps amplify a change of the last bit to more than any tolerance, in one framework alone.
    """
    result = {}
    for layer in layout.layers(layout.Kind(depth)):
        for part, shape in layer.shapes().items():
            name = f"{layer.name}.{part}"
            random = np.random.default_rng([seed, zlib.crc32(name.encode())])
            if part == "num_batches_tracked":
                value = np.asarray(7)
            elif layer.kind == "norm" and part in ("weight", "running_var"):
                value = random.uniform(0.5, 1.5, shape)
            elif layer.kind == "norm":
                value = random.normal(1.0 if part == "bias" else 0.0, 0.2, shape)
            else:
                fan_in = layer.size**2 * (layer.inputs if layer.kind == "conv" else layer.outputs)
                value = random.uniform(-1, 1, shape) / np.sqrt(fan_in)
            result[name] = value
    return result


def real_images():
    """Return images uint8 [20, 64, 64, 3] and masks uint8 [20, 64, 64, 5]."""
    with np.load(IMAGES) as stored:
        return stored["images"], stored["masks"]


def batches(*, size, count):
    """Return ``count`` batches of real images and masks, going round and round in order."""
    images, masks = real_images()
    picks = np.arange(size * count).reshape(count, size) % len(images)
    return [(images[pick], masks[pick]) for pick in picks]


def golden_batches(*, count):
    """Return ``batches`` of two, cut to their middle 24 rows and columns: a golden stays small."""
    middle = np.s_[:, 20:44, 20:44]
    return [(images[middle], masks[middle]) for images, masks in batches(size=2, count=count)]


def golden_path(*, depth, skip):
    """Return where the golden of one network is."""
    return FOLDER / f"dlstudio_depth{depth}_{'skips' if skip else 'none'}.npz"


def digest(tensors):
    """Return norm and projection on ``probe`` of each tensor, [names in order, 2]."""
    named = sorted(tensors.items())
    return np.array([[np.linalg.norm(v), np.sum(v * probe(name, v.shape))] for name, v in named])


def torch_file_tensors():
    """Return what TORCH_FILE holds."""
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    return {
        "plain": base,
        "transposed": base.T,
        "slice": base[1:3, ::2],
        "scalar": np.asarray(7),
        "double": np.array([np.pi]),
        "parameter": np.array([1.5, -0.0], np.float32),
    }


def probe(name, shape):
    """Return the direction, of unit length on average, that a golden projects a tensor on."""
    random = np.random.default_rng([1, zlib.crc32(name.encode())])
    return random.standard_normal(shape) / math.sqrt(max(math.prod(shape), 1))
