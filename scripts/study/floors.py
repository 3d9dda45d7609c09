"""What bounds the report's losses, and what their gradients weigh: from the masks alone."""

import dataclasses
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from segjax.config import Config
from segjax.dlstudio.floors import output_layer_floors


@dataclasses.dataclass(frozen=True)
class Reach:
    """The inner products that decide what multiples of the best outputs score on some masks.

    With t the masks and P the projection onto what the output layer can write, the outputs a P t
    have ``MSE = energy - 2 a projected + a^2 projected`` and
    ``Dice = 1 - 2 a projected / (a^2 projected + energy)``. No other outputs score less under a
    sum of the two: its gradient is a combination of p and t, which vanishes within the layer's
    space only at a multiple of P t.

    Attributes:
      energy: |t|^2 over the number of values, the MSE of empty outputs.
      lowest: the lowest MSE; ``projected``, |P t|^2 over the number of values, is the rest.
    """

    energy: float
    lowest: float

    def loss(self, amplitude: Any, *, mse: float, dice: float) -> Any:
        """Return ``mse * MSE + dice * Dice`` of ``amplitude`` P t."""
        projected = self.energy - self.lowest
        wrong = self.energy + (amplitude**2 - 2 * amplitude) * projected
        overlap = 2 * amplitude * projected / (amplitude**2 * projected + self.energy)
        return mse * wrong + dice * (1 - overlap)

    def best(self, *, mse: float, dice: float) -> tuple[float, float]:
        """Return the lowest ``mse * MSE + dice * Dice`` and the amplitude that reaches it."""
        # Both fall up to 1 and rise beyond Dice's own best, so the best lies between.
        dices = (self.energy / (self.energy - self.lowest)) ** 0.5
        found = minimize_scalar(
            lambda a: self.loss(a, mse=mse, dice=dice),
            bounds=(1.0, max(1.0, dices) + 1e-6),
            method="bounded",
            options={"xatol": 1e-7},
        )
        return float(found.fun), float(found.x)


def reach_of(masks: np.ndarray) -> Reach:
    """Return what DLStudio's output layer can do for masks [N, H, W, C] seen as one batch."""
    found = output_layer_floors(masks)
    return Reach(found.mse_all_zero, found.mse)


def loss_floor(config: Config, masks: np.ndarray) -> float | None:
    """Return a bound on the mean batch loss of a run with DLStudio's output layer, or None.

    MSE is a mean over pixels, so its floor is the set's own, with one constant per channel. Dice is
    a ratio within each batch: bounding every batch by itself, with constants of its own, bounds the
    mean. Batches are consecutive images here; another order moves the mean a little.
    """
    scale = float(config.loss_params.get("dice_scale", 20.0))
    weights = {"mse": (1.0, 0.0), "dice": (0.0, 1.0), "combo": (1.0, scale)}
    if config.head != "dlstudio" or config.loss not in weights:
        return None
    if config.targets == "unit":
        masks = (masks > 0).astype(np.uint8)
    mse, dice = weights[config.loss]
    size = config.batch_size if dice else len(masks)
    starts = range(0, len(masks) - size + 1, size)
    batches = (masks[start : start + size] for start in starts)
    return float(np.mean([reach_of(batch).best(mse=mse, dice=dice)[0] for batch in batches]))


def facts(masks: np.ndarray) -> dict[str, Any]:
    """Return the floors of a set of masks, and what Dice's gradient weighs against MSE's.

    At outputs of zero the gradients are -2 t / |t|^2 and -2 t / values: the same direction, with
    a ratio of the mean squared mask value. It depends on the unit that the masks are written in.
    """
    found = output_layer_floors(masks)
    unit = output_layer_floors((masks > 0).astype(np.uint8))
    units = {"unit_mse": unit.mse, "unit_mse_all_zero": unit.mse_all_zero}
    return {"images": len(masks), **dataclasses.asdict(found), "iou": found.iou.tolist(), **units}
