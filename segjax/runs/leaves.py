"""What the arrays of a state are called, what they look like, and how they come back."""

import hashlib
import urllib.parse
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from segjax.errors import CheckpointError

# Settings that explain a difference in arrays better than the arrays do.
_TELLING = ("depth", "head", "num_classes", "loss", "optimizer", "dtype", "param_dtype")
_MOST_NAMED = 3


def named_leaves(tree: Any) -> dict[str, Any]:
    """Map names such as 'opt_state/0/trace/conv/kernel' to the leaves of any pytree, in order.

    The only leaf of a bare array is 'value'. Raises CheckpointError if two leaves have one name.
    """
    named: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        keys = (jax.tree_util.keystr((key,), simple=True) for key in path)
        name = "/".join(urllib.parse.quote(key, safe=" ") for key in keys) or "value"
        if name in named:
            raise CheckpointError(f"two arrays of the state have the same name, {name}: rename one")
        named[name] = leaf
    return named


def nested(named: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested dicts of names split at '/': `named_leaves` undone for dicts of dicts."""
    tree: dict[str, Any] = {}
    for name, leaf in named.items():
        *parents, last = map(urllib.parse.unquote, name.split("/"))
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[last] = leaf
    return tree


def describe(leaf: Any) -> dict[str, Any]:
    """Return shape and dtype of an array, an abstract array, a typed key or a Python number."""
    if not hasattr(leaf, "dtype"):
        leaf = np.asarray(leaf)
    return {"shape": [int(size) for size in leaf.shape], "dtype": str(leaf.dtype)}


def to_host(name: str, leaf: Any) -> tuple[np.ndarray, dict[str, Any]]:
    """Return a leaf as an array on the host, in C order, with its entry for the manifest.

    Raises CheckpointError if the leaf is no array of numbers, or lives partly in another process.
    """
    entry = describe(leaf)
    if hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        entry["key_impl"] = str(jax.random.key_impl(leaf))
        leaf = jax.random.key_data(leaf)
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        raise CheckpointError(f"{name} is spread over several processes; only one can save it")
    value = np.asarray(leaf, order="C")
    if value.dtype.kind in "OSUMm":
        raise CheckpointError(f"{name} holds {value.dtype}, not numbers: put it into meta instead")
    entry["sha256"] = digest(value)
    return value, entry


def digest(value: np.ndarray) -> str:
    """Return the SHA-256 of the bytes of an array in C order."""
    # Through uint8, as memoryview refuses bfloat16 and its kin.
    return hashlib.sha256(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data).hexdigest()


def place(value: np.ndarray, entry: Mapping[str, Any], like: Any) -> Any:
    """Put a restored value where its template ``like`` lies: same devices, same kind of array.

    Raises CheckpointError if JAX would change the dtype, as for float64 without `jax_enable_x64`.
    """
    if not hasattr(like, "dtype"):
        return type(like)(value.item())
    if isinstance(like, np.ndarray):
        return value
    if isinstance(like, np.generic):
        return value[()]
    if jax.dtypes.canonicalize_dtype(value.dtype) != value.dtype:
        raise CheckpointError(f"JAX would narrow {entry['dtype']}: set JAX_ENABLE_X64=1 to read it")
    # From a Python number the array is weakly typed again, so that it promotes as before. Else a
    # copy, because on the CPU the array might otherwise share NumPy's memory and be donated.
    weak = getattr(like, "weak_type", False) and value.ndim == 0
    placed = jnp.asarray(value.item()) if weak else jnp.array(value)
    if "key_impl" in entry:
        placed = jax.random.wrap_key_data(placed, impl=entry["key_impl"])
    if getattr(like, "sharding", None) is not None and getattr(like, "committed", True):
        placed = jax.device_put(placed, like.sharding)
    return placed


def difference(manifest: Mapping[str, Any], named: Mapping[str, Any]) -> str | None:
    """Say, after its name, how a checkpoint differs from the leaves asked for; None if they fit.

    The settings it was made with, at the top of its meta or under 'config', are told first.
    """
    look = "{dtype}{shape}".format_map
    saved = {name: look(entry) for name, entry in manifest["arrays"].items()}
    here = {name: look(describe(leaf)) for name, leaf in named.items()}
    told = {
        "with another shape or dtype": [
            f"{name} is {saved[name]} in the checkpoint and {own} here"
            for name, own in here.items()
            if saved.get(name, own) != own
        ],
        "only in the checkpoint": [name for name in saved if name not in here],
        "only here": [name for name in here if name not in saved],
    }
    parts = []
    for title, names in told.items():
        if names:
            count = "1 array" if len(names) == 1 else f"{len(names)} arrays"
            more = ", ..." if len(names) > _MOST_NAMED else ""
            parts.append(f"{count} {title}: {', '.join(names[:_MOST_NAMED])}{more}")
    if not parts:
        return None
    config = manifest["meta"].get("config")
    settings = {**(config if isinstance(config, Mapping) else {}), **manifest["meta"]}
    made_with = [f"{name}={settings[name]!r}" for name in _TELLING if name in settings]
    if made_with:
        parts.insert(0, f"it was made with {', '.join(made_with)}")
    way_out = "Use the settings it was made with, or another run folder"
    return f"does not belong to this run: {'; '.join(parts)}. {way_out}"
