"""What bounds the report's losses, and what their gradients weigh: from the masks alone."""

import dataclasses

import numpy as np
from scipy.optimize import minimize_scalar

from segjax.config import Config
from segjax.dlstudio.floors import best_outputs, output_layer_floors
from segjax.purdue import DLSTUDIO_WINDOWS


@dataclasses.dataclass(frozen=True)
class Reach:
    """The inner products that decide what multiples of the best outputs score on some masks.

    With t the masks and P the projection onto what the output layer can write, the outputs a P t
    have ``MSE = (energy - 2 a projected + a^2 projected) / values`` and
    ``Dice = 1 - 2 a projected / (a^2 projected + energy)``. No other outputs score less under a
    sum of the two: its gradient is a combination of p and t, which vanishes within the layer's
    space only at a multiple of P t.

    Attributes:
      energy: |t|^2.
      projected: |P t|^2.
      values: numbers in t.
    """

    energy: float
    projected: float
    values: int

    def mse(self, amplitude: float) -> float:
        """Return the mean squared error of ``amplitude`` P t."""
        return (self.energy + (amplitude**2 - 2 * amplitude) * self.projected) / self.values

    def dice(self, amplitude: float) -> float:
        """Return the Dice loss of ``amplitude`` P t."""
        return 1 - 2 * amplitude * self.projected / (amplitude**2 * self.projected + self.energy)

    def best(self, *, mse: float, dice: float) -> tuple[float, float]:
        """Return the lowest ``mse * MSE + dice * Dice`` and the amplitude that reaches it."""
        if not dice:
            return mse * self.mse(1.0), 1.0
        if not mse:
            amplitude = (self.energy / self.projected) ** 0.5
            return dice * self.dice(amplitude), amplitude
        # Both fall up to 1 and rise beyond Dice's own best, so the best lies between.
        found = minimize_scalar(
            lambda a: mse * self.mse(a) + dice * self.dice(a),
            bounds=(1.0, max(1.0, (self.energy / self.projected) ** 0.5) + 1e-6),
            method="bounded",
            options={"xatol": 1e-7},
        )
        return float(found.fun), float(found.x)


def reach_of(masks: np.ndarray) -> Reach:
    """Return what DLStudio's output layer can do for masks [N, H, W, C] seen as one batch."""
    best = best_outputs(masks)
    return Reach(
        energy=float(np.square(masks.astype(np.float64)).sum()),
        projected=float(np.square(best).sum()),
        values=masks.size,
    )


def loss_weights(config: Config) -> tuple[float, float] | None:
    """Return the weights of MSE and Dice in a run's loss; None for another loss."""
    if config.loss == "combo":
        return 1.0, float(config.loss_params.get("dice_scale", 20.0))
    return {"mse": (1.0, 0.0), "dice": (0.0, 1.0)}.get(config.loss)


def loss_floor(config: Config, masks: np.ndarray) -> float | None:
    """Return a bound on the mean batch loss of a run with DLStudio's output layer.

    MSE is a mean over pixels, so its floor is the set's own, with one constant per channel. Dice is
    a ratio within each batch: bounding every batch by itself, with constants of its own, bounds the
    mean. Batches are consecutive images here; another order moves the mean a little.
    """
    weights = loss_weights(config)
    if weights is None or config.head != "dlstudio":
        return None
    if config.targets == "unit":
        masks = (masks > 0).astype(np.uint8)
    mse, dice = weights
    if not dice:
        return output_layer_floors(masks).mse
    size = config.batch_size
    bounds = [
        reach_of(masks[start : start + size]).best(mse=mse, dice=dice)[0]
        for start in range(0, len(masks) - size + 1, size)
    ]
    return float(np.mean(bounds))


def facts(masks: np.ndarray) -> dict[str, float | list[float]]:
    """Return the floors of a set of masks, and what Dice's gradient weighs against MSE's.

    At outputs of zero the gradients are -2 t / |t|^2 and -2 t / values: the same direction, with
    a ratio of the mean squared mask value. It depends on the unit that the masks are written in.
    """
    found = output_layer_floors(masks)
    unit = output_layer_floors((masks > 0).astype(np.uint8))
    return {
        "images": len(masks),
        "mse": found.mse,
        "mse_all_zero": found.mse_all_zero,
        "mse_best_constant": found.mse_best_constant,
        "dice": found.dice,
        "dice_zero_bias": found.dice_zero_bias,
        "dice_at_mask_value": found.dice_at_mask_value,
        "dice_amplitude": found.dice_amplitude,
        "iou": found.iou.tolist(),
        "unit_mse": unit.mse,
        "unit_mse_all_zero": unit.mse_all_zero,
    }


def window_amplitudes() -> list[tuple[float, float]]:
    """Return each class's value window in multiples of its mask value, low and high."""
    return [(low / value, high / value) for value, (low, high) in DLSTUDIO_WINDOWS.items()]
