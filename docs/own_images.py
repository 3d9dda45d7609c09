# %% [markdown]
"""# From a folder of images to a prediction

Photographs with masks are checked, a network is trained on them for about a minute, measured,
used on a picture of another size, and exported to a file that runs without segjax. Everything is
done from Python here; the same steps as commands are in [own-data.md](own-data.md),
[predict.md](predict.md) and [export.md](export.md).

In a copy of the repository: `pip install -e '.[notebook]'`, then open this file in any notebook
program. All outputs below are those of a real run, made by `scripts/docs/notebook.py`.
"""

# %%
import io
import os
import runpy
import tempfile
from pathlib import Path

import jax
import numpy as np
import PIL.Image
from IPython.display import Image

from segjax import Predictor, metrics
from segjax.data.check import __main__ as check
from segjax.export.folder import export_run
from segjax.main import load_config
from segjax.predict.files import overlay_picture
from segjax.runs.folder import RunFolder
from segjax.training.run import run

repository = Path.cwd().parent  # this notebook is in docs/
os.chdir(tempfile.mkdtemp())  # all that it makes goes elsewhere


def picture(content, *, width=720):
    """Show a picture's file or array, small enough for a notebook."""
    if isinstance(content, np.ndarray):
        image = PIL.Image.fromarray(content)
    else:
        image = PIL.Image.open(content).convert("RGB")
    image = image.resize((width, round(image.height * width / image.width)))
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", quality=80)
    return Image(jpeg.getvalue(), format="jpeg")


# %% [markdown]
# ## 1. A folder of images and masks
#
# Yours could be in any of the layouts of [own-data.md](own-data.md). Here a script makes one: a
# photograph of stained tissue that scikit-image ships, cut into 64 tiles. The masks are drawn by
# scikit-image's functions: blue nuclei are class 1, the brown stain is class 2.

# %%
example = runpy.run_path(str(repository / "scripts" / "make_example_folder.py"))
example["main"](["photos"])
for path in sorted(Path("photos").glob("*/*"))[::20]:
    print(path.as_posix(), PIL.Image.open(path).size)

# %% [markdown]
# The two lowest rows of tiles are taken out and joined again. This strip is the picture of another
# size on which the network is tried at the end; training never sees it.


# %%
def take_strip(folder):
    """Take the last 16 tiles out of a folder; return them joined, cut to an odd size."""
    files = sorted(Path(folder).glob("*.png"))[-16:]
    tiles = [np.asarray(PIL.Image.open(file)) for file in files]
    for file in files:
        file.unlink()
    rows = [np.concatenate(tiles[at : at + 8], axis=1) for at in (0, 8)]
    return np.concatenate(rows)[:117, :501]


strip, strip_truth = take_strip("photos/images"), take_strip("photos/masks")
print(strip.shape, strip.dtype, "mask values", np.unique(strip_truth))

# %% [markdown]
# ## 2. Check it before any training
#
# As a command: `python -m segjax.data.check photos --sheet=photos.png`. It names what is wrong:
# files without a mask, sizes that differ, mask values out of range, damaged files, copies in two
# splits.

# %%
failed = check.main(["photos", "--sheet=photos.png"])

# %% [markdown]
# And it draws a contact sheet. **Look at it.** Masks that are shifted, turned or of another picture
# pass every check but this one.

# %%
picture("photos.png")

# %% [markdown]
# ## 3. Train
#
# The settings are those of `configs/own.py`, a start for photographs, with fewer epochs, and turned
# pictures, too: tissue has no up and down. As a command:
#
#     python -m segjax.main --config=configs/own.py --data=folder:photos --run_dir=runs/tissue \
#         --epochs=30 --augment=flip,flip_vertical,rotate90,colour

# %%
settings = load_config(str(repository / "configs" / "own.py"))
settings = settings.replace(
    data="folder:photos",
    run_dir="runs/tissue",
    epochs=30,
    augment="flip,flip_vertical,rotate90,colour",
    progress="off",
)
lines = []
result = run(settings, say=lines.append)
print("\n".join([*lines[:6], "...", *lines[-8:]]))

# %% [markdown]
# The curves: the loss should fall, and the validation mIoU rise. Where it rises and then falls, the
# network learns the training images by heart: more `--augment`, or more images.

# %%
picture("runs/tissue/loss.png")

# %% [markdown]
# ## 4. What it is worth
#
# Scores on the test images, which were drawn before training and used nowhere else, of the
# checkpoint that was best on the validation images. They are few, and all from one photograph:
# enough to see that it works, too few to say how well.

# %%
scores = RunFolder("runs/tissue").results()["test"]["half"]
print(f"{'':8}{'IoU':>8}{'Dice':>8}{'precision':>11}{'recall':>8}")
per_class = (scores["per_class"][name] for name in ("iou", "dice", "precision", "recall"))
for name, *row in zip(result.results["classes"], *per_class, strict=True):
    print("{:8}{:8.3f}{:8.3f}{:11.3f}{:8.3f}".format(name, *row))
print(f"mean IoU {scores['mean']['iou']:.3f}, pixel accuracy {scores['pixel_accuracy']:.3f}")

# %%
picture("runs/tissue/predictions.png")

# %% [markdown]
# ## 5. Predict an image of another size
#
# Any size works: sides are brought to multiples of 8 by mirroring, large images are cut into tiles.
# `scale="native"`, because the strip shows the tissue as large as the training tiles do. Without it
# the strip would be scaled to the training images' size, which is right for pictures of whole
# scenes. As a command: `python -m segjax.predict runs/tissue strip.png --scale=native`.

# %%
predictor = Predictor.load("runs/tissue", scale="native")
prediction = predictor(strip)
print(prediction.labels.shape, prediction.labels.dtype, prediction.class_names)

# %% [markdown]
# From top to bottom: the image, the network's classes over it, the masks that scikit-image drew.

# %%
rows = [strip, overlay_picture(strip, prediction.labels), overlay_picture(strip, strip_truth)]
picture(np.concatenate(rows))

# %%
classes = np.arange(1, 1 + len(prediction.class_names))
counts = metrics.count(
    prediction.labels[None, ..., None] == classes, strip_truth[None, ..., None] == classes
)
for name, value in zip(prediction.class_names, metrics.iou(counts, average="none"), strict=True):
    print(f"{name:8} IoU {float(value):.3f}")

# %% [markdown]
# ## 6. Take it elsewhere
#
# As a command: `python -m segjax.export runs/tissue exported`; `--format=onnx` for ONNX. Each file
# is run and compared with the network before the folder is there.

# %%
exported = export_run("runs/tissue", "exported")
print({file.name: file.stat().st_size for file in sorted(Path("exported").iterdir())})

# %% [markdown]
# The program is reloaded with jax alone. It takes any number of images of the training size.

# %%
program = jax.export.deserialize(bytearray(Path("exported/network.jaxexport").read_bytes()))
tiles = np.stack([strip[:64, left : left + 64] for left in (0, 100, 200, 300, 400)])
outputs = program.call(tiles)
print({name: (output.shape, str(output.dtype)) for name, output in outputs.items()})

own = [predictor(tile) for tile in tiles]
apart = np.abs(np.stack([each.scores for each in own]) - outputs["scores"]).max()
print(f"scores differ by at most {float(apart):.0e}")
