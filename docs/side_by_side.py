# %% [markdown]
"""# DLStudio and segjax, side by side

The same network, loss and step twice: in PyTorch as DLStudio has them, and in JAX as segjax does.
Each cell does one thing on both sides and compares the numbers.

In a copy of the repository: `pip install -e '.[notebook,parity]'` and
`pip install --no-deps DLStudio==2.3.6`. All outputs below are those of a real run, made by
`scripts/docs/notebook.py`.
"""

# %%
import io
import sys

sys.path.insert(0, "..")  # for tests.parity, which loads DLStudio without what it never uses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from IPython.display import Image

from segjax import data, losses, plots
from segjax.dlstudio.weights import from_state_dict, to_arrays
from segjax.networks.munet import MUnet
from tests.parity.stand_ins import load_dlstudio

DEPTH, BATCH, STEPS = 4, 4, 10
torch.manual_seed(0)


def apart(ours, theirs):
    """Return the largest difference, in parts of the largest number."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    return f"{np.abs(ours - theirs).max() / np.abs(theirs).max():.1e}"


# %% [markdown]
# ## 1. The images
#
# Drawn here in the style of PurdueShapes5MultiObject. PyTorch puts channels first, JAX last;
# everything else is the same array. Masks hold a value for each class: 50, 100, ..., 250.

# %%
scenes = data.synthetic(BATCH * STEPS, seed=0)
images, masks = (array.astype(np.float32) for array in (scenes.images, scenes.masks))


def nchw(array):
    """Return an array as PyTorch wants it, channels first."""
    return torch.from_numpy(array.transpose(0, 3, 1, 2).copy())


def nhwc(tensor):
    """Return a tensor as an array, channels last."""
    return tensor.detach().numpy().transpose(0, 2, 3, 1)


print("segjax  ", images.shape, masks.shape)
print("DLStudio", tuple(nchw(images).shape), tuple(nchw(masks).shape))

# %% [markdown]
# ## 2. The network
#
# DLStudio draws the weights; segjax takes them over by name. A PyTorch module holds its weights; a
# Flax module is a function of them.

# %%
SemanticSegmentation = load_dlstudio().SemanticSegmentation
net = SemanticSegmentation.mUnet(skip_connections=True, depth=DEPTH)
imported = from_state_dict(net.state_dict(), skip_connections=True)
model, variables = MUnet(depth=DEPTH), jax.tree.map(jnp.asarray, imported.variables)

net.eval()
with torch.no_grad():
    theirs = nhwc(net(nchw(images[:BATCH])))
ours = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, images[:BATCH])
print("outputs", ours.shape, "differ by", apart(ours, theirs))

# %% [markdown]
# ## 3. One pixel in four
#
# The last layer is a transposed convolution with kernel 3, stride 2 and dilation 2: its taps land
# two pixels apart. So it writes where row and column are both even; the rest is the bias.

# %%
written = np.zeros((64, 64), bool)
written[::2, ::2] = True
for name, outputs in (("segjax  ", np.asarray(ours)), ("DLStudio", theirs)):
    here, rest = (np.ptp(outputs[:, where], axis=(0, 1)).max() for where in (written, ~written))
    print(f"{name} range of a channel where written {here:.3f}, elsewhere {rest}")

# %% [markdown]
# ## 4. The loss and its gradient
#
# DLStudio trains with the mean squared error against the mask values. PyTorch records what it
# computed and goes back over it; JAX makes a new function of the loss.

# %%
net.train()
criterion = torch.nn.MSELoss()
loss = criterion(net(nchw(images[:BATCH])), nchw(masks[:BATCH]))
loss.backward()


def loss_of(params, stats, images, masks):
    """Return the loss, and the running statistics that the pass leaves."""
    outputs, changed = model.apply(
        {"params": params, "batch_stats": stats}, images, train=True, mutable=["batch_stats"]
    )
    return losses.mse(outputs, masks), changed["batch_stats"]


value_and_grad = jax.jit(jax.value_and_grad(loss_of, has_aux=True))
params, stats = variables["params"], variables["batch_stats"]
(value, _), grads = value_and_grad(params, stats, images[:BATCH], masks[:BATCH])
print(f"MSE: segjax {value:.4f}, DLStudio {loss.item():.4f}")

by_name = to_arrays({"params": grads, "batch_stats": stats}, extra=imported.extra)
for name in ("conv_in.weight", "bn1DN.weight", "conv_out.weight"):
    print(
        f"gradient of {name:16} differs by",
        apart(by_name[name], dict(net.named_parameters())[name].grad),
    )

# %% [markdown]
# The report's Dice takes the whole batch as one vector of raw values, without a sigmoid:

# %%
p, t = (torch.from_numpy(array).flatten() for array in (theirs, masks[:BATCH]))
dice = 1 - 2 * (p * t).sum() / ((p * p).sum() + (t * t).sum() + 1e-6)
print(f"Dice: segjax {losses.dice(theirs, masks[:BATCH]):.6f}, by hand {dice:.6f}")
print(f"MSE + 400 Dice: {losses.combo(theirs, masks[:BATCH], dice_scale=400):.3f}")

# %% [markdown]
# ## 5. Ten steps
#
# SGD with momentum. In PyTorch the optimizer changes the weights in place; in JAX a step is a
# function from a state to the next one, so it can be compiled whole, repeated, or run for many
# seeds at once.

# %%
net = SemanticSegmentation.mUnet(skip_connections=True, depth=DEPTH)
net.load_state_dict(
    {n: torch.tensor(np.asarray(v)) for n, v in to_arrays(variables, extra=imported.extra).items()}
)
net.train()
sgd = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9)
optimizer = optax.sgd(1e-4, momentum=0.9)
state = optimizer.init(params)

print("step  segjax     DLStudio")
for step in range(STEPS):
    rows = slice(step * BATCH, (step + 1) * BATCH)
    sgd.zero_grad()
    loss = criterion(net(nchw(images[rows])), nchw(masks[rows]))
    loss.backward()
    sgd.step()

    (value, stats), grads = value_and_grad(params, stats, images[rows], masks[rows])
    updates, state = optimizer.update(grads, state)
    params = optax.apply_updates(params, updates)
    print(f"{step:4}  {value:9.4f}  {loss.item():9.4f}")

# %% [markdown]
# The weights after ten steps, and the running statistics of batch norm:

# %%
after = to_arrays({"params": params, "batch_stats": stats}, extra=imported.extra)
trained = {name: value.numpy() for name, value in net.state_dict().items()}
for name in ("conv_in.weight", "bn1DN.running_var", "conv_out.weight"):
    print(f"{name:18} differs by", apart(after[name], trained[name]))

# %% [markdown]
# ## 6. What ten steps see
#
# Both networks on the first two images, their outputs times 20, as after ten steps they are small:
# dots, on a grid of every second pixel. That is no lack of training. It is what the layer can
# write; with `MUnet(head="dense")` every pixel is computed ([study.md](study.md)).

# %%
net.eval()
with torch.no_grad():
    theirs = nhwc(net(nchw(images[:2])))
ours = model.apply({"params": params, "batch_stats": stats}, images[:2], train=False)
figure = plots.comparison_figure(
    scenes.images[:2],
    scenes.masks[:2],
    {"segjax": 20 * np.asarray(ours), "DLStudio": 20 * theirs},  # as yet they are small
    class_names=scenes.class_names,
    class_values=scenes.class_values,
    title="After ten steps, outputs times 20",
)
jpeg = io.BytesIO()
figure.savefig(jpeg, format="jpeg", dpi=70)
Image(jpeg.getvalue())
