"""Measure and draw for docs/losses.md: edge cases of five libraries, pictures, names, the cost.

    python -m scripts.docs.losses            # everything
    python -m scripts.docs.losses cost       # one marked part of the page: edges, names or cost

What the page says of each loss is written there by hand; a loss with a heading gets a picture.
Libraries that are not installed are marked so; install the extra `oracles` for a full table.
"""

import contextlib
import datetime
import functools
import importlib.util
import os
import platform
import re
import sys
import timeit
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("KMP_WARNINGS", "0")

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from scripts.docs.markdown import ROOT, filled, table, write_part
from segjax import losses
from segjax.loss_table import LOSSES, PARAMETERS, READS_HELP
from segjax.losses import make_loss

FIGURES = ROOT / "docs" / "figures" / "losses"
REPEATS = 41
TODAY = datetime.datetime.now(datetime.UTC).date()
COST_SHAPE = (32, 64, 64, 5)
LIBRARIES = ("segjax", "optax", "SMP", "MONAI", "Keras")
Measure = Callable[[np.ndarray, np.ndarray], tuple[float, float]]  # value, largest gradient


# ---- pictures


def draw(name: str) -> Path:
    """Draw value and gradient against p; return the picture's path.

    A 16 x 16 image with an object of 8 x 4 pixels. Either the object has p and the background is
    right, or the background has p and the object is right; right means 0.99.
    """
    loss, reads = make_loss(name), LOSSES[name].reads
    mask = np.zeros((1, 16, 16, 1), np.float32)
    mask[:, 4:12, 6:10] = 1
    target = mask[..., 0].astype(np.int32) if reads == "softmax" else mask

    def value_at(x: jax.Array, moved: np.ndarray) -> Any:
        output = jnp.where(moved, x, mask if reads == "values" else 4.6 * (2 * mask - 1))
        if reads == "softmax":
            output = jnp.concatenate([-output, output], -1) / 2
        return loss(output, target)

    p = np.linspace(0.005, 0.995, 100).astype(np.float32)
    x = p if reads == "values" else np.log(p / (1 - p))
    figure = Figure(figsize=(5.6, 1.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    slopes = jax.jit(jax.vmap(jax.value_and_grad(value_at), (0, None)))
    for moved, colour, text in ((mask > 0, "C0", "object"), (mask == 0, "C1", "background")):
        value, slope = slopes(x, moved)
        left.plot(p, value, color=colour, label=f"{text} at p")
        right.plot(p, slope, color=colour)
    right.axhline(0, color="0.7", linewidth=0.8, zorder=0)
    left.legend(fontsize=7, frameon=False)
    label, by = ("predicted value", "value") if reads == "values" else ("probability", "logit")
    for axis, title in ((left, "value"), (right, f"gradient by the {by}")):
        axis.set_title(title, fontsize=9)
        axis.set_xlabel(label, fontsize=8)
        axis.set_xlim(0, 1)
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    path = FIGURES / f"{name}.png"
    figure.savefig(path, dpi=100, metadata={"Software": None})
    return path


# ---- edge cases


def in_jax(loss: Callable[..., Any], **settings: Any) -> Measure:
    """Return a function from logits and targets to a value and the largest gradient, by jax."""

    def run(x: np.ndarray, t: np.ndarray) -> tuple[float, float]:
        mean = jax.value_and_grad(lambda v: jnp.mean(loss(v, jnp.asarray(t), **settings)))
        value, grad = mean(jnp.asarray(x))
        return float(value), float(jnp.max(jnp.abs(grad)))

    return run


def in_jit(loss: Callable[..., Any], **settings: Any) -> Measure:
    """Return ``in_jax`` of a loss that reads probabilities and is compiled."""
    compiled = jax.jit(functools.partial(loss, **settings))
    return in_jax(lambda x, t: compiled(jax.nn.sigmoid(x), t))


def in_torch(loss: Callable[[Any, Any], Any]) -> Measure:
    """Return a function from logits and targets to a value and the largest gradient, by PyTorch."""
    import torch

    def run(x: np.ndarray, t: np.ndarray) -> tuple[float, float]:
        tensor, target = (torch.tensor(np.moveaxis(a, -1, 1).copy()) for a in (x, t))
        value = loss(tensor.requires_grad_(), target)
        value.backward()
        return float(value.detach()), float(tensor.grad.abs().max())

    return run


def adapters() -> dict[str, dict[str, Measure]]:
    """Return per library, with its default settings: its Dice, generalized Dice, BCE and focal.

    'ignore' is Dice where pixels with a target of 255 do not count.
    """

    def ignoring(x: jax.Array, t: jax.Array) -> jax.Array:
        return losses.dice_prob(x, jnp.where(t == 255, 0, t), pred_is="logits", valid=t != 255)

    multiclass = {"pred_is": "logits", "classes": "multiclass"}
    found = {
        "segjax": {
            "dice": in_jax(losses.dice_prob, pred_is="logits"),
            "bce": in_jax(losses.bce, pred_is="logits"),
            "focal": in_jax(losses.focal, pred_is="logits"),
            "generalized": in_jax(losses.generalized_dice, **multiclass),
            "ignore": in_jax(ignoring),
            "jit": in_jit(losses.dice_prob, pred_is="probs"),
        }
    }
    with contextlib.suppress(ImportError):
        import optax.losses as o

        found["optax"] = {
            "dice": in_jax(o.dice_loss),
            "bce": in_jax(o.sigmoid_binary_cross_entropy),
            "focal": in_jax(o.sigmoid_focal_loss),
            "generalized": in_jax(o.multiclass_generalized_dice_loss),
            "jit": in_jit(o.dice_loss, apply_softmax=False),
        }
    with contextlib.suppress(ImportError):
        import keras.losses as k

        found["Keras"] = {
            "dice": in_jax(lambda x, t: k.Dice()(t, jax.nn.sigmoid(x))),
            "bce": in_jax(lambda x, t: k.BinaryCrossentropy(from_logits=True)(t, x)),
            "focal": in_jax(lambda x, t: k.BinaryFocalCrossentropy(from_logits=True)(t, x)),
            "jit": in_jit(lambda p, t: k.Dice()(t, p)),
        }
    with contextlib.suppress(ImportError):
        importlib.import_module("tests.oracles.conftest")  # lets the next line pass
        import segmentation_models_pytorch.losses as s

        found["SMP"] = {
            "dice": in_torch(s.DiceLoss("multilabel")),
            "bce": in_torch(s.SoftBCEWithLogitsLoss()),
            "focal": in_torch(s.FocalLoss("multilabel")),
            "ignore": in_torch(s.DiceLoss("multilabel", ignore_index=255)),
        }
    with contextlib.suppress(ImportError):
        import monai.losses as m
        import torch

        found["MONAI"] = {
            "dice": in_torch(m.DiceLoss(sigmoid=True)),
            "bce": in_torch(torch.nn.BCEWithLogitsLoss()),
            "focal": in_torch(m.FocalLoss()),
            "generalized": in_torch(m.GeneralizedDiceLoss(softmax=True)),
            "ignore": in_torch(m.DiceLoss(sigmoid=True, ignore_index=255)),
        }
    return found


def edge_cases() -> dict[str, tuple[str, np.ndarray, np.ndarray]]:
    """Return per case: which loss, logits, targets."""
    ones = np.ones((2, 16, 16, 1), np.float32)
    zeros, disk = 0 * ones, 0 * ones
    disk[:, 4:10, 4:10] = 1
    large = np.ones((1, 512, 512, 1), np.float16)
    labels = np.repeat([[[0, 1]]], 4, axis=2).repeat(8, axis=1)
    eye = np.eye(3, dtype=np.float32)
    wrong = (20 * eye[1 - labels], eye[labels])
    return {
        "Dice: nothing there, nothing predicted": ("dice", -20 * ones, zeros),
        "Dice: nothing there, p = 0.9 everywhere": ("dice", 2.2 * ones, zeros),
        "Dice: an object, p = 0.1 everywhere": ("dice", -2.2 * ones, disk),
        "Dice: perfect 512 x 512 mask in float16": ("dice", 20 * large, large),
        "Dice: probabilities, inside jit": ("jit", 4 * disk - 2, disk),
        "Dice: all pixels ignored": ("ignore", ones, 255 * ones),
        "Generalized Dice: all wrong, one class absent": ("generalized", *wrong),
        "Cross-entropy: wrong logits of 10,000": ("bce", 1e4 * (1 - 2 * disk), disk),
        "Focal: wrong logits of 10,000": ("focal", 1e4 * (1 - 2 * disk), disk),
        "Focal: right logits of 10,000": ("focal", 1e4 * (2 * disk - 1), disk),
    }


def edges_section() -> list[str]:
    """Measure all edge cases with all libraries; return the table and what measured it."""
    found = adapters()

    def show(number: float) -> str:
        if not np.isfinite(number):
            return f"**{number}**"
        return "0" if abs(number) < 1e-12 else f"{number:.3g}"

    def cell(library: str, kind: str, x: np.ndarray, t: np.ndarray) -> str:
        if library not in found:
            return "not installed"
        if kind not in found[library]:
            return "jax only" if kind == "jit" else "has none"
        try:
            return ", ".join(map(show, found[library][kind](x, t)))
        except Exception as error:  # what a library raises is the finding
            return f"**{type(error).__name__}**"

    rows = [
        (case, *(cell(library, *about) for library in LIBRARIES))
        for case, about in edge_cases().items()
    ]
    packages = ["jax", "optax", "keras", "segmentation_models_pytorch", "monai", "torch"]
    versions = [version(p) if importlib.util.find_spec(p) else "not installed" for p in packages]
    installed = ", ".join(map(" ".join, zip(packages, versions, strict=True)))
    told = f"Measured {TODAY} on {jax.devices()[0].device_kind}: {installed}."
    return [*table(["case", *LIBRARIES], rows), "", told]


# ---- cost


def cost_section() -> list[str]:
    """Time value and gradient of every loss beside MSE on the same arrays, some classes absent."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=COST_SHAPE), jnp.float32)
    # Up to one disk per image and class, a third of them empty.
    count, height, width, classes = COST_SHAPE
    rows, columns = np.mgrid[:height, :width]
    cells = (count, 1, 1, classes)
    top, left = (rng.uniform(0, size, cells) for size in (height, width))
    radius = rng.uniform(3, 14, cells) * (rng.uniform(size=cells) < 2 / 3)
    drawn = (rows[..., None] - top) ** 2 + (columns[..., None] - left) ** 2 < radius**2
    masks = jnp.asarray(drawn, jnp.float32)
    labels = jnp.asarray(np.argmax(drawn, -1), jnp.int32)  # class 0 also where there is nothing

    def compiled(name: str) -> Callable[[], Any]:
        target = labels if LOSSES[name].reads == "softmax" else masks
        step = jax.jit(jax.value_and_grad(make_loss(name))).lower(x, target).compile()
        return lambda: jax.block_until_ready(step(x, target))

    steps = {name: compiled(name) for name in LOSSES}
    for step in steps.values():
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    # In rounds, so that a busy moment hits all alike; what comes first in a round finds other
    # things in the caches, so the order changes.
    for _ in range(REPEATS):
        for name in rng.permutation(list(steps)):
            times[name].append(timeit.timeit(steps[name], number=1))
    lines = []
    for name, taken in times.items():
        low, middle, high = np.percentile(np.array(taken) * 1e3, [25, 50, 75])
        ratio = middle / 1e3 / np.median(times["mse"])
        spread = f"{middle:.2f} ({low:.2f} to {high:.2f})"
        lines.append((name, spread, f"{ratio:.1f}", LOSSES[name].cost))
        if ratio > 2 and not LOSSES[name].cost:
            print(f"{name} takes {ratio:.1f} times MSE, and segjax.loss_table does not say why")
    about = {"shape": list(COST_SHAPE), "n": REPEATS, "today": TODAY, "cores": os.cpu_count()}
    about |= {"device": jax.devices()[0].device_kind, "jax": jax.__version__}
    about |= {"processor": platform.processor() or platform.machine(), "jaxlib": version("jaxlib")}
    head = ["loss", "ms: median (quartiles)", "times MSE", "what takes the time"]
    return [filled(__file__, **about), *table(head, lines)]


# ---- the page


def names_section() -> list[str]:
    """Return what each loss reads, and the table of names and settings on the command line."""
    rows = [
        (f"`{row.name}`", row.reads, ", ".join(f"`{p}`" for p in row.parameters), row.summary)
        for row in LOSSES.values()
    ]
    settings = [(f"`--{p.name}`", f"`{p.default!r}`", p.help) for p in PARAMETERS.values()]
    return [
        *(f"- {reads}: {text}" for reads, text in READS_HELP.items()),
        "",
        *table(["name", "reads", "settings", "what"], rows),
        "",
        *table(["setting", "default", "what"], settings),
    ]


SECTIONS = {"edges": edges_section, "names": names_section, "cost": cost_section}


def main() -> None:
    """Write the marked parts of the page that are named, or all of them and the pictures."""
    warnings.filterwarnings("ignore")
    page = ROOT / "docs" / "losses.md"
    for part in sys.argv[1:] or SECTIONS:
        write_part(page, part, "scripts/docs/losses.py", "\n".join(SECTIONS[part]()))
    if not sys.argv[1:]:
        for name in re.findall(r"^### .*: `(\w+)`$", page.read_text("utf-8"), re.MULTILINE):
            print("drew", draw(name), flush=True)


if __name__ == "__main__":
    main()
