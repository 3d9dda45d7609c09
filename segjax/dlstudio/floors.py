"""What no training can get under: the floors of an output layer, from the masks alone.

DLStudio's last layer writes the pixels whose row and column are both even and fills the other
three quarters with one constant per channel (``segjax.networks.layers.DLStudioHead``). Whatever the
network in front, its outputs lie in that linear space. P, the projection onto it, keeps written
pixels and replaces every other one by the mean over the other ones of its channel. The best mean
squared error, Dice and intersection over union follow in closed form, for any layer that leaves
pixels out.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from segjax.dlstudio.layout import Head
from segjax.errors import DataError, check_choice

CHUNK = 256  # images; bounds the float64 copy to some 40 MB at 64x64x5


class Reach(NamedTuple):
    """What decides how low an output layer can bring a sum of MSE and Dice on given masks.

    With t the masks and P t what of them the layer can write, the outputs a P t have
    ``MSE = energy - 2 a projected + a^2 projected`` and
    ``Dice = 1 - 2 a projected / (a^2 projected + energy)``. No others score less under a sum of the
    two: its gradient is a combination of p and t, which vanishes within the layer's space only at a
    multiple of P t.

    Attributes:
      energy: |t|^2 over the number of values, the MSE of empty outputs.
      lowest: the lowest MSE; ``projected``, |P t|^2 over the number of values, is the rest.
    """

    energy: float
    lowest: float

    def loss(self, amplitude: Any, *, mse: float, dice: float) -> Any:
        """Return ``mse * MSE + dice * Dice`` of the outputs ``amplitude`` P t."""
        projected = self.energy - self.lowest
        wrong = self.energy + (amplitude**2 - 2 * amplitude) * projected
        overlap = 2 * amplitude * projected / (amplitude**2 * projected + self.energy)
        return mse * wrong + dice * (1 - overlap)

    def best(self, *, mse: float, dice: float) -> tuple[float, float]:
        """Return the lowest ``mse * MSE + dice * Dice`` and the amplitude that reaches it."""
        from scipy.optimize import minimize_scalar

        if self.lowest >= self.energy:  # nothing of the masks can be written
            return float(self.loss(1.0, mse=mse, dice=dice)), 1.0
        # Both fall up to 1 and rise beyond Dice's own best, so the best lies between.
        dices = (self.energy / (self.energy - self.lowest)) ** 0.5
        found = minimize_scalar(
            lambda amplitude: self.loss(amplitude, mse=mse, dice=dice),
            bounds=(1.0, max(1.0, dices) + 1e-6),
            method="bounded",
            options={"xatol": 1e-7},
        )
        return float(found.fun), float(found.x)


@dataclass(frozen=True)
class Floors:
    """Bounds on what outputs of one layer can reach on given masks; all for the set as a whole.

    Attributes:
      mse: lowest mean squared error, in squared mask values.
      mse_all_zero: that of predicting 0 everywhere.
      mse_best_constant: that of the best constant per channel.
      dice: lowest squared-denominator Dice loss over the whole set as one batch, in [0, 1].
      dice_zero_bias: the same if the constants are 0.
      dice_at_mask_value: Dice loss if written pixels hold exactly the mask and the constants are 0.
      dice_amplitude: what the mask is multiplied by on written pixels where ``dice`` is reached.
      iou: float64 [C], highest intersection over union per class; NaN for an absent class.
    """

    mse: float
    mse_all_zero: float
    mse_best_constant: float
    dice: float
    dice_zero_bias: float
    dice_at_mask_value: float
    dice_amplitude: float
    iou: np.ndarray

    @property
    def reach(self) -> Reach:
        """The floors of sums of MSE and Dice."""
        return Reach(self.mse_all_zero, self.mse)


def output_layer_floors(masks: np.ndarray, *, head: Head = "dlstudio") -> Floors:
    """Return the floors that an output layer of mUnet puts under every network, for these masks.

    Args:
      masks: as ``layer_floors`` takes them.
      head: 'dlstudio', or 'dense', which writes every pixel: floors 0, 0 and 1.

    Raises ConfigError for an unknown head, DataError as ``layer_floors``.
    """
    check_choice(f"head={head!r}", head, ("dlstudio", "dense"))
    written = np.full(masks.shape[1:3], head == "dense")
    written[::2, ::2] = True
    return layer_floors(masks, written)


def layer_floors(masks: np.ndarray, written: np.ndarray) -> Floors:
    """Return the floors under every network whose last layer writes some pixels only.

    With t the masks, E the written pixels and O the others of a channel:

    * MSE: sum over O of (t - mean_O t)^2, over all pixels;
    * Dice, ``1 - 2<p,t> / (|p|^2 + |t|^2)``: p = a P t is best, with a = |t| / |P t|, and gives
      1 - |P t| / |t|;
    * IoU: any decoding gives O one answer per class. Answering "no" everywhere on O leaves the
      share of the class's pixels that lie in E; answering "yes" leaves |t| / (|O| + |t in E|).

    Args:
      masks: [N, H, W, C], real, 0 or the class's value.
      written: bool [H, W], the pixels of which an image can decide the value; the others hold a
        constant of their channel (``segjax.dlstudio.transposed`` tells them of any layer).

    Raises:
      DataError: masks of another shape, or without any object (then Dice has no floor).
    """
    if masks.ndim != 4 or masks.shape[1:3] != written.shape:
        raise DataError(
            f"masks have shape {masks.shape}; floors are of masks [N, H, W, C], with H and W of "
            f"the layer's outputs, {written.shape}"
        )
    sums = np.zeros((2, 3, masks.shape[3]))  # of the written pixels and the others, per channel
    for start in range(0, len(masks), CHUNK):
        for part, pixels in zip(sums, (written, ~written), strict=True):
            chunk = masks[start : start + CHUNK][:, pixels].astype(np.float64)
            part += [values.sum((0, 1)) for values in (chunk, np.square(chunk), chunk != 0)]
    (totals, squares, counts), (other_totals, other_squares, other_counts) = sums
    others = int((~written).sum()) * len(masks)
    energy = float((squares + other_squares).sum())
    if energy == 0:
        raise DataError("all masks are empty: nothing to segment")
    explained = float(squares.sum())  # |P t|^2 without and with the constants
    projected = explained + float((other_totals**2).sum()) / max(others, 1)
    constant = float(((totals + other_totals) ** 2).sum()) / (written.size * len(masks))
    nonzero = counts + other_counts
    with np.errstate(invalid="ignore"):  # NaN for an absent class
        iou = np.maximum(counts / nonzero, nonzero / (others + counts))
    return Floors(
        mse=(energy - projected) / masks.size,
        mse_all_zero=energy / masks.size,
        mse_best_constant=(energy - constant) / masks.size,
        dice=1 - (projected / energy) ** 0.5,
        dice_zero_bias=1 - (explained / energy) ** 0.5,
        dice_at_mask_value=1 - 2 * explained / (explained + energy),
        dice_amplitude=(energy / projected) ** 0.5 if projected else float("inf"),
        iou=iou,
    )
