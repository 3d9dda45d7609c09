"""Networks that compile in a second, for tests of what is around them."""

import functools

import flax.linen as nn
import numpy as np

from segjax.classes import PURDUE_SHAPES_LABELS
from segjax.config import Config
from segjax.data.splits import load_splits
from segjax.networks.layers import BatchNorm, Conv, DenseHead, max_pool_2x2, relu
from segjax.runs.folder import RunFolder
from segjax.training.objective import make_objective
from segjax.training.program import make_program
from segjax.training.trainer import Trainer

# What makes a run's settings those of the smallest network that they can describe.
SMALL = {"network": "unet", "head": "dense", "unet_widths": "8", "unet_patch": 4}
SMALL["depth"] = Config.depth
# The same undone: mUnet, at its least depth.
MUNET = {name: getattr(Config, name) for name in SMALL} | {"depth": 2}
CLASS_VALUES = tuple(PURDUE_SHAPES_LABELS.values())
objective_of = functools.partial(make_objective, class_values=CLASS_VALUES)


class SmallNet(nn.Module):
    """Each weight has a gradient: a bias that a batch norm takes out again has only rounding."""

    num_classes: int = 5

    @nn.compact
    def __call__(self, images, *, train):
        x = images.astype("float32") / 255.0
        x = max_pool_2x2(nn.tanh(Conv(8, name="conv_in")(x)))
        x = BatchNorm(name="bn")(x, train=train)
        x = relu(Conv(8, name="conv")(x))
        return DenseHead(self.num_classes, name="conv_out")(x)


def small_run(folder, **settings):
    """The settings of a whole run that takes seconds: 2 epochs of 5 steps, two means each."""
    data = {"data": "synthetic", "synthetic_train": 26, "synthetic_test": 10, "val_images": 6}
    usual = {"epochs": 2, "log_steps": 2, "progress": "off", "run_dir": str(folder)}
    return Config(**data | usual | SMALL | settings)


def built(config, say=None):
    """A run's trainer, without a folder on the disk yet, and its state of step 0."""
    splits = load_splits(config, say=silent)
    program = make_program(config, splits)
    trainer = Trainer(config, splits, program, RunFolder(config.run_dir), say=say or silent)
    return trainer, program.initial_state(config, splits.train.images.shape[1:])


def losses_of(folder):
    """All losses that a run has logged, those of validation too."""
    rows = RunFolder(folder).records()
    return np.array([row.get("loss", row.get("val_loss")) for row in rows])


def silent(_line):
    """Hear a line of a run and say nothing."""
