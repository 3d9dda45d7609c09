"""Write tests/goldens: what DLStudio computes, small enough to keep, so tests need no PyTorch.

    python -m scripts.parity.goldens [--images PurdueShapes5MultiObject-20-train.gz]

Needs the extra [parity] and DLStudio 2.3.6 (``pip install --no-deps DLStudio==2.3.6``). Weights
and batches follow from ``tests/goldens/recipe.py``; everything is computed in float64, so a golden
is the same on every machine to about 1e-13. Of each large tensor two numbers are kept: its norm and
its projection on a fixed random direction, which any permutation, flip or sign would change.
"""

import argparse
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from tests.goldens import recipe

DEPTHS = (4, 8)


def compute(depth: int, *, skip: bool) -> dict[str, np.ndarray]:
    """Return the golden of one network, from DLStudio."""
    from tests.parity import torch_side

    state = recipe.random_state_dict(depth=depth)

    def fresh() -> Any:
        return torch_side.build(state, skip=skip, depth=depth, dtype="float64")

    [batch] = recipe.golden_batches(count=1)
    net = fresh()
    golden = {"evaluation": torch_side.forward(net, batch, train=False)}
    for loss in recipe.LEARNING_RATES:
        gradients = torch_side.gradients(fresh(), batch, loss=loss)
        ran = {name: value for name, value in gradients.items() if value is not None}
        golden[f"gradients_{loss}"] = recipe.digest(ran)
    golden["training"] = torch_side.forward(net, batch, train=True)
    statistics = {n: v for n, v in torch_side.state_of(net).items() if ".running_" in n}
    golden["statistics"] = recipe.digest(statistics)
    for loss in recipe.LEARNING_RATES:
        batches = recipe.golden_batches(count=recipe.STEPS)
        golden[f"losses_{loss}"] = np.array(torch_side.sgd_steps(fresh(), batches, loss=loss))
    return golden


def main() -> None:
    """Write all goldens."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=Path, help="cut the images anew from this data file")
    given = parser.parse_args()
    if given.images:
        from segjax import data

        cut = data.load(given.images)
        np.savez_compressed(recipe.IMAGES, images=cut.images, masks=cut.masks)
    import torch

    # A small state_dict with views, for the reader that has no PyTorch.
    tensors = {name: torch.tensor(value) for name, value in recipe.torch_file_tensors().items()}
    tensors["transposed"] = tensors["plain"].T  # three views of one storage
    tensors["slice"] = tensors["plain"][1:3, ::2]
    tensors["parameter"] = torch.nn.Parameter(tensors["parameter"])
    torch.save(OrderedDict(tensors), recipe.TORCH_FILE)
    for depth in DEPTHS:
        for skip in (True, False):
            path = recipe.golden_path(depth=depth, skip=skip)
            np.savez_compressed(path, **compute(depth, skip=skip))  # type: ignore[arg-type]
            print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
