"""The segjax side of the benchmark; each function is asked in a process of its own."""

import contextlib
import functools
import importlib
import io
import os
import tempfile
import time
import timeit
from pathlib import Path
from typing import Any

from scripts.benchmark import worker
from scripts.benchmark.worker import Answer

STARTED = time.perf_counter()
built: dict[str, Any] = {}


def about() -> Answer:
    """Return the device, the versions and the commit."""
    from segjax.training.results import environment

    return environment()


def _plain_gradient(x: Any, g: Any) -> Any:
    from segjax.networks.conv import kernel_gradient

    return kernel_gradient


# Where each choice that segjax made for CPUs is, and what JAX does by itself.
CHOICES: dict[str, tuple[str, str, Any]] = {
    "Eigen": ("segjax.training.backend", "CPU_OPTIONS", {}),
    "kernel gradients": ("segjax.networks.conv", "fastest_gradient", _plain_gradient),
    "kept memory": ("segjax.training.backend", "keep_memory", lambda: None),
}
MANY = "8 runs"  # in one program


@functools.cache
def build(
    depth: int, batch: int, dtype: str, size: int = 64, devices: int = 1, mode: str = ""
) -> Answer:
    """Compile a training step and a forward pass; return the seconds of the first step.

    ``size``: height and width; ``devices``: those that share a batch; ``mode``: a choice to undo,
    or MANY runs in a step.
    """
    if mode in CHOICES:
        module, name, plain = CHOICES[mode]
        setattr(importlib.import_module(module), name, plain)
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    from segjax.networks.munet import MUnet
    from segjax.training import backend
    from segjax.training.devices import choose_devices
    from segjax.training.objective import make_objective
    from segjax.training.step import SCAN_STEPS, init_state, make_steps, make_train_step
    from segjax.training.vmapped import Member, make_many_step, stack_states

    backend.prepare()  # before anything asks JAX for its devices
    backend.keep_memory()
    accelerated = jax.default_backend() != "cpu"
    images, masks = worker.scenes(max(256 * 64**2 // size**2, batch), size)
    shared = choose_devices(devices, batch)
    arrays = shared.place({"images": jnp.asarray(images), "masks": jnp.asarray(masks)})
    model = MUnet(depth=depth, dtype=jnp.dtype(dtype))
    optimizer = optax.sgd(worker.LEARNING_RATE, momentum=worker.MOMENTUM)
    objective = make_objective("mse", class_values=(50, 100, 150, 200, 250))
    per_call = SCAN_STEPS if accelerated else 1
    shape: tuple[int, ...] = (batch,)
    random = np.random.default_rng(0)
    state = init_state(model, optimizer, seed=0)
    variables = shared.place(jax.tree.map(jnp.copy, state.variables()))
    train_step: Any = make_train_step(model, optimizer, objective)
    if mode == MANY:
        members = [Member(objective, worker.LEARNING_RATE)] * int(MANY.split()[0])
        train_step = make_many_step(model, lambda rate: optimizer, members)
        state, shape = stack_states([state] * len(members)), (len(members), batch)
    steps = make_steps(train_step, scan=accelerated, devices=shared)
    held = {"state": shared.place(state)}

    def step() -> None:
        rows = random.integers(0, len(images), (per_call, *shape), np.int32)
        held["state"], losses = steps(held["state"], arrays, rows)
        jax.block_until_ready(losses)

    def apply(variables: Any, data: Any, at: Any) -> Any:
        x = jax.lax.dynamic_slice_in_dim(data, at, batch)
        return model.apply(variables, x, train=False)

    predict = backend.jit(apply)

    def forward() -> None:
        for at in random.integers(0, len(images) - batch + 1, per_call, np.int32):
            found = predict(variables, arrays["images"], at)
        jax.block_until_ready(found)

    first = timeit.timeit(step, number=1)
    forward()
    built.update(step=step, forward=forward, per_call=per_call)
    return {"first_step": first}


def measure(kind: str, count: int) -> Answer:
    """Return seconds a step, one number a call, and the process's peak memory."""
    import jax

    found = worker.clocked(built[kind], count, built["per_call"])
    stats = jax.devices()[0].memory_stats() or {}
    return found | {"device_bytes": stats.get("peak_bytes_in_use")}


def matmul(size: int, dtype: str, count: int) -> Answer:
    """Return the operations a second of a square matrix product, the best of ``count``."""
    import jax
    import jax.numpy as jnp

    from segjax.training import backend

    a = jax.random.normal(jax.random.key(0), (size, size)).astype(dtype)
    product = backend.jit(jnp.matmul)
    product(a, a).block_until_ready()
    seconds = timeit.repeat(lambda: product(a, a).block_until_ready(), repeat=count, number=1)
    return {"flops_a_second": 2 * size**3 / min(seconds)}


def size_of(depth: int) -> Answer:
    """Return a network's operations and the numbers it learns, which devices exchange a step.

    Operations: additions and multiplications of one image's forward pass, as --summary counts.
    """
    from segjax.networks.munet import MUnet
    from segjax.networks.summary import layers_of

    layers = layers_of(MUnet(depth=depth))
    return {
        "forward_flops": sum(layer.flops for layer in layers),
        "parameters": sum(layer.parameters for layer in layers),
    }


def load(file: str, cache_dir: str, cached: bool) -> Answer:
    """Load a data file, without the cache or a second time with it; return seconds and memory."""
    from segjax.data import load as load_file

    if cached:
        load_file(file, cache_dir=cache_dir, progress=False)
    started = time.perf_counter()
    dataset = load_file(file, cache=cached, cache_dir=cache_dir, progress=False)
    int(dataset.images[::100].sum())
    return {"seconds": time.perf_counter() - started, "peak_bytes": worker.peak_bytes()}


def whole_job(train_file: str, test_file: str, depth: int, batch: int, cache_dir: str) -> Answer:
    """Run from the data file to the end of the first epoch, checkpoint and log included.

    The seconds count from the start of this process, imports and compilation included; the test
    that follows in a real run is left out, as DLStudio's training does not have one.
    """
    os.environ["SEGJAX_CACHE"] = cache_dir
    import jax

    from segjax.config import Config
    from segjax.training.loop import train
    from segjax.training.processes import begin, claim_folder, load_data
    from segjax.training.program import make_program
    from segjax.training.trainer import Trainer

    with tempfile.TemporaryDirectory() as made, contextlib.redirect_stderr(io.StringIO()):
        files: Any = {"train_file": train_file, "test_file": test_file, "test_images": 1}
        size: Any = {"depth": depth, "batch_size": batch, "epochs": 1}
        where: Any = {"run_dir": str(Path(made, "run")), "cache_dir": cache_dir, "progress": "off"}
        config, say = begin(Config(**files, **size, **where), lambda line: None)
        with claim_folder(config) as folder:
            splits = load_data(config, say)
            trainer = Trainer(config, splits, make_program(config, splits), folder, say=say)
            jax.block_until_ready(train([trainer], [trainer.first_state()], say=say))
    seconds = time.perf_counter() - STARTED
    return {"seconds": seconds, "steps": trainer.progress.step, "peak_bytes": worker.peak_bytes()}
