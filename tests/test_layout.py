"""The layers hold: imports point down, and what must stay light does."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "segjax"
LAYERS = (
    {"errors", "config", "loss_table", "augment_table", "purdue"},
    {"losses", "metrics", "conv", "norm", "layers", "model", "unet", "networks", "data"}
    | {"backend", "devices", "processes", "decode", "class_weights", "floors", "tiling", "summary"},
    {"objective", "optim", "augment", "train", "many", "evaluate", "sinks"},
    {"checkpoint", "rundir", "seeds", "sources", "interop"},
    {"plots", "outcome", "trainer", "tracing", "runner"},
    {"trained"},
    {"predictor"},
    {"main", "predict", "export", "show"},
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
# plots reads what a run wrote and knows no other module but names and windows.
RANK["plots"] = 1


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("segjax"):
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("segjax."):
                    yield alias.name.split(".")[1]


@pytest.mark.parametrize("name", sorted(RANK))
def test_imports_point_to_lower_layers(name):
    home = ROOT / name
    files = sorted(home.rglob("*.py")) if home.is_dir() else [home.with_suffix(".py")]
    for path in files:
        if not path.exists():
            continue
        for other in imports_of(path):
            if other in RANK and other != name:
                assert RANK[other] <= RANK[name], f"{path} imports segjax.{other}"


@pytest.mark.parametrize(
    ("module", "banned"),
    [
        ("segjax", {"jax", "numpy"}),
        ("segjax.config", {"jax", "numpy"}),
        ("segjax.data", {"jax", "flax"}),
        ("segjax.losses", {"flax", "optax", "orbax", "matplotlib", "scipy.ndimage"}),
        ("segjax.metrics", {"flax", "optax", "orbax", "matplotlib"}),
        ("segjax.plots", {"jax", "flax"}),
        ("segjax.training.run", {"torch", "tensorboardX"}),
        ("segjax.predict.__main__", {"jax", "numpy"}),
        ("segjax.show", {"jax", "numpy"}),
        ("segjax.export.__main__", {"jax", "numpy"}),
        ("segjax.predict.predictor", {"torch", "onnx", "onnxruntime", "safetensors"}),
    ],
)
def test_importing_a_part_stays_light(module, banned):
    code = f"import sys, {module}; print(*sorted({banned!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""
