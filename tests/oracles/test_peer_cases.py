"""Numbers of other libraries' own tests, said with segjax: the rows of peers.json.

A row names its source and case. `calls` are names in segjax with their settings, the first on pred
and target (channels last), each further one on what came before; `plus` are calls on pred and
target whose answers are added. The answer, `times` a factor where the source divides otherwise, is
the `expected` number within the source's own tolerance. Where the other library follows another
convention, `by_hand` names what of BY_HAND brings segjax to its number, and that function's
arguments.
"""

import functools
import json
import pathlib
from operator import attrgetter

import jax
import numpy as np
import pytest
from scipy import special

import segjax
import segjax.losses
from segjax import metrics as m

CASES = json.loads(pathlib.Path(__file__).with_name("peers.json").read_text("utf-8"))
REDUCE = {
    "undefined": np.isnan,
    "defined": lambda scores: (~np.isnan(scores)).sum(0),
    "mean_batch": m.mean_over_images,
    "mean": lambda scores: m.mean_over_images(m.mean_over_images(scores.T)),
    "sum_batch": lambda scores: np.nansum(scores, 0),
    "sum": np.nansum,
}


def one_hot(t, p):
    return t if t.ndim == p.ndim else np.eye(p.shape[-1])[t.astype(int)]


def one_by_one(say, p, t, reduce):
    sizes = one_hot(t, p).reshape(len(p), -1, p.shape[-1]).sum(1)
    smooth = [1e-4 * size[size > 0].min() ** 2 for size in sizes]
    return getattr(np, reduce)([say(p[[b]], t[[b]], smooth=smooth[b]) for b in range(len(p))])


def without_empty_maps(say, x, t, act, reduce):
    """Take the diagonal squared off again, once for each map that MONAI has as 0."""
    p = special.expit(x) if act == "sigmoid" else special.softmax(x, -1)
    on, axes = [masks > 0.5 for masks in (p, one_hot(t, p))], tuple(range(1, p.ndim - 1))
    empty = sum(mask.all(axes) | ~mask.any(axes) for mask in on)
    extra = empty * sum(p.shape[axis] ** 2 for axis in axes) * np.square(p - t).mean(axes)
    return getattr(np, reduce)(say(p, t) - extra)


def in_all_four_counts(say, p, t):
    """Add four pixels that weigh 1e-5, one for each count."""
    four = [np.reshape(x, (1, 4, 1)) for x in ([1, 1, 0, 0], [1, 0, 1, 0])]
    pair = [np.concatenate(both, 1) for both in zip((p, t), four, strict=True)]
    return say(*pair, valid=np.array([[1.0] * p.shape[1] + [1e-5] * 4]))


def p_t_plus(say, p, t):
    there = (np.clip(one_hot(t, p), 1e-5 / (p.shape[-1] - 1), 1 - 1e-5) * p).sum(-1) + 1e-5
    return say(np.stack([there, 1 - there], -1), np.zeros_like(t))


BY_HAND = {
    "nothing": lambda say, p, t: say(p, t),
    "pred clipped at 1e-7": lambda say, p, t: say(np.clip(p, 1e-7, 1 - 1e-7), t),
    "pred divided by its sum": lambda say, p, t: say(p / p.sum(-1, keepdims=True), t),
    "target smoothed by 0.1": lambda say, p, t: say(p, 0.9 * t + 0.1 / t.shape[-1]),
    "logits and target times a mask": lambda say, p, t, mask: say(p * mask, t * mask),
    "labels times a mask, then one-hot": (
        lambda say, p, t, mask: say(p * mask, one_hot(t * mask[..., 0], p))
    ),
    "mean over the last axis": lambda say, p, t: say(p, t).mean(-1),
    "mean of its classes times": lambda say, p, t, weights: (say(p, t) * weights).mean(),
    "to the power": lambda say, p, t, power: say(p, t) ** power,
    "plus a number": lambda say, p, t, number: say(p, t) + number,
    "NaN is": lambda say, p, t, value: np.nan_to_num(say(p, t), nan=value, posinf=np.inf),
    "a class without target is left out": (
        lambda say, p, t, how: REDUCE[how](np.where(t.any((1, 2)), say(p, t), np.nan))
    ),
    "smooth 1e-4 times T^2 of the rarest class": one_by_one,
    "distances of an empty or full mask are 0": without_empty_maps,
    "1e-5 in all four counts": in_all_four_counts,
    "p_t plus 1e-5": p_t_plus,
}


def answer(name, *arrays, **settings):
    """Call what is named; what can, inside jit: it is quicker, and values above 1 pass there."""
    call = functools.partial(attrgetter(name)(segjax), **settings)
    if not name.startswith(("losses.", "metrics.count", "metrics.confusion_matrix")):
        return call(*arrays)
    return jax.tree.map(np.asarray, jax.jit(call)(*arrays))


@pytest.mark.slow
@pytest.mark.parametrize("row", CASES, ids=lambda row: f"{row['source']}: {row['case']}")
def test_case(row):
    pred, target = (np.asarray(row[name]) for name in ("pred", "target"))
    pred = np.broadcast_to(pred, row.get("shape", pred.shape))

    def say(pred, target, **more):
        (first, settings), *further = row["calls"]
        found = answer(first, pred, target, **settings, **more)
        for name, settings in further:
            found = answer(name, found, **settings)
        return sum((answer(name, pred, target, **of) for name, of in row.get("plus", ())), found)

    name, *given = row.get("by_hand", ["nothing"])
    given = [np.asarray(x, float) if not isinstance(x, str) or x == "inf" else x for x in given]
    found = BY_HAND[name](say, pred, target, *given)
    expected = np.asarray(row["expected"], float)
    np.testing.assert_allclose(found * row["times"], expected, rtol=0, atol=row["atol"])


def test_surface_dice_of_monai():
    """Project-MONAI/MONAI, tests/metrics/test_surface_dice.py: Euclidean, a tolerance per class."""
    pred, true = np.zeros((2, 1, 10, 10), int)
    pred[0, 1:4, 1] = true[0, 5:8, 6] = 1
    pair = [labels[..., None] == np.arange(2) for labels in (pred, true)]
    for tolerance, expected in (
        ((0, 0), (1 - 12 / 84, 0)),
        ((2.8, 5.5), (1 - 3 / 84, 1 - 4 / 6)),
        ((3, 6), (1 - 1 / 84, 1 - 2 / 6)),
        ((np.inf, np.inf), (1, 1)),  # MONAI refuses
    ):
        counts = m.boundary_count(*pair, tolerance=tolerance)
        np.testing.assert_allclose(m.surface_dice(counts), expected, atol=1e-6)


def test_surface_elements_of_deepmind():
    """google-deepmind/surface-distance, two cases, spacing (2, 1): elements between pixels."""
    diagonal = np.hypot(2, 1) / 2

    def elements(mask):
        on = np.pad(mask, 1)
        level = (on[:-1, :-1] == on[:-1, 1:]) & (on[1:, :-1] == on[1:, 1:])
        upright = (on[:-1, :-1] == on[1:, :-1]) & (on[:-1, 1:] == on[1:, 1:])
        return np.where(level, 1, np.where(upright, 2, diagonal)) * ~(level & upright)

    def check(masks, averages, overlaps):
        lengths = np.stack([elements(mask) for mask in masks])
        apart = np.zeros((2, 2 * lengths.shape[1], lengths.shape[2]))
        apart[:, ::2] = lengths
        far = answer("losses.distance_transform", (apart == 0)[..., None])[::-1, ::2, :, 0]
        total = lengths.sum((1, 2))
        np.testing.assert_allclose((far * lengths).sum((1, 2)) / total, averages, rtol=1e-6)
        near = (lengths * (far <= 1)).sum((1, 2))
        np.testing.assert_allclose(near / total, overlaps, rtol=1e-6)
        assert far[lengths > 0].max() == 2
        return near.sum() / total.sum()

    masks = np.zeros((2, 6, 6), bool)
    masks[0, 2, 1] = masks[1, 2, 3] = True
    assert check(masks, (1.5, 1.5), (0.5, 0.5)) == 0.5
    masks = np.zeros((2, 6, 6), bool)
    masks[0, 1:3, 1:3] = masks[1, 1:4, 1:3] = True
    far, total = 2 * diagonal + 1, 4 * diagonal + 10
    check(masks, (1 / (4 * diagonal + 6), 2 * far / total), (1, 1 - far / total))


def test_map_of_an_absent_class_of_boundary_loss():
    """LIVIAETS/boundary-loss, test.py, test_empty: 0 everywhere, and of a full one at most 0."""
    target = np.zeros((1, 32, 32, 2))
    target[..., 0] = 1
    phi = answer("losses.signed_distance", target) * target.any((1, 2), keepdims=True)
    assert (phi[..., 1] == 0).all()
    assert (phi[..., 0] <= 0).sum() == 32 * 32
    found = answer("losses.boundary", target * 0 + 0.5, target, pred_is="probs", target_map=phi)
    np.testing.assert_allclose(found, phi[..., 0].mean() / 4, rtol=1e-4)
