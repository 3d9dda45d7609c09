"""The study's figures that show images: they need the runs' weights."""

from collections.abc import Callable

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from scripts.study.execute import Study
from scripts.study.figures import REPORT
from scripts.study.measure import predict_values
from scripts.study.numbers import LOSS_TITLES
from scripts.study.plan import Run
from segjax import plots
from segjax.data import Dataset
from segjax.data.splits import load_splits
from segjax.plots._style import DPI, STYLE
from segjax.predict.trained import load_trained

SHOWN_IMAGES = 3
SHOWN_CLASSES = 3  # the first test images with at least so many classes
CLOSE_UP = 28  # pixels


def first_run(study: Study, group: str) -> Run | None:
    """Return the group's finished run of the first seed."""
    return next((run for run in study.done() if run.group == group), None)


def rich_images(data: Dataset) -> np.ndarray:
    """Return the indices of the images to show."""
    classes = (data.masks > 0).any(axis=(1, 2)).sum(axis=-1)
    found = np.flatnonzero(classes >= SHOWN_CLASSES)
    return (found if len(found) else np.arange(len(data)))[:SHOWN_IMAGES]


def shown_values(study: Study, run: Run, data: Dataset, rows: np.ndarray) -> np.ndarray:
    """Return a run's outputs for some images, from batches as the test has them."""
    trained = load_trained(study.path_of(run))
    size = run.config.batch_size
    starts = sorted({int(row) // size * size for row in rows})
    found = {
        start + at: values
        for start in starts
        for at, values in enumerate(predict_values(trained, data.images[start : start + size]))
    }
    return np.stack([found[int(row)] for row in rows])


def four_losses(study: Study, head: str) -> Figure | None:
    """Draw Figure 2: the same test images under the four losses of the report."""
    runs = {LOSS_TITLES[name]: first_run(study, f"{name}-{head}") for name in REPORT}
    if None in runs.values():
        return None
    data = load_splits(study.runs[0].config, say=lambda line: None).test
    rows = rich_images(data)
    shown = data.subset(rows)
    values = {title: shown_values(study, run, data, rows) for title, run in runs.items() if run}
    names = {"dlstudio": "DLStudio's output layer", "dense": "the dense output layer"}
    return plots.comparison_figure(
        shown.images,
        shown.masks,
        values,
        class_names=shown.class_names,
        class_values=shown.class_values,
        boxes=[shown.boxes_of(index) for index in range(len(shown))],
        title=f"The same test images under the four losses, {names[head]}",
    )


@mpl.rc_context(STYLE)
def close_up(study: Study) -> Figure | None:
    """Draw an object's channel pixel by pixel, from networks that know it by heart."""
    wanted = (
        ("by-heart-mse-dlstudio", "MSE, DLStudio's layer"),
        ("by-heart-dice-dlstudio", "Dice, DLStudio's layer"),
        ("by-heart-mse-dense", "MSE, dense"),
    )
    runs = [(first_run(study, group), title) for group, title in wanted]
    if any(run is None for run, _ in runs):
        return None
    data = load_splits(runs[0][0].config, say=lambda line: None).train  # type: ignore[union-attr]
    index, channel, (x1, y1, x2, y2) = largest_object(data)
    top = int(np.clip((y1 + y2 - CLOSE_UP) // 2, 0, data.masks.shape[1] - CLOSE_UP)) // 2 * 2
    left = int(np.clip((x1 + x2 - CLOSE_UP) // 2, 0, data.masks.shape[2] - CLOSE_UP)) // 2 * 2
    part = np.s_[top : top + CLOSE_UP, left : left + CLOSE_UP]
    value = data.class_values[channel]
    pictures = [("truth", data.masks[index][..., channel][part].astype(float))]
    for run, title in runs:
        assert run is not None
        values = shown_values(study, run, data, np.array([index]))
        pictures.append((title, values[0][..., channel][part]))
    figure = Figure(figsize=(10, 3.5), dpi=DPI)
    figure.set_layout_engine("constrained")
    axes = figure.subplots(1, 4)
    for panel, (title, picture) in zip(axes, pictures, strict=True):
        shown = panel.imshow(
            picture / value,
            cmap="cividis",
            vmin=0,
            vmax=2,
            interpolation="nearest",
            extent=(left - 0.5, left + CLOSE_UP - 0.5, top + CLOSE_UP - 0.5, top - 0.5),
        )
        panel.set_title(title, fontsize=11)
        panel.set_xlabel("column, pixels")
        panel.grid(visible=False)
    axes[0].set_ylabel("row, pixels")
    name = data.class_names[channel]
    figure.colorbar(shown, ax=axes, label=f"output / mask value of {name}", shrink=0.8)
    return figure


def largest_object(data: Dataset) -> tuple[int, int, tuple[int, int, int, int]]:
    """Return the image, the channel and the box of the object with the most pixels."""
    best = (0, 0, 0, (0, 0, 0, 0))
    for index in range(len(data)):
        for channel, (x1, y1, x2, y2) in data.boxes_of(index):
            pixels = int(np.count_nonzero(data.masks[index, y1 : y2 + 1, x1 : x2 + 1, channel]))
            best = max(best, (pixels, index, channel, (int(x1), int(y1), int(x2), int(y2))))
    return best[1], best[2], best[3]


PICTURES: dict[str, Callable[[Study], Figure | None]] = {
    "four-losses-dlstudio": lambda study: four_losses(study, "dlstudio"),
    "four-losses-dense": lambda study: four_losses(study, "dense"),
    "close-up": close_up,
}
