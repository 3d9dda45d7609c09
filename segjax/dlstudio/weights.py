"""Weights of DLStudio's mUnet: its state_dict to segjax variables and back, exactly.

Tensors that segjax does not hold, those that never run and batch norm's batch counters, travel in
``Imported.extra``.
"""

import functools
import operator
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from segjax.dlstudio import layout
from segjax.dlstudio.layout import Head, Kind, tensors
from segjax.dlstudio.torchfile import read_torch_file
from segjax.errors import CheckpointError

Arrays = dict[str, np.ndarray]
Variables = dict[str, Any]

_HEADS = {size: head for head, size in layout.HEAD_SIZES.items()}
_UPSAMPLERS = {size: kind for kind, size in layout.UPSAMPLER_SIZES.items()}


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
    head: Head
    upsampling: Head
    num_classes: int
    extra: Arrays


def from_state_dict(
    source: Mapping[str, Any] | str | os.PathLike[str], *, skip_connections: bool | None = None
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
    expected = {tensor.name: tensor for tensor in tensors(kind)}
    for what, some, others in (("missing", expected, arrays), ("unknown", arrays, expected)):
        if names := [name for name in some if name not in others]:
            raise CheckpointError(
                f"{where}: {len(names)} tensor(s) {what}, the first is {names[0]!r}; these are not "
                "the weights of DLStudio 2.3.6's mUnet"
            )
    variables: Variables = {}
    extra: Arrays = {}
    for name, tensor in expected.items():
        place, value, told = tensor.place(), arrays[name], f"{where}: {name}"
        if value.shape != tensor.shape:
            raise CheckpointError(f"{told} has shape {value.shape} instead of {tensor.shape}")
        if tensor.part != layout.COUNTER and value.dtype.kind != "f":
            raise CheckpointError(f"{told} has dtype {value.dtype}, not a floating one")
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise CheckpointError(f"{told} holds values that are not finite")
        if place is None:
            extra[name] = value.copy()
        else:
            *path, leaf = place
            node = functools.reduce(lambda tree, key: tree.setdefault(key, {}), path, variables)
            node[leaf] = tensor.laid_out(value, to="segjax")
    if skip_connections is None:
        skip_connections = recognise_skip_connections(arrays, depth=kind.depth)
        if skip_connections is None:
            raise CheckpointError(
                f"{where}: these weights do not tell whether skip connections were on (the "
                "network looks untrained); say skip_connections=True or False"
            )
    return Imported(variables, skip_connections=skip_connections, extra=extra, **kind._asdict())


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
    result: Arrays = {}
    for tensor in tensors(kind):
        place, name = tensor.place(), tensor.name
        if place is not None:
            try:
                value = np.asarray(functools.reduce(operator.getitem, place, variables))
            except (KeyError, TypeError):
                raise CheckpointError(
                    f"these are not the variables of a segjax.MUnet: {'/'.join(place)} is missing"
                ) from None
            result[name] = tensor.laid_out(value, to="torch")
        elif name in extra:
            result[name] = np.array(extra.pop(name))
        else:
            result[name] = tensor.initial(random, result["conv_in.weight"].dtype)
        if result[name].shape != tensor.shape:
            raise CheckpointError(f"{name}: shape {result[name].shape} instead of {tensor.shape}")
    if odd := [name for name in extra if name not in result]:
        raise CheckpointError(f"extra tensor {odd[0]!r} has no place in a depth-{kind.depth} mUnet")
    return result


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
    inside = []
    for norm, before, first in (
        ("bn1DN", f"skip64DN_arr.{half - 1}.bn2", 0),
        ("bn2DN", before_bn2, 0),
        ("bn2UP", f"skip64UP_arr.{half - 1}.bn2", 32),
    ):
        names = f"{norm}.running_mean {norm}.running_var {before}.weight {before}.bias".split()
        arrays = (np.asarray(state_dict[name], np.float64) for name in names)
        mean, variance, scale, shift = (array[first:] for array in arrays)
        if not mean.any() and (variance == 1).all():
            return None
        most = np.maximum(shift + np.hypot(scale, shift), 0) / 2
        # A tenth more, since scale and shift have moved on a little since the statistics.
        within = (mean >= -0.01) & (mean <= 1.1 * most + 0.01)
        inside.append(within & (variance <= 1.1 * np.maximum(scale**2, 1)))
    share = np.concatenate(inside).mean()
    if share >= 0.95:
        return False
    return True if share <= 0.7 else None


def _recognise(where: str, arrays: Mapping[str, np.ndarray]) -> Kind:
    found = [layout.ROW.match(name) for name in arrays]
    rows = [int(row[2]) for row in found if row and row[1] == "skip64DN_arr"]
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


def _recognise_variables(variables: Mapping[str, Any]) -> Kind:
    try:
        params = variables["params"]
        kernel = params["conv_out"]["kernel"]
        up = params["skip64usUP"]["upsampler"]["kernel"]
        half = sum(name.startswith("skip64DN_arr_") for name in params)
        return Kind(2 * half, _HEADS[kernel.shape[0]], _UPSAMPLERS[up.shape[0]], kernel.shape[-1])
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"these are not the variables of a segjax.MUnet: {error}") from None
