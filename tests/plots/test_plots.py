"""Figures: the right pixels in the right colours, readable labels, files written whole."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from segjax import plots
from segjax.errors import ConfigError

NAMES = ["rectangle", "triangle", "disk", "oval", "star"]
VALUES = [50, 100, 150, 200, 250]


def scene(count=2, height=16, width=16, class_values=VALUES):
    """One square of each class an image, side by side and apart, on black."""
    channels = len(class_values)
    masks = np.zeros((count, height, width, channels), np.uint8)
    for channel, value in enumerate(class_values):
        left = channel * width // channels
        masks[:, 2:8, left : left + max(1, width // channels - 1), channel] = value
    images = np.repeat(masks.max(-1)[..., None], 3, -1)
    return images, masks


def pixels(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


def axes_of(figure, label):
    (found,) = [axes for axes in figure.axes if axes.get_label() == label]
    return found


def cell(figure, label, shape):
    """What a picture's axes show, one colour per image pixel, read at the pixels' middles."""
    sheet = pixels(figure)
    box = axes_of(figure, label).get_window_extent()
    y = sheet.shape[0] - box.y1 + (np.arange(shape[0]) + 0.5) * box.height / shape[0]
    x = box.x0 + (np.arange(shape[1]) + 0.5) * box.width / shape[1]
    return sheet[y.astype(int)[:, None], x.astype(int)[None]]


def colour(channel):
    return np.round(255 * np.array(plots.class_colour(channel))).astype(int)


def texts(figure):
    figure.canvas.draw()
    found = [text.get_text() for text in figure.texts]
    for legend in [*figure.legends, *(a.get_legend() for a in figure.axes if a.get_legend())]:
        found += [text.get_text().strip() for text in legend.get_texts()]
    return found


# --- pictures of masks ----------------------------------------------------------------------------


def test_every_pixel_of_a_perfect_prediction_has_its_class_colour():
    images, masks = scene()
    figure = plots.predictions_figure(
        images, masks, masks.astype(np.float32), class_names=NAMES, class_values=VALUES
    )
    expected = np.zeros((16, 16, 3), int)
    for channel in range(5):
        expected[masks[1, ..., channel] > 0] = colour(channel)
    assert np.abs(cell(figure, "truth 1", (16, 16)) - expected).max() <= 1
    assert np.abs(cell(figure, "prediction 1", (16, 16)) - expected).max() <= 1
    assert texts(figure).count("mean IoU 1.00") == 2
    assert texts(figure).count("IoU 1.00") == 10


def test_one_dot_in_four_stays_a_square_of_whole_screen_pixels():
    images, masks = scene(count=1, height=64, width=64)
    values = np.zeros(masks.shape)
    values[:, ::2, ::2] = masks[:, ::2, ::2]
    figure = plots.predictions_figure(images, masks, values, class_names=NAMES, class_values=VALUES)
    box = axes_of(figure, "prediction 0").get_window_extent()
    assert box.width == pytest.approx(192)
    assert box.height == pytest.approx(192)
    sheet = pixels(figure)
    top, left = round(sheet.shape[0] - box.y1), round(box.x0)
    picture = sheet[top : top + 192, left : left + 192]
    blocks = picture.reshape(64, 3, 64, 3, 3)
    assert np.ptp(blocks, axis=(1, 3)).max() == 0
    lit = blocks[:, 0, :, 0].sum(-1) > 0
    assert np.array_equal(lit, values[0].max(-1) > 0)


def test_iou_is_what_the_dots_give_and_is_over_the_classes_there():
    images, masks = scene(count=1, class_values=[100])
    values = np.zeros(masks.shape)
    values[:, 2:5] = masks[:, 2:5]  # three of the six rows
    figure = plots.predictions_figure(
        images, masks, values, class_names=["triangle"], class_values=[100]
    )
    assert "IoU 0.50" in texts(figure)
    assert "mean IoU 0.50" in texts(figure)
    none = plots.predictions_figure(
        images, np.zeros_like(masks), 0 * values, class_names=["triangle"], class_values=[100]
    )
    assert {"in neither", "nothing there"} <= set(texts(none))


def test_ignored_pixels_are_painted_so_and_do_not_count():
    images, masks = scene(count=1, class_values=[100])
    values = masks.astype(float)
    values[0, 12:] = 100  # wrong, but ignored
    ignore = np.zeros((1, 16, 16), bool)
    ignore[0, 12:] = True
    options = {"class_names": ["triangle"], "class_values": [100]}
    figure = plots.predictions_figure(images, masks, values, ignore=ignore, **options)
    assert "IoU 1.00" in texts(figure)
    assert "ignored" in texts(figure)
    assert len(np.unique(cell(figure, "prediction 0", (16, 16))[12:].reshape(-1, 3), axis=0)) == 1
    assert "IoU 1.00" not in texts(plots.predictions_figure(images, masks, values, **options))


def test_windows_turn_away_a_value_that_is_too_high():
    images, masks = scene(count=1)
    options = {"class_names": NAMES, "class_values": VALUES}
    twice = masks * 1.93
    half = plots.predictions_figure(images, masks, twice, **options)
    windows = plots.predictions_figure(images, masks, twice, decode="windows", **options)
    assert texts(half).count("IoU 1.00") == 5
    assert texts(windows).count("IoU 1.00") == 1  # the star's window has no top
    assert texts(windows).count("IoU 0.00") == 4
    disk = masks[0, ..., 2] > 0
    inner = disk & np.roll(disk, 1, 0) & np.roll(disk, -1, 0)  # off the outline
    inner &= np.roll(disk, 1, 1) | np.roll(disk, -1, 1)
    full = cell(half, "class 2 image 0", (16, 16))[inner]
    pale = cell(windows, "class 2 image 0", (16, 16))[inner]
    assert np.abs(full - colour(2)).max() <= 1
    assert pale.min() > full.min() + 100


def test_values_below_the_threshold_are_dim_and_ranked_by_share_of_their_class():
    images, masks = scene(count=1)
    values = np.zeros(masks.shape)
    values[..., 0], values[..., 4] = 20, 60  # shares 0.4 and 0.24 of their classes
    figure = plots.predictions_figure(images, masks, values, class_names=NAMES, class_values=VALUES)
    shown = cell(figure, "prediction 0", (16, 16))
    assert np.abs(shown - 0.45 * 0.8 * colour(0)).max() <= 1.5


def test_overlapping_truth_and_missing_numbers_say_so():
    images, masks = scene(count=1)
    masks[0, 10:12, :4, :2] = [50, 100]
    values = masks.astype(float)
    values[0, 14:] = np.nan
    values[0, 0, 0] = np.inf
    figure = plots.predictions_figure(images, masks, values, class_names=NAMES, class_values=VALUES)
    assert {"truth overlaps", "not a number"} <= set(texts(figure))
    assert cell(figure, "truth 0", (16, 16))[10:12, :4].min() == 255
    missing = cell(figure, "prediction 0", (16, 16))[14:]
    assert missing.min() == missing.max() == 158


def test_boxes_frame_their_object_in_its_colour():
    images, masks = scene(count=1, height=32, width=32)
    images[:] = 0
    boxes = [[(2, (8, 10, 20, 25))]]
    options = {"class_names": NAMES, "class_values": VALUES}
    figure = plots.predictions_figure(images, masks, masks * 1.0, boxes=boxes, **options)
    (frame,) = axes_of(figure, "input 0").patches
    assert (frame.get_x(), frame.get_y()) == (7.5, 9.5)
    assert (frame.get_width(), frame.get_height()) == (13, 16)
    assert np.allclose(frame.get_edgecolor()[:3], plots.class_colour(2))
    assert any("boxes" in text for text in texts(figure))


@pytest.mark.parametrize(
    ("height", "width", "channels", "count"),
    [(64, 64, 5, 1), (16, 48, 1, 7), (48, 16, 12, 2), (500, 300, 3, 1), (8, 8, 25, 2)],
)
def test_any_size_and_number_of_classes_fits_on_its_page(height, width, channels, count):
    values = [1] * channels
    images, masks = scene(count, height, width, values)
    names = [f"class $_$ {i} with a rather long name" for i in range(channels)]
    names[0] = "_underscored"
    figure = plots.predictions_figure(
        images, masks, masks * 0.9, class_names=names, class_values=values
    )
    page = pixels(figure)
    renderer = figure.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figure.texts]
    boxes += [legend.get_window_extent(renderer) for legend in figure.legends]
    boxes += [axes.get_window_extent(renderer) for axes in figure.axes]
    for box in boxes:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= page.shape[1]
        assert box.y1 <= page.shape[0]
    assert len([a for a in figure.axes if a.get_label().startswith("truth")]) == min(count, 6)
    assert len(figure.axes) == min(count, 6) * (3 + min(channels, 12))
    assert "_underscored" in texts(figure)
    assert any("13 smaller classes" in text for text in texts(figure)) == (channels == 25)


def test_comparison_shows_each_model_in_its_column():
    images, masks = scene(count=3)
    models = {"perfect": masks.astype(float), "nothing": np.zeros(masks.shape)}
    figure = plots.comparison_figure(
        images, masks, models, class_names=NAMES, class_values=VALUES, max_images=2
    )
    assert np.array_equal(
        cell(figure, "perfect image 1", (16, 16)), cell(figure, "truth 1", (16, 16))
    )
    assert cell(figure, "nothing image 1", (16, 16)).max() == 0
    assert texts(figure).count("mean IoU 1.00") == texts(figure).count("mean IoU 0.00") == 2
    assert {"perfect", "nothing", "input", "truth", "image 2", *NAMES} <= set(texts(figure))


def test_dlstudio_panel_has_its_rows_and_grey_levels():
    images, masks = scene(count=1)
    values = masks.astype(float)
    values[0, 0, 0, 0] = -45.0
    decoded = masks > 0
    figure = plots.dlstudio_panel(
        images, masks, values, [[(1, (3, 2, 9, 12))]], decoded, class_names=NAMES
    )
    assert [axes.get_label() for axes in figure.axes if axes.get_label() == "max 0"]
    row = cell(figure, "class 3 image 0", (16, 16))[..., 0]
    assert set(row[decoded[0, ..., 3]]) == {255}
    assert set(row[~decoded[0, ..., 3]]) == {50}
    peak = cell(figure, "max 0", (16, 16))
    picture = cell(figure, "image 0", (16, 16))
    for framed in (peak, picture):
        assert framed[2, 3:10].min() == framed[2:13, 9].min() == 255
    assert peak[0, 0].max() == 0  # the maximum, not the -45 of one channel
    assert {"max over channels", "image", *NAMES} <= {t.replace("\n", " ") for t in texts(figure)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_values": [1] * 5, "decode": "windows"}, "no value window for class value 1"),
        ({"decode": "thirds"}, "'half' or 'windows'"),
        ({"class_names": ["one"]}, "1 class names"),
        ({"boxes": [[]]}, "boxes are given for 1 of 2"),
    ],
)
def test_wrong_settings_are_named(change, message):
    images, masks = scene()
    options = {"class_names": NAMES, "class_values": VALUES} | change
    with pytest.raises(ConfigError, match=message):
        plots.predictions_figure(images, masks, masks * 1.0, **options)


def test_wrong_shapes_are_named():
    images, masks = scene()
    options = {"class_names": NAMES, "class_values": VALUES}
    with pytest.raises(ConfigError, match="do not fit images"):
        plots.predictions_figure(images, masks[:1], masks[:1], **options)
    with pytest.raises(ConfigError, match="values of a"):
        plots.comparison_figure(images, masks, {"a": masks[..., :1]}, **options)
    with pytest.raises(ConfigError, match="N > 0"):
        plots.predictions_figure(images[:0], masks[:0], masks[:0], **options)
    with pytest.raises(ConfigError, match="at least one model"):
        plots.comparison_figure(images, masks, {}, **options)


# --- losses ---------------------------------------------------------------------------------------


def training_rows(count, steps_per_epoch=2500):
    return [
        {"step": 500 * i, "epoch": (500 * i - 1) // steps_per_epoch + 1, "loss": 440.0 - i}
        for i in range(1, count + 1)
    ]


def test_loss_figure_draws_the_rows_the_floor_and_the_epochs():
    rows = training_rows(12)
    figure = plots.loss_figure(rows, title="MSE", floor=362.25, floor_label="lowest of this head")
    top = figure.axes[0]
    train = top.get_lines()[0]
    assert train.get_xdata().tolist() == [row["step"] for row in rows]
    assert train.get_ydata().tolist() == [row["loss"] for row in rows]
    assert "lowest of this head: 362.2" in texts(figure)
    assert top.get_ylim()[0] < 362.25
    assert top.get_xlabel() == "iterations"
    assert top.get_ylabel() == "loss"
    (above,) = top.child_axes
    assert above.get_xticks().tolist() == [2500, 5000]  # the third epoch is not over
    assert [label.get_text() for label in above.get_xticklabels()] == ["1", "2"]


def test_loss_figure_shows_validation_and_says_when_its_axis_is_logarithmic():
    rows = [{"step": i, "epoch": 1, "loss": 500.0 / i} for i in range(1, 1001)]
    rows += [{"step": 1000, "epoch": 1, "val_loss": 2.0, "val_miou": 0.75, "other": "x"}]
    figure = plots.loss_figure(rows, title="wide")
    top, below = figure.axes[:2]
    assert top.get_yscale() == "log"
    assert top.get_ylabel() == "loss (log scale)"
    assert below.get_ylabel() == "validation mIoU"
    assert below.get_lines()[0].get_ydata().tolist() == [0.75]
    assert top.child_axes[0].get_xticks().tolist() == [1000]
    assert "validation" in texts(figure)
    assert top.get_lines()[0].get_marker() == "None"  # a thousand markers would hide the line


def test_a_step_logged_again_after_a_resume_counts_once():
    rows = [*training_rows(4), {"step": 1000, "loss": 7.0}, {"note": "resumed"}]
    line = plots.loss_figure(rows, title="resumed").axes[0].get_lines()[0]
    assert line.get_xdata().tolist() == [500, 1000, 1500, 2000]
    assert line.get_ydata().tolist()[1] == 7.0


@pytest.mark.parametrize("losses", [[], [5.0], [float("nan")], [3.0, float("inf"), 2.0], [0.0, -1]])
def test_loss_figure_of_little_or_broken_data(losses):
    rows = [{"step": 10 * i, "loss": loss} for i, loss in enumerate(losses, start=1)]
    figure = plots.loss_figure(rows, title="little $ data", steps_per_epoch=10)
    pixels(figure)
    finite = [loss for loss in losses if np.isfinite(loss)]
    drawn = [y for line in figure.axes[0].get_lines()[:1] for y in line.get_ydata() if finite]
    assert drawn == finite
    assert any("not finite at" in text for text in texts(figure)) == (len(finite) < len(losses))


def test_epoch_ticks_thin_out():
    rows = [{"step": 10 * i, "epoch": i, "loss": 1.0, "val_loss": 1.0} for i in range(1, 201)]
    (above,) = plots.loss_figure(rows, title="long").axes[0].child_axes
    assert 6 <= len(above.get_xticks()) <= 12


def test_normalised_curves_run_from_one_to_zero_beside_the_raw_ones():
    curves = {"MSE": [440.0, 400.0, 360.0], "Dice": [0.84, 0.75, 0.78], "flat": [2.0, 2.0]}
    figure = plots.normalised_losses_figure(curves, floors={"MSE": 362.2}, steps_per_point=250)
    together, *panels = figure.get_axes()
    assert [line.get_label() for line in together.get_lines()] == list(curves)
    scaled = [line.get_ydata().tolist() for line in together.get_lines()]
    assert scaled[0] == pytest.approx([1, 0.5, 0])
    assert scaled[1] == pytest.approx([1, 0, 1 / 3])
    assert scaled[2] == [0, 0]
    assert together.get_lines()[0].get_xdata().tolist() == [250, 500, 750]
    assert [panel.get_title(loc="left") for panel in panels] == list(curves)
    assert panels[0].get_lines()[0].get_ydata().tolist() == curves["MSE"]
    assert panels[0].texts[0].get_text() == "floor 362.2"
    styles = {(line.get_color(), line.get_linestyle()) for line in together.get_lines()}
    assert len(styles) == 3
    with pytest.raises(ConfigError, match="floors names no curve: mse"):
        plots.normalised_losses_figure(curves, floors={"mse": 1})
    with pytest.raises(ConfigError, match="at least one"):
        plots.normalised_losses_figure({})


# --- files ----------------------------------------------------------------------------------------


def test_save_writes_a_small_png_whole_and_leaves_nothing_else(tmp_path):
    images, masks = scene(count=6, height=64, width=64)
    figure = plots.predictions_figure(
        images, masks, masks * 1.0, class_names=NAMES, class_values=VALUES
    )
    path = plots.save(figure, tmp_path / "new" / "predictions.png")
    assert [file.name for file in path.parent.iterdir()] == ["predictions.png"]
    assert path.stat().st_size < 300_000
    with Image.open(path) as picture:
        picture.load()
        assert picture.format == "PNG"
        assert np.array_equal(np.asarray(picture.convert("RGB")), pixels(figure))


def test_a_failed_save_keeps_the_old_file(tmp_path, monkeypatch):
    figure = plots.loss_figure(training_rows(3), title="x")
    path = plots.save(figure, tmp_path / "loss.png")
    before = path.read_bytes()

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        plots.save(plots.loss_figure(training_rows(9), title="y"), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["loss.png"]


def test_a_palette_keeps_the_class_colours(tmp_path):
    channels = 12
    images, masks = scene(count=3, height=128, width=128, class_values=[1] * channels)
    ramp = np.linspace(0, 255, 128)
    images[..., 0], images[..., 1] = ramp, ramp[:, None]
    images[..., 2] = np.random.default_rng(0).integers(0, 256, images.shape[:3])
    figure = plots.comparison_figure(
        images, masks, {"a": masks * 1.0}, class_names=[str(i) for i in range(channels)],
        class_values=[1] * channels,
    )  # fmt: skip
    full = plots.save(figure, tmp_path / "full.png", max_bytes=10**9)
    small = plots.save(figure, tmp_path / "small.png", max_bytes=1000)
    assert small.stat().st_size < 0.6 * full.stat().st_size
    with Image.open(small) as picture:
        assert picture.mode == "P"
        shown = np.asarray(picture.convert("RGB")).astype(int)
    box = axes_of(figure, "truth 0").get_window_extent()
    top, left = round(shown.shape[0] - box.y1), round(box.x0)
    inside = shown[top : round(top + box.height), left : round(left + box.width)]
    for channel in range(channels):
        here = np.abs(inside - colour(channel)).max(-1) <= 1
        assert here.sum() >= 0.9 * masks[0, ..., channel].sum(), (
            f"the colour of channel {channel} is lost"
        )


def test_names_in_scripts_that_the_font_lacks_do_not_warn(tmp_path):
    images, masks = scene(count=1, class_values=[1])
    figure = plots.predictions_figure(
        images, masks, masks * 1.0, class_names=["\u661f"], class_values=[1]
    )
    assert plots.save(figure, tmp_path / "star.png").exists()


def test_class_colours_differ():
    colours = {plots.class_colour(i) for i in range(21)}
    assert len(colours) == 21
    assert (0.0, 0.0, 0.0) not in colours


def test_global_state_stays_as_it_was():
    before = dict(mpl.rcParams)
    pixels(plots.loss_figure(training_rows(2), title="x"))
    assert dict(mpl.rcParams) == before
    code = (
        "import sys, segjax.plots; print('matplotlib.pyplot' in sys.modules, 'jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
