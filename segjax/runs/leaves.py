"""What the arrays of a state are called, what they look like, and how they come back."""

import hashlib
import urllib.parse
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from segjax.errors import CheckpointError

# The name of the only leaf of a state that is a bare array.
_BARE = "value"

# Settings that explain a difference in arrays better than the arrays do.
_TELLING = ("depth", "head", "num_classes", "loss", "optimizer", "dtype", "param_dtype")

_MOST_NAMED = 3


def _key_part(key: Any) -> str:
    """One step of a tree path as text, free of the separator '/'."""
    for attribute in ("key", "name", "idx"):
        if hasattr(key, attribute):
            text = str(getattr(key, attribute))
            break
    else:
        text = str(key)
    return urllib.parse.quote(text, safe=" ")


def named_leaves(tree: Any) -> dict[str, Any]:
    """Maps names such as 'opt_state/0/trace/conv/kernel' to the leaves of any pytree, in order."""
    named: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = "/".join(_key_part(key) for key in path) or _BARE
        if name in named:
            raise CheckpointError(f"two arrays of the state have the same name, {name}: rename one")
        named[name] = leaf
    return named


def nested(named: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dicts from names split at '/': the opposite of `named_leaves` for dicts of dicts."""
    tree: dict[str, Any] = {}
    for name, leaf in named.items():
        *parents, last = [urllib.parse.unquote(part) for part in name.split("/")]
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[last] = leaf
    return tree


def is_key(leaf: Any) -> bool:
    """True for typed PRNG keys as `jax.random.key` makes them."""
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def describe(leaf: Any) -> dict[str, Any]:
    """Shape and dtype of an array, an abstract array, a typed key or a Python number."""
    if not hasattr(leaf, "dtype"):
        leaf = np.asarray(leaf)
    return {"shape": [int(size) for size in leaf.shape], "dtype": str(leaf.dtype)}


def to_host(name: str, leaf: Any) -> tuple[np.ndarray, dict[str, Any]]:
    """Copies a leaf to the host, with its entry for the manifest.

    The copy owns its memory, so that the state may be donated while the copy is being written.

    Raises:
        CheckpointError: the leaf is no array of numbers, or lives partly in another process.
    """
    entry = describe(leaf)
    if is_key(leaf):
        entry["key_impl"] = str(jax.random.key_impl(leaf))
        leaf = jax.random.key_data(leaf)
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        raise CheckpointError(f"{name} is spread over several processes; only one can save it")
    value = np.array(leaf, order="C")
    if value.dtype.kind in "OSUMm":
        raise CheckpointError(f"{name} holds {value.dtype}, not numbers: put it into meta instead")
    entry["sha256"] = digest(value)
    return value, entry


def digest(value: np.ndarray) -> str:
    """SHA-256 of the bytes of an array in C order."""
    # Through uint8, as memoryview refuses bfloat16 and its kin.
    return hashlib.sha256(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data).hexdigest()


def place(value: np.ndarray, entry: Mapping[str, Any], like: Any) -> Any:
    """Puts a restored value where its template `like` lies: same devices, same kind of array.

    Raises:
        CheckpointError: JAX would change the dtype, as for float64 without `jax_enable_x64`.
    """
    if not hasattr(like, "dtype"):
        return type(like)(value.item())
    if isinstance(like, np.ndarray | np.generic):
        return value if isinstance(like, np.ndarray) else value[()]
    if jax.dtypes.canonicalize_dtype(value.dtype) != value.dtype:
        raise CheckpointError(f"JAX would narrow {entry['dtype']}: set JAX_ENABLE_X64=1 to read it")
    placed: jax.Array
    if "key_impl" in entry:
        placed = jax.random.wrap_key_data(jnp.array(value), impl=entry["key_impl"])
    elif getattr(like, "weak_type", False) and value.ndim == 0:
        # From a Python number the array is weakly typed again, so that it promotes as before.
        placed = jnp.asarray(value.item())
    else:
        # A copy, because on the CPU the array might otherwise share NumPy's memory and be donated.
        placed = jnp.array(value)
    sharding = getattr(like, "sharding", None)
    if sharding is not None and getattr(like, "committed", True):
        placed = jax.device_put(placed, sharding)
    return placed


def difference(
    saved: Mapping[str, Mapping[str, Any]],
    here: Mapping[str, Mapping[str, Any]],
    *,
    meta: Mapping[str, Any],
    expected: Mapping[str, Any],
) -> str | None:
    """Says in one line how a checkpoint differs from what is asked for, or None if it fits.

    `saved` and `here` map names to shapes and dtypes; `meta` is what the checkpoint says of itself
    (settings at the top or under 'config'), `expected` the settings wanted now.
    """
    config = meta.get("config")
    settings = {**(config if isinstance(config, Mapping) else {}), **meta}
    parts = [
        f"{name} is {settings[name]!r} in the checkpoint and {value!r} here"
        for name, value in expected.items()
        if name in settings and settings[name] != value
    ]

    def look(entry: Mapping[str, Any]) -> str:
        return f"{entry['dtype']}{list(entry['shape'])}"

    changed = [
        f"{name} is {look(saved[name])} in the checkpoint and {look(here[name])} here"
        for name in here
        if name in saved and look(saved[name]) != look(here[name])
    ]
    gone = [name for name in saved if name not in here]
    new = [name for name in here if name not in saved]
    if (changed or gone or new) and not parts:
        told = [f"{name}={settings[name]!r}" for name in _TELLING if name in settings]
        if told:
            parts.append(f"it was made with {', '.join(told)}")
    for names, title in (
        (changed, "with another shape or dtype"),
        (gone, "only in the checkpoint"),
        (new, "only here"),
    ):
        if names:
            more = ", ..." if len(names) > _MOST_NAMED else ""
            count = f"{len(names)} array{'s' if len(names) > 1 else ''}"
            parts.append(f"{count} {title}: {', '.join(names[:_MOST_NAMED])}{more}")
    return "; ".join(parts) or None
