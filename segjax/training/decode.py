"""From mask values to class masks: DLStudio's value windows and the plain half-value threshold."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from segjax.errors import ConfigError
from segjax.purdue import DLSTUDIO_WINDOWS

Array = jax.Array

PURDUE_VALUES = tuple(DLSTUDIO_WINDOWS)


def half_value(values: Array, class_values: Sequence[float]) -> Array:
    """Return bool [..., C]: where ``values`` [..., C] exceed half their class's mask value."""
    _check_channels(values, class_values)
    return values > jnp.asarray(class_values, values.dtype) / 2


def dlstudio_windows(values: Array) -> Array:
    """Return bool [..., 5]: where ``values`` [..., 5] lie in DLStudio's window for their channel.

    Source: DLStudio 2.3.6, run_code_for_testing_semantic_segmentation.
    """
    _check_channels(values, PURDUE_VALUES)
    low, high = jnp.asarray(tuple(DLSTUDIO_WINDOWS.values()), values.dtype).T
    return (values > low) & (values < high)


def windows_apply(class_values: Sequence[float]) -> bool:
    """Tell whether the windows mean anything: they are written for PurdueShapes' five values."""
    return tuple(class_values) == PURDUE_VALUES


def _check_channels(values: Array, class_values: Sequence[float]) -> None:
    if values.shape[-1] != len(class_values):
        raise ConfigError(
            f"values have {values.shape[-1]} channels for {len(class_values)} class values"
        )
