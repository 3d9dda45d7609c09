"""Where arrays lie when a run uses several devices: weights and data on each, a batch spread.

A jitted step still sees whole arrays, so batch norm and losses over the batch are of the whole
batch, however many devices share it; the compiler puts the exchanges in.
"""

import dataclasses
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.lax import with_sharding_constraint
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from segjax.errors import ConfigError

Tree = TypeVar("Tree")

AXIS = "data"


@dataclasses.dataclass(frozen=True)
class Devices:
    """The devices of a run. With one, arrays stay where JAX puts them, nothing is constrained."""

    mesh: Mesh | None = None  # the devices in a row; None: one

    @property
    def count(self) -> int:
        """How many there are."""
        return 1 if self.mesh is None else self.mesh.size

    def place(self, tree: Tree) -> Tree:
        """Put each array of ``tree`` whole on every device; every process has to have it."""
        if self.mesh is None:
            return tree
        if not several():
            return jax.device_put(tree, NamedSharding(self.mesh, PartitionSpec()))
        put = multihost_utils.host_local_array_to_global_array
        mesh, whole = self.mesh, PartitionSpec()
        return jax.tree.map(lambda x: x if _is_global(x) else put(x, mesh, whole), tree)

    def whole(self, tree: Tree) -> Tree:
        """Have the arrays that a jitted function returns whole on every device."""
        if self.mesh is None:
            return tree
        return with_sharding_constraint(tree, NamedSharding(self.mesh, PartitionSpec()))

    def spread(self, tree: Tree, *, axis: int = 0) -> Tree:
        """Share the rows along ``axis`` of a jitted function's arrays out among the devices.

        Rows that cannot be shared out evenly stay whole.
        """
        if self.mesh is None:
            return tree
        rows = NamedSharding(self.mesh, PartitionSpec(*[None] * axis, AXIS))

        def share_out(x: Any) -> Any:
            return with_sharding_constraint(x, rows) if x.shape[axis] % self.count == 0 else x

        return jax.tree.map(share_out, tree)


ONE_DEVICE = Devices()


def choose_devices(wanted: int, batch_size: int) -> Devices:
    """Return the devices that share a batch.

    Args:
      wanted: so many, of all processes together; 0: as many as divide the batch, but one CPU of
        each process, as simulated devices share the same cores.
      batch_size: images a step.

    Raises:
      ConfigError: there are not so many, they do not divide the batch, or the processes cannot
        have the same number of them.
    """
    hosts, found = jax.process_count(), jax.devices()
    if wanted > len(found):
        raise ConfigError(f"--devices={wanted}: JAX sees {len(found)} ({found[0].platform})")
    if wanted % hosts:
        raise ConfigError(f"--devices={wanted}: {hosts} processes need a multiple of {hosts}")
    if batch_size % (wanted or hosts):
        what = f"--devices={wanted}" if wanted else f"--multihost with {hosts} processes"
        raise ConfigError(
            f"{what}: cannot share a batch of {batch_size} out evenly; choose a multiple as "
            "--batch_size"
        )
    each = wanted // hosts
    if not each:
        most = 1 if found[0].platform == "cpu" else len(found) // hosts
        each = next(n for n in range(most, 0, -1) if batch_size % (n * hosts) == 0)
    if each * hosts == 1:
        return ONE_DEVICE
    chosen = [[one for one in found if one.process_index == host][:each] for host in range(hosts)]
    return Devices(Mesh(np.array(chosen).reshape(-1), (AXIS,), axis_types=(AxisType.Auto,)))


def several() -> bool:
    """Tell whether the run has more than one process."""
    return jax.process_count() > 1


def share(tree: Tree) -> Tree:
    """Return process 0's arrays in all; every process gives a tree of the same shapes."""

    def one(x: Any) -> Any:
        if isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(
                one(jax.random.key_data(x)), impl=jax.random.key_impl(x)
            )
        return multihost_utils.broadcast_one_to_all(x)

    return jax.tree.map(one, tree) if several() else tree


def own(tree: Tree) -> Tree:
    """Return this process's copies of arrays that lie whole on every device."""
    if not several():
        return tree
    return jax.tree.map(lambda x: x.addressable_data(0) if _is_global(x) else x, tree)


def _is_global(x: Any) -> bool:
    """Tell whether an array lies partly in other processes."""
    return isinstance(x, jax.Array) and not x.is_fully_addressable
