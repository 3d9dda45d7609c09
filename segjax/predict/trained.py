"""A trained network as its run folder holds it: weights, settings, classes."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from segjax.classes import PURDUE_SHAPES_LABELS
from segjax.config import Config
from segjax.data.own.source import is_own
from segjax.errors import CheckpointError, ConfigError
from segjax.loss_table import CLASS_WEIGHT_RULES
from segjax.networks.build import Network, make_network
from segjax.runs.checkpoints import load_params
from segjax.runs.folder import RunFolder
from segjax.runs.identity import settings_changed
from segjax.training.evaluate import apply_network
from segjax.training.objective import Objective, make_objective

Array = jax.Array
Stats = Literal["running", "batch"]
Which = int | Literal["best", "newest"]

MAX_CLASSES = 255  # what an 8-bit mask can name beside the background


@dataclasses.dataclass(frozen=True)
class Trained:
    """A network with the weights that its run tested.

    Attributes:
      folder: the run's folder.
      config: the run's settings.
      model: the network.
      objective: what its outputs mean.
      variables: 'params' (the moving average where the run kept one) and 'batch_stats'.
      class_names: in channel order.
      image_size: height and width of the training images; None where the run did not note it.
      step: steps trained, None where the run did not note it.
    """

    folder: Path
    config: Config
    model: Network
    objective: Objective
    variables: Mapping[str, Any]
    class_names: tuple[str, ...]
    image_size: tuple[int, int] | None
    step: int | None

    @property
    def multiclass(self) -> bool:
        """Whether the classes and the background share one distribution (softmax)."""
        return self.objective.reads == "softmax"

    def trained_scale(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the height and width at which training would have shown a picture of ``size``.

        Own pictures were scaled to the run's size: both sides to it ('resize'), or together until
        they cover it ('crop') or lie within it ('pad'). Other data came as they were.
        """
        if self.image_size is None or not is_own(self.config.data):
            return size
        if self.config.fit == "resize":
            return self.image_size
        ratios = [out / side for out, side in zip(self.image_size, size, strict=True)]
        scale = max(ratios) if self.config.fit == "crop" else min(ratios)
        return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))

    def scores(self, variables: Any, images: Array, *, stats: str = "running") -> Array:
        """Map images [B, H, W, 3] (0..255) to float32 scores [B, H, W, C], 1 for 'this class'.

        Sigmoid and softmax give probabilities; regression gives the share of the mask value, which
        may leave 0..1.
        """
        outputs = apply_network(self.model, variables, images, stats=stats)
        return self.objective.scores(outputs).astype(jnp.float32)


def load_trained(run_folder: str | Path, *, which: Which = "best") -> Trained:
    """Read a run folder: the best checkpoint by validation, or the newest where none is best.

    Raises ConfigError if the folder holds no run and CheckpointError if no good checkpoint is left
    or the weights are of another network than config.json says.
    """
    folder = RunFolder(run_folder)
    config = folder.config()
    if config.seeds > 1:
        raise ConfigError(
            f"{folder.path}: holds {config.seeds} runs; name one of them, such as "
            f"{folder.path / f'seed{config.seed}'}"
        )
    params, batch_stats, meta = load_params(folder.checkpoints, which=which)
    if changes := settings_changed(meta, config):
        told = f"config.json is not what the checkpoint was trained with: {'; '.join(changes)}"
        raise CheckpointError(f"{folder.path}: {told}; put it back")
    labels = meta.get("label_map") or _labels_of(folder, params)
    if len(labels) > MAX_CLASSES:
        raise ConfigError(f"{folder.path}: has {len(labels)} classes; at most {MAX_CLASSES} fit")
    # Training computes these of its masks; outputs do not depend on them.
    ruled = config.loss_params.get("loss_class_weights") in CLASS_WEIGHT_RULES
    parameters = {**config.loss_params} | ({"loss_class_weights": ""} if ruled else {})
    values = tuple(labels.values())
    objective = make_objective(
        config.loss, class_values=values, targets=config.targets, parameters=parameters
    )
    model = make_network(config, num_classes=objective.num_outputs)
    variables = {"params": params, "batch_stats": batch_stats}
    images = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    wanted = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), images)
    here, there = (
        {jax.tree_util.keystr(where): leaf.shape for where, leaf in leaves}
        for leaves in map(jax.tree_util.tree_leaves_with_path, (dict(wanted), variables))
    )
    for name in sorted(here.keys() | there.keys()):
        if here.get(name) != there.get(name):
            raise CheckpointError(
                f"{folder.path}: the weights do not fit config.json: {name} is {there.get(name)} "
                f"in the checkpoint and {here.get(name)} by the settings"
            )
    height, width = meta.get("image_size") or (0, 0)
    size = (int(height), int(width)) if height else None
    step = (meta.get("progress") or {}).get("step")
    return Trained(folder.path, config, model, objective, variables, tuple(labels), size, step)


def which_of(text: str) -> Which:
    """Return the checkpoint that the flag ``--which`` means."""
    if text in ("best", "newest"):
        return text  # type: ignore[return-value]
    if text.isdecimal():
        return int(text)
    raise ConfigError(f"--which={text}: give best, newest or the number of a step")


def strongest(scores: Any, *, multiclass: bool) -> Any:
    """Turn scores [..., C] into labels uint8 [...]: 0 background, else channel + 1.

    A class counts above one half, and of several the strongest wins. Exclusive classes compete
    with the background, whose probability is what they leave of 1. NumPy's or JAX's arrays.
    """
    where = jnp.where if isinstance(scores, jax.Array) else np.where
    floor = 1.0 - scores.sum(-1) if multiclass else 0.5
    return where(scores.max(-1) > floor, scores.argmax(-1) + 1, 0).astype(np.uint8)


def _labels_of(folder: RunFolder, params: Mapping[str, Any]) -> dict[str, int]:
    """Return the classes of a run whose checkpoint does not name them."""
    purdue = dict(PURDUE_SHAPES_LABELS)
    try:
        names = list(folder.results()["classes"])
    except (ConfigError, KeyError, TypeError):
        (outputs,) = np.shape(params["conv_out"]["bias"])
        if outputs == len(purdue):
            return purdue
        raise ConfigError(
            f"{folder.path}: does not say what its {outputs} outputs are called; let the run "
            "end, or train it with this version"
        ) from None
    return purdue if names == list(purdue) else dict.fromkeys(names, 1)
