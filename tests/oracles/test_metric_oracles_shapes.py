"""Outlines and objects against SciPy, MONAI and torchmetrics, and where those differ and why.

The recall of objects in their boxes has no outside oracle: no library judges objects of one mask
per class by their boxes. tests/metrics/test_objects.py compares it with a loop over objects.
"""

import warnings

import numpy as np
import pytest
from scipy import ndimage, spatial

from segjax import metrics as m
from segjax.metrics import assd, boundary_count, hausdorff, hd95, surface_distances
from segjax.metrics.masks import boundaries

pytestmark = pytest.mark.filterwarnings("ignore")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")
    tms = pytest.importorskip("torchmetrics.functional.segmentation")
    detection = pytest.importorskip("torchmetrics.functional.detection")
    monai = pytest.importorskip("monai.metrics")


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
    for ours, theirs in (
        (hausdorff, monai.compute_hausdorff_distance(*first, **how, directed=True)),
        (hd95, monai.compute_hausdorff_distance(*first, **how, percentile=95, directed=True)),
        (assd, monai.compute_average_surface_distance(*first, **how)),
    ):
        one_way = ours(found, over="image", direction="pred_to_target")
        np.testing.assert_allclose(one_way, theirs, rtol=1e-6)
    # No library here has boundary F1; surface Dice pools the four numbers that it is made of.
    counts = boundary_count(pred, target, tolerance=[1, 2], spacing=spacing)
    theirs = monai.compute_surface_dice(*first, class_thresholds=[1.0, 2.0], **how)
    np.testing.assert_allclose(m.surface_dice(counts, over="image"), theirs, rtol=1e-6)


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
    def theirs(pred, target, **how):
        how |= {"num_classes": pred.shape[-1], "include_background": True}
        return tms.hausdorff_distance(*channels_first(pred, target), **how)

    for seed in range(3):
        pair = blobs(seed, shape=(4, 22, 22, 2))
        found = surface_distances(*pair)
        np.testing.assert_allclose(hausdorff(found, over="image"), theirs(*pair), rtol=1e-6)
        one_way = hausdorff(found, over="image", direction="pred_to_target")
        np.testing.assert_allclose(one_way, theirs(*pair, directed=True), rtol=1e-6)
    # Its distance transform writes distances to a flat array at row * HEIGHT + column, so where
    # the width differs it reads other pixels' distances.
    pred, target = np.zeros((2, 1, 4, 9, 1), bool)
    pred[0, 2, 1] = target[0, 2, 7] = True
    assert hausdorff(surface_distances(pred, target))[0] == 6
    assert spatial.distance.directed_hausdorff([(2, 1)], [(2, 7)])[0] == 6
    assert theirs(pred, target) != 6
    # Black around the images makes them square and moves no outline.
    square = [np.pad(mask, ((0, 0), (0, 5), (0, 0), (0, 0))) for mask in (pred, target)]
    assert theirs(*square) == 6


C = 3
NOWHERE = C  # The category of background, a "stuff" whose score is left aside.


def exclusive_blobs(seed, shape=(3, 24, 24)):
    """Return masks of C classes that nowhere overlap, and a frayed prediction of them."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=(*shape, C + 1)), (0, 2, 2, 0))
    moved = noise + 0.15 * ndimage.gaussian_filter(rng.normal(size=noise.shape), (0, 1, 1, 0))
    return tuple(np.eye(C + 1, dtype=bool)[layer.argmax(-1)][..., :C] for layer in (moved, noise))


def instances(mask):
    """Return (category, instance) of each pixel, int64 [N, H, W, 2]."""
    category = np.where(mask.any(-1), mask.argmax(-1), NOWHERE)
    instance = np.zeros_like(category)
    for image, channel in np.ndindex(mask.shape[0], C):
        pieces, _ = ndimage.label(mask[image, :, :, channel], np.ones((3, 3)))
        instance[image] += pieces
    return torch.from_numpy(np.stack([category, instance], axis=-1))


def panoptic_of_torchmetrics(pred, target):
    how = {"return_sq_and_rq": True, "return_per_class": True}
    kinds = {"things": set(range(C)), "stuffs": {NOWHERE}}
    per_class = detection.panoptic_quality(pred, target, **kinds, **how)
    return per_class.reshape(C + 1, 3)[:C].numpy()


@pytest.mark.parametrize("seed", range(5))
def test_panoptic_quality_of_torchmetrics(seed):
    pred, target = exclusive_blobs(seed)
    counts = m.panoptic_count(pred, target)
    assert min(counts.tp.sum(), counts.fp.sum(), counts.fn.sum()) > 0
    scores = (m.panoptic_quality, m.segmentation_quality, m.recognition_quality)
    true = instances(target)
    found = np.stack([score(counts) for score in scores], -1)
    np.testing.assert_allclose(found, panoptic_of_torchmetrics(instances(pred), true), rtol=1e-6)
    # A category that is not named is void.
    noise = np.random.default_rng(seed).normal(size=pred.shape[:3])
    valid = ndimage.gaussian_filter(noise, 2) > -0.05
    true[torch.from_numpy(~valid)] = torch.tensor([C + 7, 0])
    counts = m.panoptic_count(pred, target, valid=valid)
    expected = panoptic_of_torchmetrics(instances(pred), true)[:, 0]
    np.testing.assert_allclose(m.panoptic_quality(counts), expected, rtol=1e-6)
    # An absent class is scored as zero.
    pred[..., 1] = target[..., 1] = False
    counts = m.panoptic_count(pred, target)
    assert np.isnan(m.panoptic_quality(counts)[1])
    expected = panoptic_of_torchmetrics(instances(pred), instances(target))[:, 0]
    np.testing.assert_allclose(m.panoptic_quality(counts, absent="zero"), expected, rtol=1e-6)
