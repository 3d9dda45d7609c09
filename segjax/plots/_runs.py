"""Several runs in one figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from segjax.plots._curves import _curve_style, _loosen, _plain_ticks, _series
from segjax.plots._style import DPI, STYLE, verbatim


@mpl.rc_context(STYLE)
def runs_figure(
    runs: Mapping[str, Sequence[Mapping[str, Any]]], *, share_loss: bool = True
) -> Figure:
    """Draws the runs' training losses, and below them their validation mIoU where it was logged.

    Args:
      runs: name of a run to the rows of its log, as `loss_figure` takes them.
      share_loss: draw the losses as they are; if not, because they are different losses, each is
        scaled to its own minimum and maximum.

    Returns:
      A figure 9 inches wide; the mIoU panel is there if any run has one.
    """
    scores = {name: _series(rows, "val_miou") for name, rows in runs.items()}
    two = any(len(steps) for steps, _ in scores.values())
    figure = Figure(figsize=(9, 7.5 if two else 4.8), dpi=DPI)
    _loosen(figure)
    panels = figure.subplots(2 if two else 1, 1, sharex=True, squeeze=False)[:, 0]
    for index, (name, rows) in enumerate(runs.items()):
        steps, losses = _series(rows, "loss")
        good = np.isfinite(losses)
        steps, losses = steps[good], losses[good]
        if losses.size and not share_loss:
            span = losses.max() - losses.min()
            losses = (losses - losses.min()) / (span or 1.0)
        (line,) = panels[0].plot(steps, losses, **_curve_style(index, len(losses)))
        line.set_label(name if losses.size else f"{name} (nothing logged)")
        if two:
            steps, values = scores[name]
            good = np.isfinite(values)
            panels[1].plot(steps[good], values[good], **_curve_style(index, len(values)))
    panels[0].set_ylabel("training loss" if share_loss else "training loss, each by its own range")
    if two:
        panels[1].set_ylabel("validation mIoU")
        panels[1].set_ylim(0, 1)
    for panel in panels:
        _plain_ticks(panel)
    panels[-1].set_xlabel("iterations")
    handles, labels = panels[0].get_legend_handles_labels()
    verbatim(panels[0].legend(handles, labels, edgecolor="none", framealpha=0.9))
    return figure
