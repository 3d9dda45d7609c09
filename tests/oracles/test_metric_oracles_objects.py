"""Panoptic quality against torchmetrics.

The recall of objects in their boxes has no outside oracle: no library judges objects of one mask
per class by their boxes. tests/metrics/test_objects.py compares it with a loop over pixels.
"""

import warnings

import numpy as np
import pytest

from segjax import metrics as m

pytestmark = pytest.mark.filterwarnings("ignore")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")
    detection = pytest.importorskip("torchmetrics.functional.detection")
ndimage = pytest.importorskip("scipy.ndimage")

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


def theirs(pred, target):
    how = {"return_sq_and_rq": True, "return_per_class": True}
    kinds = {"things": set(range(C)), "stuffs": {NOWHERE}}
    per_class = detection.panoptic_quality(pred, target, **kinds, **how)
    return per_class.reshape(C + 1, 3)[:C].numpy()


@pytest.mark.parametrize("seed", range(5))
def test_torchmetrics(seed):
    pred, target = exclusive_blobs(seed)
    counts = m.panoptic_count(pred, target)
    assert min(counts.tp.sum(), counts.fp.sum(), counts.fn.sum()) > 0
    scores = (m.panoptic_quality, m.segmentation_quality, m.recognition_quality)
    true = instances(target)
    found = np.stack([score(counts) for score in scores], -1)
    np.testing.assert_allclose(found, theirs(instances(pred), true), rtol=1e-6)
    # A category that is not named is void.
    noise = np.random.default_rng(seed).normal(size=pred.shape[:3])
    valid = ndimage.gaussian_filter(noise, 2) > -0.05
    true[torch.from_numpy(~valid)] = torch.tensor([C + 7, 0])
    counts = m.panoptic_count(pred, target, valid=valid)
    expected = theirs(instances(pred), true)[:, 0]
    np.testing.assert_allclose(m.panoptic_quality(counts), expected, rtol=1e-6)
    # An absent class is scored as zero.
    pred[..., 1] = target[..., 1] = False
    counts = m.panoptic_count(pred, target)
    assert np.isnan(m.panoptic_quality(counts)[1])
    expected = theirs(instances(pred), instances(target))[:, 0]
    np.testing.assert_allclose(m.panoptic_quality(counts, absent="zero"), expected, rtol=1e-6)
