"""Weights of DLStudio's mUnet: its state_dict to segjax variables and back, exactly.

DLStudio constructs more than it runs (``segjax.networks.munet`` has only what runs). Tensors that
segjax does not hold, the never-run ones and batch norm's batch counters, travel in
``Imported.extra``.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from segjax.dlstudio.torchfile import read_torch_file, write_torch_file
from segjax.errors import CheckpointError

Arrays = dict[str, np.ndarray]
Variables = dict[str, Any]
Head = Literal["dlstudio", "dense"]

HEAD_SIZES: dict[Head, int] = {"dlstudio": 3, "dense": 2}
UPSAMPLER_SIZES: dict[Head, int] = {"dlstudio": 1, "dense": 2}
_ROW = re.compile(r"^(skip\d+(?:DN|UP)_arr)\.(\d+)")
_HEADS = {size: head for head, size in HEAD_SIZES.items()}
_UPSAMPLERS = {size: kind for kind, size in UPSAMPLER_SIZES.items()}
_COUNTER = "num_batches_tracked"
_NORM_PARTS = {
    "weight": ("params", "scale"),
    "bias": ("params", "bias"),
    "running_mean": ("batch_stats", "mean"),
    "running_var": ("batch_stats", "var"),
}


@dataclass(frozen=True)
class Imported:
    """DLStudio's weights as segjax holds them.

    Attributes:
      variables: {'params': ..., 'batch_stats': ...} of NumPy arrays, for ``MUnet.apply``.
      depth: the constructor's argument; DLStudio halves it, so an odd one comes back even.
      skip_connections: whether the additions inside blocks were on.
      head: 'dlstudio' for the 3x3 output layer, 'dense' for a 2x2 one put in its place.
      upsampling: 'dlstudio' for the 1x1 upsamplers, 'dense' for 2x2 ones put in their place.
      num_classes: output channels.
      extra: the tensors segjax does not hold, under DLStudio's names.
    """

    variables: Variables
    depth: int
    skip_connections: bool
    head: Head = "dlstudio"
    upsampling: Head = "dlstudio"
    num_classes: int = 5
    extra: Arrays = field(default_factory=dict)


class Kind(NamedTuple):
    """What names and shapes tell of an mUnet."""

    depth: int
    head: Head = "dlstudio"
    upsampling: Head = "dlstudio"
    num_classes: int = 5


class Layer(NamedTuple):
    """One layer that DLStudio constructs: ``name`` is its prefix in the state_dict."""

    name: str
    kind: Literal["conv", "transposed", "norm"]
    inputs: int
    outputs: int
    size: int
    runs: bool

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each of its tensors, in PyTorch's order."""
        if self.kind == "norm":
            parts = ("weight", "bias", "running_mean", "running_var")
            return {**dict.fromkeys(parts, (self.outputs,)), _COUNTER: ()}
        ends = (self.outputs, self.inputs)
        ends = ends if self.kind == "conv" else ends[::-1]
        return {"weight": (*ends, self.size, self.size), "bias": (self.outputs,)}


def layers(kind: Kind) -> Iterator[Layer]:
    """Yield the layers that DLStudio's mUnet constructs, run or not, in its state_dict's order."""
    half, early = kind.depth // 2, kind.depth // 2 // 4

    def norm(name: str, channels: int, runs: bool = True) -> Layer:
        return Layer(name, "norm", channels, channels, 0, runs)

    def block(
        name: str,
        inputs: int,
        outputs: int,
        resampler: str | None = None,
        runs: bool = True,
    ) -> Iterator[Layer]:
        # 'DN' is in the names of the left arm's blocks only.
        form: Literal["conv", "transposed"] = "conv" if "DN" in name else "transposed"
        conv = "convo" if form == "conv" else "convoT"
        second = runs and inputs == outputs
        yield Layer(f"{name}.{conv}1", form, inputs, outputs, 3, runs)
        yield Layer(f"{name}.{conv}2", form, inputs, outputs, 3, second)
        yield norm(f"{name}.bn1", outputs, runs)
        yield norm(f"{name}.bn2", outputs, second)
        if resampler:
            size = UPSAMPLER_SIZES[kind.upsampling] if form == "transposed" else 1
            yield Layer(f"{name}.{resampler}", form, inputs, outputs, size, runs)

    yield Layer("conv_in", "conv", 3, 64, 3, True)
    yield norm("bn1DN", 64)
    yield norm("bn2DN", 128)
    for i in range(half):
        yield from block(f"skip64DN_arr.{i}", 64, 64)
    yield from block("skip64dsDN", 64, 64, "downsampler")
    yield from block("skip64to128DN", 64, 128)
    for i in range(half):
        yield from block(f"skip128DN_arr.{i}", 128, 128)
    yield from block("skip128dsDN", 128, 128, "downsampler")
    yield norm("bn1UP", 128)
    yield norm("bn2UP", 64)
    for i in range(half):
        yield from block(f"skip64UP_arr.{i}", 64, 64)
    yield from block("skip64usUP", 64, 64, "upsampler")
    yield from block("skip128to64UP", 128, 64)
    for i in range(half):
        yield from block(f"skip128UP_arr.{i}", 128, 128, runs=i < early)
    yield from block("skip128usUP", 128, 128, "upsampler")
    yield Layer("conv_out", "transposed", 64, kind.num_classes, HEAD_SIZES[kind.head], True)


def from_state_dict(
    source: Mapping[str, Any] | str | os.PathLike[str],
    *,
    skip_connections: bool | None = None,
) -> Imported:
    """Convert a state_dict of DLStudio's mUnet, or its file, to segjax variables.

    Depth, head, upsampling and class count are read off names and shapes. ``skip_connections``
    changes no tensor's shape, but it leaves its mark on the running statistics of a trained network
    (see ``recognise_skip_connections``); say it for a network that was never trained.

    ``source`` maps names to arrays (or CPU tensors), or is the path of the ``saved_model`` that
    DLStudio writes; a file is read without PyTorch and without running code from it. Floating
    dtypes are kept. Raises CheckpointError, naming the file and the tensor, if the weights are not
    those of an mUnet, are incomplete or not finite, or do not tell their skip setting.
    """
    if isinstance(source, Mapping):
        where, arrays = "state_dict", {name: np.asarray(value) for name, value in source.items()}
    else:
        where, arrays = os.fspath(source), read_torch_file(source)
    kind = _recognise(where, arrays)
    expected = list(layers(kind))
    _check(where, arrays, expected)
    variables: Variables = {"params": {}, "batch_stats": {}}
    extra: Arrays = {}
    for layer in expected:
        for part in layer.shapes():
            name = f"{layer.name}.{part}"
            place = _place(layer, part)
            if place is None:
                extra[name] = arrays[name].copy()
            else:
                _store(variables, place, _to_segjax(layer, part, arrays[name]))
    if skip_connections is None:
        skip_connections = recognise_skip_connections(arrays, depth=kind.depth)
        if skip_connections is None:
            raise CheckpointError(
                f"{where}: these weights do not tell whether skip connections were on (the "
                "network looks untrained); say skip_connections=True or False"
            )
    return Imported(
        variables,
        kind.depth,
        skip_connections,
        kind.head,
        kind.upsampling,
        kind.num_classes,
        extra,
    )


def to_arrays(
    variables: Mapping[str, Any], *, extra: Mapping[str, Any] | None = None, seed: int = 0
) -> Arrays:
    """Convert segjax variables to DLStudio's state_dict as NumPy arrays.

    Tensors that segjax does not hold are taken from ``extra`` (``Imported.extra``); where it lacks
    them they get PyTorch's initial values, drawn from ``seed``. Raises CheckpointError if the
    variables are not those of a ``segjax.MUnet`` or an extra tensor does not fit.
    """
    extra = dict(extra or {})
    kind = _recognise_variables(variables)
    random = np.random.default_rng(seed)
    dtype = np.asarray(variables["params"]["conv_in"]["kernel"]).dtype
    result: Arrays = {}
    for layer in layers(kind):
        for part, shape in layer.shapes().items():
            name = f"{layer.name}.{part}"
            place = _place(layer, part)
            if place is not None:
                result[name] = _to_torch(layer, part, _fetch(variables, place))
            elif name in extra:
                result[name] = np.array(extra.pop(name))
            else:
                result[name] = _initial(layer, part, random, dtype)
            if result[name].shape != shape:
                raise CheckpointError(f"{name}: shape {result[name].shape} instead of {shape}")
    unknown = [name for name in extra if name not in result]
    if unknown:
        raise CheckpointError(
            f"extra tensor {unknown[0]!r} has no place in a depth-{kind.depth} mUnet"
        )
    return result


def to_state_dict(
    variables: Mapping[str, Any], *, extra: Mapping[str, Any] | None = None, seed: int = 0
) -> dict[str, Any]:
    """Convert segjax variables to tensors that DLStudio's ``net.load_state_dict`` takes strictly.

    As ``to_arrays``, in PyTorch's tensors; raises ImportError without PyTorch, for which there are
    ``to_arrays`` and ``write_saved_model``.
    """
    import torch

    arrays = to_arrays(variables, extra=extra, seed=seed)
    return {name: torch.from_numpy(value) for name, value in arrays.items()}


def write_saved_model(
    path: str | os.PathLike[str],
    variables: Mapping[str, Any],
    *,
    extra: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> None:
    """Write segjax variables as the file that DLStudio's test pass loads; needs no PyTorch."""
    write_torch_file(path, to_arrays(variables, extra=extra, seed=seed))


def recognise_skip_connections(state_dict: Mapping[str, Any], *, depth: int) -> bool | None:
    """Tell from running statistics whether skip connections were on; None if they do not say.

    Without them the layers before bn1DN, bn2DN and bn2UP (its channels from 32 up) end in
    y = relu(g z + b) with z standardised over the batch, whatever the images. Then
    0 <= mean(y) <= (b + sqrt(b^2 + g^2)) / 2 and var(y) <= g^2, and the running statistics are
    averages of such values and of the initial 0 and 1. With skip connections the sum of all earlier
    blocks comes on top, and few channels stay within those bounds.
    """
    half, early = depth // 2, depth // 2 // 4
    before_bn2 = f"skip128DN_arr.{early - 1}.bn2" if early else "skip64to128DN.bn1"
    sites = (
        ("bn1DN", f"skip64DN_arr.{half - 1}.bn2", slice(None)),
        ("bn2DN", before_bn2, slice(None)),
        ("bn2UP", f"skip64UP_arr.{half - 1}.bn2", slice(32, None)),
    )

    def read(name: str, channels: slice) -> np.ndarray:
        return np.asarray(state_dict[name], np.float64)[channels]

    inside = []
    for norm, before, channels in sites:
        mean = read(f"{norm}.running_mean", channels)
        variance = read(f"{norm}.running_var", channels)
        if not mean.any() and (variance == 1).all():
            return None
        scale, shift = read(f"{before}.weight", channels), read(f"{before}.bias", channels)
        most = np.maximum(shift + np.hypot(scale, shift), 0) / 2
        # A tenth more, since scale and shift have moved on a little since the statistics.
        within = (mean >= -0.01) & (mean <= 1.1 * most + 0.01)
        inside.append(within & (variance <= 1.1 * np.maximum(scale**2, 1)))
    share = np.concatenate(inside).mean()
    if share >= 0.95:
        return False
    return True if share <= 0.7 else None


def _recognise(where: str, arrays: Mapping[str, np.ndarray]) -> Kind:
    rows = [int(m[2]) for name in arrays if (m := _ROW.match(name)) and m[1] == "skip64DN_arr"]
    out, up = arrays.get("conv_out.weight"), arrays.get("skip64usUP.upsampler.weight")
    if not rows or out is None or out.ndim != 4 or up is None or up.ndim != 4:
        hint = ""
        if any(name.startswith("module.") for name in arrays):
            hint = "; its names begin with 'module.': save net.module.state_dict()"
        raise CheckpointError(f"{where}: not the weights of DLStudio's mUnet{hint}")
    if out.shape[2] not in _HEADS or up.shape[2] not in _UPSAMPLERS:
        raise CheckpointError(
            f"{where}: conv_out.weight has shape {out.shape} and the upsamplers' {up.shape}; "
            "known are 3x3 and 1x1 (DLStudio's), and 2x2 for either (every pixel)"
        )
    return Kind(2 * (max(rows) + 1), _HEADS[out.shape[2]], _UPSAMPLERS[up.shape[2]], out.shape[1])


def _check(where: str, arrays: Mapping[str, np.ndarray], expected: list[Layer]) -> None:
    shapes = {
        f"{layer.name}.{part}": shape
        for layer in expected
        for part, shape in layer.shapes().items()
    }
    missing = [name for name in shapes if name not in arrays]
    unknown = [name for name in arrays if name not in shapes]
    if missing or unknown:
        count, what, name = (
            (len(missing), "missing", missing[0])
            if missing
            else (len(unknown), "unknown", unknown[0])
        )
        raise CheckpointError(
            f"{where}: {count} tensor(s) {what}, the first is {name!r}; these are not the weights "
            "of DLStudio 2.3.6's mUnet"
        )
    for name, shape in shapes.items():
        value = arrays[name]
        if value.shape != shape:
            raise CheckpointError(f"{where}: {name} has shape {value.shape} instead of {shape}")
        if name.endswith(_COUNTER):
            continue
        if value.dtype.kind != "f":
            raise CheckpointError(f"{where}: {name} has dtype {value.dtype}, not a floating one")
        if not np.isfinite(value).all():
            raise CheckpointError(f"{where}: {name} holds values that are not finite")


def _recognise_variables(variables: Mapping[str, Any]) -> Kind:
    try:
        params = variables["params"]
        kernel = params["conv_out"]["kernel"]
        up = params["skip64usUP"]["upsampler"]["kernel"]
        half = sum(name.startswith("skip64DN_arr_") for name in params)
        return Kind(2 * half, _HEADS[kernel.shape[0]], _UPSAMPLERS[up.shape[0]], kernel.shape[-1])
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"these are not the variables of a segjax.MUnet: {error}") from None


def _place(layer: Layer, part: str) -> tuple[str, ...] | None:
    """Return where segjax keeps a tensor, or None if it does not."""
    if not layer.runs or part == _COUNTER:
        return None
    modules = _ROW.sub(r"\1_\2", layer.name).split(".")
    if layer.kind == "norm":
        collection, leaf = _NORM_PARTS[part]
        return (collection, *modules, leaf)
    return ("params", *modules, "kernel" if part == "weight" else "bias")


def _to_segjax(layer: Layer, part: str, value: np.ndarray) -> np.ndarray:
    if layer.kind == "norm" or part == "bias":
        return value.copy()
    if layer.kind == "conv":
        return np.ascontiguousarray(value.transpose(2, 3, 1, 0))
    return np.ascontiguousarray(_turned(value).transpose(2, 3, 0, 1))


def _to_torch(layer: Layer, part: str, value: np.ndarray) -> np.ndarray:
    if layer.kind == "norm" or part == "bias":
        return value.copy()
    if layer.kind == "conv":
        return np.ascontiguousarray(value.transpose(3, 2, 0, 1))
    return np.ascontiguousarray(_turned(value.transpose(2, 3, 0, 1)))


def _turned(weight: np.ndarray) -> np.ndarray:
    """Flip a transposed kernel [I, O, k, k]: segjax stores the convolution it amounts to.

    2x2 taps with stride 2 do not overlap and are stored as they are.
    """
    return weight if weight.shape[-1] == 2 else weight[:, :, ::-1, ::-1]


def _initial(layer: Layer, part: str, random: np.random.Generator, dtype: Any) -> np.ndarray:
    shape = layer.shapes()[part]
    if layer.kind == "norm":
        if part == _COUNTER:
            return np.zeros(shape, np.int64)
        return np.full(shape, 1 if part in ("weight", "running_var") else 0, dtype)
    fan_in = layer.size**2 * (layer.inputs if layer.kind == "conv" else layer.outputs)
    bound = 1 / np.sqrt(fan_in)
    return random.uniform(-bound, bound, shape).astype(dtype)


def _store(variables: Variables, place: tuple[str, ...], value: np.ndarray) -> None:
    for step in place[:-1]:
        variables = variables.setdefault(step, {})
    variables[place[-1]] = value


def _fetch(variables: Mapping[str, Any], place: tuple[str, ...]) -> np.ndarray:
    node: Any = variables
    try:
        for step in place:
            node = node[step]
    except (KeyError, TypeError):
        raise CheckpointError(
            f"these are not the variables of a segjax.MUnet: {'/'.join(place)} is missing"
        ) from None
    return np.asarray(node)
