"""Every loss over many settings: values and gradients are those of tests/goldens/losses.json."""

import json
from operator import attrgetter

import jax
import jax.numpy as jnp
import numpy as np

import segjax.losses
from tests.goldens import recipe

EPS = np.finfo(np.float32).eps


def _inputs():
    """Arrays by name; of the samples, valid has a part, one pixel and none."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 4, 5, 3)).astype(np.float32) * 2
    x[0, 0] = [[0, 0, 0], [60, -60, 1], [-60, -60, 60], [1, 1, 0], [20, 0, -20]]
    labels = rng.integers(0, 3, (3, 4, 5)) % np.array([3, 2, 3]).reshape(3, 1, 1)
    masks = rng.integers(0, 2, x.shape) * np.float32([[[[1, 1, 0]]], [[[0, 1, 1]]], [[[1, 1, 1]]]])
    valid = rng.uniform(size=labels.shape) < [[[0.6]], [[0]], [[0]]]
    valid[1, 2, 3] = True
    return {
        "x": x, "p": np.clip(x / 4 + 0.5, 0, 1), "labels": labels, "masks": masks, "valid": valid,
        "soft": masks * 0.7 + 0.1, "mixed": np.eye(3, dtype=np.float32)[labels] * 0.7 + 0.1,
        "near": np.float32([-1, 0, EPS / 2, EPS, 2 * EPS, 0.3, 4]), "half": np.float32(0.5),
    }  # fmt: skip


def _outputs(cases):
    def one(arrays, name, settings):
        given = {k: arrays[v] if str(v) in arrays else v for k, v in settings.items()}
        loss, first = attrgetter(name.strip("'"))(segjax.losses), given.pop(next(iter(given)))
        if name.endswith("'"):  # the gradient by the first argument
            return jax.grad(lambda x: sum(map(jnp.sum, jax.tree.leaves(loss(x, **given)))))(first)
        return loss(first, **given)

    def every(arrays):
        return [jax.tree.leaves(one(arrays, *case)) for case in cases]

    step = jax.jit(every, compiler_options={"xla_backend_optimization_level": 0})
    found = step({k: jnp.asarray(v) for k, v in _inputs().items()})
    flat = [np.concatenate([np.ravel(leaf) for leaf in leaves]) for leaves in found]
    return [values[:: 1 + values.size // 30] for values in flat]


def write():
    cases = [case for *case, _ in recipe.pinned("losses")]
    pairs = zip(cases, _outputs(cases), strict=True)
    rows = [[*case, [float(f"{v:.6g}") for v in values]] for case, values in pairs]
    text = "[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n"
    (recipe.FOLDER / "losses.json").write_text(text)


def test_pinned():
    rows = recipe.pinned("losses")
    for row, found in zip(rows, _outputs([row[:2] for row in rows]), strict=True):
        np.testing.assert_allclose(found, row[2], rtol=2e-5, atol=1e-7, err_msg=str(row[:2]))
