"""Masks and network outputs as coloured pictures, float [H, W, 3] in 0..1, pixel for pixel."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from segjax.colours import class_colour
from segjax.errors import ConfigError
from segjax.purdue import DLSTUDIO_WINDOWS

Decode = Literal["half", "windows"]

OVERLAP = (1.0, 1.0, 1.0)
NOT_A_NUMBER = (0.62, 0.62, 0.62)
IGNORED = (0.3, 0.3, 0.3)
_DIM = 0.45  # brightest an undecoded pixel gets, well below a decoded one


def window(class_values: Sequence[float], decode: Decode) -> tuple[np.ndarray, np.ndarray]:
    """Return per channel the values between which, exclusive, a pixel counts as its class."""
    if decode == "half":
        low = np.asarray(class_values, np.float64) / 2
        return low, np.full_like(low, math.inf)
    if decode != "windows":
        raise ConfigError(f"decode is {decode!r}; it can be 'half' or 'windows'")
    if odd := [value for value in class_values if value not in DLSTUDIO_WINDOWS]:
        raise ConfigError(
            f"DLStudio has no value window for class value {odd[0]}; use decode='half'"
        )
    low, high = np.array([DLSTUDIO_WINDOWS[int(value)] for value in class_values], np.float64).T
    return low, high


def counted(values: np.ndarray, low: np.ndarray | float, high: np.ndarray | float) -> np.ndarray:
    """Return where values are in their window, bool; NaN never is, infinity if it has no top."""
    return (values > low) & ((values < high) | np.isinf(high))


def ious(on: np.ndarray, truth: np.ndarray, valid: np.ndarray | None = None) -> list[float]:
    """Return each class's intersection over union; NaN where it is in neither [H, W, C]."""
    if valid is not None:
        on, truth = on & valid[..., None], truth & valid[..., None]
    both, either = (on & truth).sum((0, 1)).tolist(), (on | truth).sum((0, 1)).tolist()
    return [n / union if union else math.nan for n, union in zip(both, either, strict=True)]


def truth_picture(truth: np.ndarray) -> np.ndarray:
    """Colour a bool [H, W, C] by class, float [H, W, 3]; white where classes overlap."""
    picture = np.zeros((*truth.shape[:2], 3))
    for channel in range(truth.shape[-1]):
        picture[truth[..., channel]] = class_colour(channel)
    picture[truth.sum(-1) > 1] = OVERLAP
    return picture


def channel_picture(values: np.ndarray, low: float, high: float, channel: int) -> np.ndarray:
    """Colour one channel [H, W]: full inside the window, dim below it, pale above it."""
    colour = np.array(class_colour(channel))
    below = np.clip(np.nan_to_num(values / low), 0, 1)  # a share of the lowest value that counts
    picture = _DIM * below[..., None] * colour
    picture[values > low] = 0.2 * colour + 0.8
    picture[counted(values, low, high)] = colour
    picture[np.isnan(values)] = NOT_A_NUMBER
    return picture


def strongest_picture(
    values: np.ndarray, low: np.ndarray, high: np.ndarray, class_values: Sequence[float]
) -> np.ndarray:
    """Colour each pixel by its strongest class: those that count first, then by share of value."""
    on = counted(values, low, high)
    share = values / np.asarray(class_values, np.float64)
    rank = np.where(np.isnan(share) | (on.any(-1, keepdims=True) & ~on), -np.inf, share)
    strongest = rank.argmax(-1)
    picture = np.zeros((*values.shape[:2], 3))
    for channel, bounds in enumerate(zip(low, high, strict=True)):
        mine = strongest == channel
        picture[mine] = channel_picture(values[..., channel], *bounds, channel)[mine]
    picture[np.isnan(values).all(-1)] = NOT_A_NUMBER
    return picture


def outline(mask: np.ndarray) -> np.ndarray:
    """Return edges between on and off pixels as segments [K, 2, 2] of x, y in image coordinates.

    Single pixels off inside a shape are passed over: the data's pinholes would hide the shape.
    """
    padded = np.pad(mask, 1)
    around = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    padded = np.pad(mask | around, 1).astype(np.int8)
    y, x = np.nonzero(np.diff(padded, axis=1)[1:-1])
    upright = np.stack([np.stack([x, y], -1), np.stack([x, y + 1], -1)], 1)
    y, x = np.nonzero(np.diff(padded, axis=0)[:, 1:-1])
    level = np.stack([np.stack([x, y], -1), np.stack([x + 1, y], -1)], 1)
    return np.concatenate([upright, level]) - 0.5
