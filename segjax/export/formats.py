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
from segjax.export import onnx_graph
from segjax.predict.trained import Trained, strongest

# images uint8 [B, H, W, 3] -> scores float32 [B, H, W, C], labels uint8 [B, H, W]
Run = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
DLSTUDIO_CLASSES = 5


@dataclasses.dataclass(frozen=True)
class Format:
    """One way to take a network elsewhere.

    Attributes:
      file: its file's name.
      packages: what it needs beside segjax's own packages; the extra of its name installs them.
      write: (trained, path, image size) writes the file.
      read: (trained, path) -> a function that runs what the file holds.
      tolerances: how far scores may be off in float32 and in lower precision, relative to the
        largest score or 1; 0 where the numbers are segjax's own, bit for bit.
    """

    name: str
    file: str
    packages: tuple[str, ...]
    write: Callable[[Trained, Path, tuple[int, int]], None]
    read: Callable[[Trained, Path], Run]
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
        if self.name == "dlstudio":
            _refuse_for_dlstudio(trained)

    def versions(self) -> dict[str, str]:
        """Return the versions that wrote and checked the file."""
        return {name: importlib.metadata.version(name) for name in ("jax", *self.packages)}


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


def read_program(_: Trained, path: Path) -> Run:
    """Return the serialised program."""
    program = export.deserialize(bytearray(path.read_bytes()))

    def run(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        result = program.call(images)
        return np.asarray(result["scores"]), np.asarray(result["labels"])

    return run


def read_onnx(_: Trained, path: Path) -> Run:
    """Return the ONNX file's network, run by onnxruntime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scores, labels = session.run(["scores", "labels"], {"images": images.astype(np.float32)})
        return scores, labels

    return run


def write_safetensors(trained: Trained, path: Path, _: tuple[int, int]) -> None:
    """Write parameters and running statistics under names such as params/conv_in/kernel."""
    from safetensors.numpy import save_file

    about = {
        "classes": json.dumps(list(trained.class_names)),
        "config": json.dumps(trained.config.to_dict()),
    }
    save_file(_flat(trained.variables), path, metadata=about)


def read_safetensors(trained: Trained, path: Path) -> Run:
    """Return segjax's network with the weights in the file."""
    from safetensors.numpy import load_file

    stored, names = load_file(path), list(_flat(trained.variables))
    if sorted(stored) != sorted(names):
        raise ConfigError(f"{path}: does not hold the tensors that were written")
    leaves = [stored[name] for name in names]
    structure = jax.tree.structure(dict(trained.variables))
    return _own_network(trained, jax.tree.unflatten(structure, leaves))


def write_dlstudio(trained: Trained, path: Path, _: tuple[int, int]) -> None:
    """Write the state_dict that DLStudio's test pass loads."""
    write_torch_file(path, dlstudio.to_arrays(trained.variables))


def read_dlstudio(trained: Trained, path: Path) -> Run:
    """Return segjax's network with the weights in DLStudio's file."""
    skips = trained.config.skip_connections
    return _own_network(trained, dlstudio.from_state_dict(path, skip_connections=skips).variables)


# The program is XLA's either way; another runtime sums in another order, and in float32.
_JAX = Format("jax", "network.jaxexport", (), write_program, read_program, (1e-5, 1e-5))
_ONNX = Format(
    "onnx", "network.onnx", ("onnx", "onnxruntime"), onnx_graph.write, read_onnx, (1e-4, 5e-2)
)
_TENSORS = ("safetensors", "weights.safetensors", ("safetensors",))
_SAFETENSORS = Format(*_TENSORS, write_safetensors, read_safetensors)
_DLSTUDIO = Format("dlstudio", "saved_model", (), write_dlstudio, read_dlstudio)
FORMATS = {form.name: form for form in (_JAX, _ONNX, _SAFETENSORS, _DLSTUDIO)}


def _flat(variables: Any) -> dict[str, np.ndarray]:
    """Return the arrays in the tree's order, named by their path."""
    return {
        "/".join(str(key.key) for key in path): np.ascontiguousarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(dict(variables))
    }


def _own_network(trained: Trained, variables: Any) -> Run:
    scores_of = jax.jit(trained.scores)

    def run(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scores = np.asarray(scores_of(variables, images))
        return scores, strongest(scores, multiclass=trained.multiclass)

    return run


def _refuse_for_dlstudio(trained: Trained) -> None:
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
