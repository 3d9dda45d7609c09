"""Networks with random weights, for tests of single formats."""

import jax
import numpy as np

from segjax.config import Config
from segjax.networks.build import make_network
from segjax.predict.trained import Trained
from segjax.training.objective import make_objective
from tests import small_net

SMALL = small_net.SMALL | {"unet_widths": "4,8"}


def untrained(tmp_path, *, loss="bce", depth=8, **settings):
    """A network whose every block runs, with weights and statistics away from their start."""
    config = Config(loss=loss, depth=depth, **settings)
    objective = make_objective(loss, class_values=(50, 100, 150), targets=config.targets)
    model = make_network(config, num_classes=objective.num_outputs)
    images = jax.ShapeDtypeStruct((1, 16, 16, 3), np.float32)
    shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), images)
    random = np.random.default_rng(1)

    def draw(path, leaf):
        if path[-1].key in ("var", "scale"):
            return random.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        spread = 0.1 if leaf.ndim == 1 else 1 / np.sqrt(np.prod(leaf.shape[:-1]))
        return random.normal(0, spread, leaf.shape).astype(np.float32)

    variables = jax.tree_util.tree_map_with_path(draw, shapes)
    names = ("one", "two", "three")
    return Trained(tmp_path, config, model, objective, variables, names, (16, 16), 0)
