"""The optimizer and its learning-rate schedule, from optax, as the settings ask."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from segjax.config import Config

ONECYCLE_RISE = 0.25  # share of the run in which 'onecycle' rises
MUON_MOMENTUM = 0.95
QUINTIC, QUINTIC_STEPS = (3.4445, -4.7750, 2.0315), 5  # of Muon's Newton-Schulz iteration
MUON_RMS = 0.2  # root mean square of a muon step at rate 1, about that of AdamW's
OUTPUT_LAYER = "conv_out"
FINAL_SHARE = 0.01  # the learning rate that 'cosine', 'linear' and 'onecycle' end at, over the peak

Rate = float | jax.Array


def make_schedule(
    config: Config, total_steps: int, *, learning_rate: Rate | None = None
) -> optax.Schedule:
    """Return step -> learning rate over a run of ``total_steps`` optimizer steps.

    ``learning_rate`` stands in for the setting's; it may be traced.
    """
    peak = config.learning_rate if learning_rate is None else learning_rate
    cosine = functools.partial(optax.cosine_decay_schedule, alpha=FINAL_SHARE)
    if config.schedule == "onecycle":
        rise = max(int(total_steps * ONECYCLE_RISE), 1)
        up = optax.cosine_decay_schedule(peak / 25, rise, alpha=25.0)
        return optax.join_schedules([up, cosine(peak, max(total_steps - rise, 1))], [rise])
    warmup = config.warmup_steps
    rest = max(total_steps - warmup, 1)
    main = {
        "constant": optax.constant_schedule(peak),
        "cosine": cosine(peak, rest),
        "linear": optax.linear_schedule(peak, peak * FINAL_SHARE, rest),
    }[config.schedule]
    if not warmup:
        return main
    # The first step already moves: (1, 2, ..., warmup) / warmup.
    up = optax.linear_schedule(peak / warmup, peak, max(warmup - 1, 1))
    return optax.join_schedules([up, main], [warmup])


def make_optimizer(
    config: Config, total_steps: int, *, learning_rate: Rate | None = None
) -> optax.GradientTransformation:
    """Return the optax transformation for a run of ``total_steps`` batches.

    ``learning_rate`` as in `make_schedule`; the optimizer's state does not depend on it.

    SGD is PyTorch's: g = g + decay w, v = momentum v + g, w = w - lr v. In adamw, lamb, lion
    and muon the decay is decoupled: w also loses lr decay w. Only kernels decay.
    """
    steps = -(-total_steps // config.accumulate_steps)
    rate = make_schedule(config, steps, learning_rate=learning_rate)
    # Of the kernels; biases and batch-norm scales it leaves.
    mask = functools.partial(jax.tree.map, lambda leaf: leaf.ndim > 1)
    decay: dict[str, Any] = {"weight_decay": config.weight_decay, "mask": mask}
    core = {
        "sgd": lambda: optax.sgd(rate, momentum=config.momentum or None),
        "adam": lambda: optax.adam(rate),
        "adamw": lambda: optax.adamw(rate, **decay),
        "lamb": lambda: optax.lamb(rate, **decay),
        "lion": lambda: optax.lion(rate, **decay),
        "muon": lambda: _muon(rate, config.weight_decay),
        "rmsprop": lambda: optax.rmsprop(rate, momentum=config.momentum or None),
    }[config.optimizer]()
    if config.optimizer == "sgd" and config.weight_decay:
        core = optax.chain(optax.add_decayed_weights(**decay), core)
    if config.clip_norm:
        core = optax.chain(optax.clip_by_global_norm(config.clip_norm), core)
    if config.accumulate_steps > 1:
        core = optax.MultiSteps(core, config.accumulate_steps).gradient_transformation()
    return core


def _muon(rate: optax.Schedule, decay: float) -> optax.GradientTransformation:
    """Return Muon for the kernels, each as a matrix [inputs and taps, outputs], and NAdam else.

    The orthogonal matrix of a kernel's momentum, times 0.2 sqrt(its longer side): as long a step as
    AdamW's, so that both use the same rates (Liu et al. 2025, arXiv:2502.16982). The output layer
    is Adam's, as usual.
    """

    def step(momentum: jax.Array) -> jax.Array:
        matrix = momentum.reshape(-1, momentum.shape[-1])
        return (MUON_RMS * max(matrix.shape) ** 0.5 * orthogonal(matrix)).reshape(momentum.shape)

    def label(path: Any, leaf: Any) -> str:
        by_adam = leaf.ndim < 2 or any(getattr(key, "key", None) == OUTPUT_LAYER for key in path)
        return "other" if by_adam else "kernel"

    kernel = optax.chain(
        optax.trace(MUON_MOMENTUM, nesterov=True),
        optax.stateless(lambda updates, params: jax.tree.map(step, updates)),
        optax.add_decayed_weights(decay),
        optax.scale_by_learning_rate(rate),
    )
    labels = functools.partial(jax.tree_util.tree_map_with_path, label)
    return optax.partition({"kernel": kernel, "other": optax.nadam(rate)}, labels)


def orthogonal(matrix: jax.Array) -> jax.Array:
    """Bring the singular values of ``matrix`` [M, N] near 1: to 0.7..1.2, the least ones less far.

    Five steps x <- (a + b G + c G^2) x with G = x x^T (Jordan et al. 2024, Muon). G and the product
    of the factors are kept instead of x, whose longer side is multiplied twice and not ten times.
    They need all of float32's digits: below 0 the steps would blow rounding up.
    """
    wide = matrix.shape[0] < matrix.shape[1]
    x = matrix if wide else matrix.T
    x = x / (jnp.linalg.norm(x) + 1e-8)
    product = functools.partial(jnp.matmul, precision="highest")
    a, b, c = QUINTIC
    gram = product(x, x.T)
    whole = one = jnp.eye(len(x), dtype=x.dtype)
    for _ in range(QUINTIC_STEPS):
        factor = a * one + b * gram + c * product(gram, gram)
        whole = product(factor, whole)
        gram = product(product(factor, gram), factor)
    x = product(whole, x)
    return x if wide else x.T
