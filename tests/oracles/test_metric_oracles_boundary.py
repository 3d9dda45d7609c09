"""Outline metrics against SciPy, MONAI and torchmetrics, and where those differ and why."""

import warnings

import numpy as np
import pytest

from segjax.metrics import assd, boundary_count, hausdorff, hd95, surface_distances
from segjax.metrics.masks import boundaries

pytestmark = pytest.mark.filterwarnings("ignore")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")
    tms = pytest.importorskip("torchmetrics.functional.segmentation")
    monai = pytest.importorskip("monai.metrics")
ndimage = pytest.importorskip("scipy.ndimage")
spatial = pytest.importorskip("scipy.spatial")


def blobs(seed, shape=(4, 20, 24, 2)):
    """Return smooth random masks and shifted, frayed copies of them; some touch the border."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=shape), (0, 2, 2, 0))
    target = noise > 0.05
    pred = np.roll(target, rng.integers(-3, 4, 2), axis=(1, 2)) ^ (rng.random(shape) < 0.02)
    assert target.any(axis=(1, 2)).all()
    assert pred.any(axis=(1, 2)).all()
    return pred, target


def channels_first(*masks):
    return [torch.from_numpy(np.moveaxis(mask, -1, 1).astype(np.int64)) for mask in masks]


@pytest.mark.parametrize("seed", range(3))
def test_scipy(seed):
    pred, target = blobs(seed)
    found = surface_distances(pred, target, spacing=(1.5, 1.0))
    for image, channel in np.ndindex(pred.shape[0], pred.shape[-1]):
        edges = []
        for mask in (pred, target):
            layer = mask[image, :, :, channel]
            edge = layer & ~ndimage.binary_erosion(layer)
            ours = boundaries(mask, np.ones(mask.shape[:-1], bool))[image, :, :, channel]
            np.testing.assert_array_equal(ours, edge)
            edges.append(np.argwhere(edge) * [1.5, 1.0])
        both = max(spatial.distance.directed_hausdorff(*pair)[0] for pair in (edges, edges[::-1]))
        np.testing.assert_allclose(found.hausdorff[image, channel], both, rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("spacing", [1.0, (2.0, 0.5)])
def test_monai(seed, spacing):
    pred, target = blobs(seed)
    first = channels_first(pred, target)
    found = surface_distances(pred, target, spacing=spacing)
    how = {"include_background": True, "spacing": list(np.broadcast_to(spacing, 2))}
    for ours, theirs in (
        (hausdorff, monai.compute_hausdorff_distance(*first, **how)),
        (hd95, monai.compute_hausdorff_distance(*first, **how, percentile=95)),
        (assd, monai.compute_average_surface_distance(*first, **how, symmetric=True)),
    ):
        np.testing.assert_allclose(ours(found, over="image"), theirs, rtol=1e-6)
    # No library here has boundary F1; MONAI's normalised surface Dice pools the four numbers
    # that it is made of.
    counts = boundary_count(pred, target, tolerance=2, spacing=spacing)
    theirs = monai.compute_surface_dice(*first, class_thresholds=[2.0, 2.0], **how)
    pooled = (counts.pred_near + counts.target_near) / (counts.pred_all + counts.target_all)
    np.testing.assert_allclose(pooled, theirs, rtol=1e-6)


def test_monai_edge_cases():
    empty, square = np.zeros((2, 1, 9, 9, 1), bool)
    square[0, 2:5, 2:5] = True
    for pair in ((empty, empty), (empty, square), (square, empty)):
        says = np.isinf if any(mask.any() for mask in pair) else np.isnan
        first, how = channels_first(*pair), {"include_background": True}
        assert says(monai.compute_hausdorff_distance(*first, **how).numpy()).all()
        theirs = monai.compute_average_surface_distance(*first, **how, symmetric=True)
        assert says(theirs.numpy()).all()
        assert all(says(score(surface_distances(*pair))).all() for score in (hausdorff, assd))


def test_torchmetrics_is_right_on_square_images_only():
    def theirs(pred, target):
        how = {"num_classes": pred.shape[-1], "include_background": True}
        return tms.hausdorff_distance(*channels_first(pred, target), **how)

    for seed in range(3):
        pair = blobs(seed, shape=(4, 22, 22, 2))
        found = hausdorff(surface_distances(*pair), over="image")
        np.testing.assert_allclose(found, theirs(*pair), rtol=1e-6)
    # Its distance transform writes distances to a flat array at row * HEIGHT + column, so where
    # the width differs it reads other pixels' distances.
    pred, target = np.zeros((2, 1, 4, 9, 1), bool)
    pred[0, 2, 1] = target[0, 2, 7] = True
    assert hausdorff(surface_distances(pred, target))[0] == 6
    assert spatial.distance.directed_hausdorff([(2, 1)], [(2, 7)])[0] == 6
    assert theirs(pred, target) != 6
    # Black around the images makes them square and moves no outline.
    square = [np.pad(m, ((0, 0), (0, 5), (0, 0), (0, 0))) for m in (pred, target)]
    assert theirs(*square) == 6
