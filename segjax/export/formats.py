"""The formats of an exported network: how each is written, and how it is run to check it."""

import dataclasses
import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from segjax.dlstudio import weights as dlstudio
from segjax.dlstudio.torchfile import write_torch_file
from segjax.errors import ConfigError
from segjax.export.onnx_graph import write_onnx
from segjax.predict.trained import Trained, strongest

Outputs = tuple[np.ndarray, np.ndarray]  # scores float32 [B, H, W, C], labels uint8 [B, H, W]

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
DLSTUDIO_CLASSES = 5


@dataclasses.dataclass(frozen=True)
class Format:
    """One way to take a network elsewhere.

    Attributes:
      file: its file's name.
      packages: what it needs beside segjax's own packages; the extra of its name installs them.
      write: (trained, path, image size) writes the file.
      run: (trained, path, images uint8 [B, H, W, 3]) runs what the file holds.
      tolerances: how far scores may be off in float32 and in lower precision, relative to the
        largest score or 1; 0 where the numbers are segjax's own, bit for bit.
    """

    name: str
    file: str
    packages: tuple[str, ...]
    write: Callable[[Trained, Path, tuple[int, int]], None]
    run: Callable[[Trained, Path, np.ndarray], Outputs]
    tolerances: tuple[float, float] = (0.0, 0.0)

    def refuse(self, trained: Trained) -> None:
        """Raise ConfigError if packages are missing or the network does not go into the format."""
        for package in self.packages:
            try:
                importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                raise ConfigError(
                    f"--format={self.name} needs {package}: pip install 'segjax[{self.name}]'"
                ) from None
        if self.name != "dlstudio":
            return
        for name, own in (("network", "munet"), ("head", "dlstudio"), ("upsampling", "dlstudio")):
            kind = getattr(trained.config, name)
            if kind != own:
                raise ConfigError(
                    f"--format=dlstudio: DLStudio has no layer such as {name}={kind}; train with "
                    f"--{name}={own}, or choose jax, onnx or safetensors"
                )
        if trained.model.num_classes != DLSTUDIO_CLASSES:
            raise ConfigError(
                f"--format=dlstudio: DLStudio's mUnet has {DLSTUDIO_CLASSES} outputs, this network "
                f"{trained.model.num_classes}"
            )


def write_program(trained: Trained, path: Path, size: tuple[int, int]) -> None:
    """Serialise (images) -> {'scores', 'labels'} with its weights; the batch size stays open."""
    variables = jax.tree.map(jnp.asarray, dict(trained.variables))

    @jax.jit
    def network(images: jax.Array) -> dict[str, jax.Array]:
        scores = trained.scores(variables, images)
        return {"scores": scores, "labels": strongest(scores, multiclass=trained.multiclass)}

    shape = export.symbolic_shape(f"batch, {size[0]}, {size[1]}, 3")
    images = jax.ShapeDtypeStruct(shape, jnp.uint8)
    path.write_bytes(export.export(network, platforms=PLATFORMS)(images).serialize())


def run_program(_: Trained, path: Path, images: np.ndarray) -> Outputs:
    """Run the serialised program."""
    result = export.deserialize(bytearray(path.read_bytes())).call(images)
    return np.asarray(result["scores"]), np.asarray(result["labels"])


def run_onnx(_: Trained, path: Path, images: np.ndarray) -> Outputs:
    """Run the ONNX file's network by onnxruntime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    scores, labels = session.run(["scores", "labels"], {"images": images.astype(np.float32)})
    return scores, labels


def write_safetensors(trained: Trained, path: Path, _: tuple[int, int]) -> None:
    """Write parameters and running statistics under names such as params/conv_in/kernel."""
    from safetensors.numpy import save_file

    about = {
        "classes": json.dumps(list(trained.class_names)),
        "config": json.dumps(trained.config.to_dict()),
    }
    save_file(_flat(trained.variables), path, metadata=about)


def run_safetensors(trained: Trained, path: Path, images: np.ndarray) -> Outputs:
    """Run segjax's network with the weights in the file."""
    from safetensors.numpy import load_file

    stored, names = load_file(path), list(_flat(trained.variables))
    if sorted(stored) != sorted(names):
        raise ConfigError(f"{path}: does not hold the tensors that were written")
    structure = jax.tree.structure(dict(trained.variables))
    variables = jax.tree.unflatten(structure, [stored[name] for name in names])
    return _run_own(trained, variables, images)


def write_dlstudio(trained: Trained, path: Path, _: tuple[int, int]) -> None:
    """Write the state_dict that DLStudio's test pass loads."""
    write_torch_file(path, dlstudio.to_arrays(trained.variables))


def run_dlstudio(trained: Trained, path: Path, images: np.ndarray) -> Outputs:
    """Run segjax's network with the weights in DLStudio's file."""
    found = dlstudio.from_state_dict(path, skip_connections=trained.config.skip_connections)
    return _run_own(trained, found.variables, images)


def _flat(variables: Any) -> dict[str, np.ndarray]:
    """Return the arrays in the tree's order, named by their path."""
    return {
        "/".join(str(key.key) for key in path): np.ascontiguousarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(dict(variables))
    }


def _run_own(trained: Trained, variables: Any, images: np.ndarray) -> Outputs:
    scores = np.asarray(jax.jit(trained.scores)(variables, images))
    return scores, strongest(scores, multiclass=trained.multiclass)


# The program is XLA's either way; another runtime sums in another order, and in float32.
_ROWS: tuple[tuple[Any, ...], ...] = (
    ("jax", "network.jaxexport", (), write_program, run_program, (1e-5, 1e-5)),
    ("onnx", "network.onnx", ("onnx", "onnxruntime"), write_onnx, run_onnx, (1e-4, 5e-2)),
    ("safetensors", "weights.safetensors", ("safetensors",), write_safetensors, run_safetensors),
    ("dlstudio", "saved_model", (), write_dlstudio, run_dlstudio),
)
FORMATS = {row[0]: Format(*row) for row in _ROWS}
