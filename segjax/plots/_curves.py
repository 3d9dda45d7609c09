"""Losses over the iterations: a run's own, several runs', and the report's, normalised."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from segjax.errors import ConfigError
from segjax.plots._style import DPI, STYLE, verbatim

# On white paper yellow is too pale for a line, so the curves have their own order.
_CURVES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (7, 2, 1.5, 2)), (0, (4, 1, 1, 1, 1, 1)))
_MARKERS = "osD^vPX"
_LOSSES = {"loss": "train (running mean)", "val_loss": "validation"}


def _draw(axes: Axes, index: int, steps: np.ndarray, values: np.ndarray, label: str = "") -> None:
    """Draw the finite values as the curve of this number; few of them with markers."""
    good = np.isfinite(values)
    axes.plot(
        steps[good],
        values[good],
        color=_CURVES[index % len(_CURVES)],
        linestyle=_DASHES[index % len(_DASHES)],
        linewidth=1.8,
        marker=_MARKERS[index % len(_MARKERS)] if len(values) <= 30 else None,
        markersize=5,
        label=label,
    )


def _page(width: float, height: float) -> Figure:
    """Return an empty figure that keeps the last tick's label off the edge of the page."""
    figure = Figure(figsize=(width, height), dpi=DPI)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.08)
    return figure


def _stacked(width: float, height: float, ratios: Sequence[int]) -> tuple[Figure, Any]:
    """Return a figure with a panel of losses and, for a second ratio, one of the mIoU below it."""
    figure = _page(width, height)
    panels = figure.subplots(len(ratios), 1, sharex=True, squeeze=False, height_ratios=ratios)
    for below in panels[1:, 0]:
        below.set(ylabel="validation mIoU", ylim=(0, 1))
    panels[-1, 0].set_xlabel("iterations")
    return figure, panels[:, 0]


def _plain_ticks(*panels: Axes) -> None:
    for axis in (axis for axes in panels for axis in (axes.xaxis, axes.yaxis)):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))


def _epoch_ends(records: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """Return each finished epoch (from 1) with its last step, at most twelve pairs."""
    rows = [row for row in records if row.get("epoch") is not None]
    ends = {int(row["epoch"]): int(row["step"]) for row in sorted(rows, key=lambda r: r["step"])}
    # The last epoch may still be running; only a validation row says that it ended.
    whole = (row for row in rows if {row.get("val_loss"), row.get("val_miou")} != {None})
    validated = {int(row["epoch"]) for row in whole}
    done = sorted(end for end in ends.items() if end[0] < max(ends) or end[0] in validated)
    stride = max(1, math.ceil(len(done) / 12))
    return done[stride - 1 :: stride]


def _series(records: Sequence[Mapping[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and values of one key; of a step logged twice (a resumed run) the last row."""
    rows = {int(r["step"]): float(r[key]) for r in records if r.get(key) is not None}
    steps, values = np.array(sorted(rows.items()), np.float64).reshape(-1, 2).T
    return steps, values


@mpl.rc_context(STYLE)
def loss_figure(records: Sequence[Mapping[str, Any]], *, title: str) -> Figure:
    """Draw a run's loss over its iterations, and its validation mIoU below if it was logged.

    Args:
      records: rows of a log in any order, each with `step` (iterations since the start) and any of
        `loss` (mean over the iterations since the last such row), `val_loss`, `val_miou` (0..1) and
        `epoch` (from 1). Other keys, and rows without `step`, are passed over.
      title: what stands above the figure.

    Returns:
      A figure 8 inches wide. The loss axis is logarithmic, and says so, if its values span more
      than a factor of 20. Values that are not finite are left out, and the first one is marked.
    """
    records = [row for row in records if row.get("step") is not None]
    mean_iou = _series(records, "val_miou")
    two = len(mean_iou[0]) > 0
    figure, panels = _stacked(8, 6.8, [2, 1]) if two else _stacked(8, 4.8, [1])
    top = panels[0]
    shown, broken, last = np.array([]), np.array([]), 1.0
    for index, (key, name) in enumerate(_LOSSES.items()):
        steps, values = _series(records, key)
        if steps.size:
            _draw(top, index, steps, values, name)
            good = np.isfinite(values)
            shown = np.append(shown, values[good])
            broken = np.append(broken, steps[~good])
            last = max(last, steps[-1])
    if broken.size:
        first = broken.min()
        top.axvline(first, color="#777777", linewidth=1.2, label=f"not finite at {first:,.0f}")
    if not shown.size:
        top.text(0.5, 0.5, "no finite loss was logged", transform=top.transAxes, ha="center")
    log = shown.size > 1 and shown.min() > 0 and shown.max() > 20 * shown.min()
    if log:
        top.set_yscale("log")
        top.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        top.yaxis.set_minor_locator(NullLocator())
    top.set_ylabel("loss (log scale)" if log else "loss")
    if top.get_legend_handles_labels()[0]:
        verbatim(top.legend(frameon=True, framealpha=0.9, edgecolor="none"))
    if two:
        last = max(last, mean_iou[0][-1])
        _draw(panels[1], 2, *mean_iou)
    top.set_xlim(0, last * 1.02)
    _plain_ticks(*panels)
    if ends := _epoch_ends(records):
        above = top.secondary_xaxis("top")
        above.set_xticks([end for _, end in ends], [str(epoch) for epoch, _ in ends])
        above.set_xlabel("epochs done", labelpad=6)
    figure.suptitle(textwrap.fill(title, 70), fontsize=13, parse_math=False)
    return figure


@mpl.rc_context(STYLE)
def normalised_losses_figure(
    curves: Mapping[str, Sequence[float]],
    *,
    floors: Mapping[str, float] | None = None,
    steps_per_point: int = 500,
    title: str = "Training losses, normalised and as they are",
) -> Figure:
    """Draw the report's Figure 1, and beside it the raw curves whose floors normalising hides.

    On the left each curve goes through (loss - min) / (max - min) with its own minimum and maximum
    (a constant curve lies at 0). On the right each has its own panel in its own unit.

    Args:
      curves: name of a loss to its running means, one each `steps_per_point` iterations.
      floors: name of a loss to the lowest value that the network can reach with it.
      steps_per_point: iterations between two points.
      title: what stands above the figure.

    Returns:
      A figure 11 inches wide.

    Raises:
      ConfigError: no curve was given, or a floor names none of them.
    """
    floors = floors or {}
    if not curves:
        raise ConfigError("normalised_losses_figure needs at least one curve")
    if unknown := ", ".join(sorted(set(floors) - set(curves))):
        raise ConfigError(f"floors names no curve: {unknown}; curves: {', '.join(curves)}")
    figure = _page(11, max(4.8, 1.35 * len(curves) + 0.9))
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=[1.15, 1])[0]
    together = left.subplots()
    panels = right.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
    for index, ((name, losses), panel) in enumerate(zip(curves.items(), panels, strict=True)):
        values = np.asarray(losses, np.float64)
        steps = steps_per_point * np.arange(1, len(values) + 1)
        good = np.isfinite(values)
        steps, values = steps[good], values[good]
        low, high = (values.min(), values.max()) if values.size else (0.0, 0.0)
        scaled = (values - low) / (high - low) if high > low else np.zeros_like(values)
        _draw(together, index, steps, scaled, name)
        _draw(panel, index, steps, values)
        if name in floors:
            panel.axhline(floors[name], color="black", linestyle=":", linewidth=1.5)
            panel.annotate(
                f"floor {floors[name]:.4g}", (1, floors[name]), xycoords=("axes fraction", "data"),
                xytext=(-2, -3), textcoords="offset points", ha="right", va="top", fontsize=9,
            )  # fmt: skip
        panel.set_title(name, fontsize=10.5, loc="left", pad=3, parse_math=False)
        panel.yaxis.set_major_locator(MaxNLocator(4))
        panel.margins(y=0.3)  # room for a floor's label
    _plain_ticks(together, *panels)
    together.set_title("each by its own minimum and maximum", fontsize=11)
    together.set(xlabel="iterations", ylabel="(loss - min) / (max - min)")
    panels[-1].xaxis.set_major_locator(MaxNLocator(5))
    panels[-1].set_xlabel("iterations")
    right.supylabel("running mean of the loss", fontsize=11)
    names = list(curves)
    verbatim(together.legend(together.get_lines(), names, edgecolor="none", handlelength=3.5))
    figure.suptitle(textwrap.fill(title, 90), fontsize=13, parse_math=False)
    return figure


@mpl.rc_context(STYLE)
def runs_figure(
    runs: Mapping[str, Sequence[Mapping[str, Any]]], *, share_loss: bool = True
) -> Figure:
    """Draw the runs' training losses, and below them their validation mIoU where it was logged.

    Args:
      runs: name of a run to the rows of its log, as `loss_figure` takes them.
      share_loss: draw the losses as they are; if not, because they are different losses, each is
        scaled to its own minimum and maximum.

    Returns:
      A figure 9 inches wide; the mIoU panel is there if any run has one.
    """
    scores = {name: _series(rows, "val_miou") for name, rows in runs.items()}
    two = any(len(steps) for steps, _ in scores.values())
    figure, panels = _stacked(9, 7.5, [1, 1]) if two else _stacked(9, 4.8, [1])
    for index, (name, rows) in enumerate(runs.items()):
        steps, losses = _series(rows, "loss")
        good = np.isfinite(losses)
        steps, losses = steps[good], losses[good]
        if losses.size and not share_loss:
            span = losses.max() - losses.min()
            losses = (losses - losses.min()) / (span or 1.0)
        _draw(panels[0], index, steps, losses, name if losses.size else f"{name} (nothing logged)")
        if two:
            _draw(panels[1], index, *scores[name])
    panels[0].set_ylabel("training loss" if share_loss else "training loss, each by its own range")
    _plain_ticks(*panels)
    handles, labels = panels[0].get_legend_handles_labels()
    verbatim(panels[0].legend(handles, labels, edgecolor="none", framealpha=0.9))
    return figure
