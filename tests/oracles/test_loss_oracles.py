"""segjax's losses against MONAI, segmentation_models_pytorch and PyTorch on random images.

Where the other side differs in its formula, the test says how and brings both to the same one;
where it is wrong, the test shows that.
"""

import functools
import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import numpy as np
import optax
import pytest
from scipy import ndimage

torch = pytest.importorskip("torch")
monai = pytest.importorskip("monai.losses")
smp = pytest.importorskip("segmentation_models_pytorch.losses")

from segjax import losses  # noqa: E402
from segjax.losses import kaggle  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(3, 8, 9, 4)).astype(np.float32) * 2
MASKS = (RNG.uniform(size=LOGITS.shape) < 0.4).astype(np.float32)
LABELS = RNG.integers(0, 4, LOGITS.shape[:-1])
IGNORED = np.where(RNG.uniform(size=LABELS.shape) < 0.3, 255, LABELS)
ONE_HOT = np.eye(4, dtype=np.float32)[LABELS]
PROBS = (1 / (1 + np.exp(-LOGITS))).astype(np.float32)


def first(x):
    """Channels last to channels first, as a tensor."""
    return torch.tensor(np.moveaxis(np.asarray(x), -1, 1).copy())


HEAVY = RNG.uniform(0, 3, LABELS.shape).astype(np.float32) * (RNG.uniform(size=LABELS.shape) < 0.8)
X, Y, Y1, YL = first(LOGITS), first(MASKS), first(ONE_HOT), torch.tensor(LABELS)
F = torch.nn.functional
# A target of ours, and as the other side wants it.
M, L, L1, H = (MASKS, Y), (LABELS, YL), (LABELS, Y1), (ONE_HOT, YL)
SOME = (IGNORED, torch.tensor(IGNORED))

WEIGHTS = [1.0, 2.0, 3.0, 4.0]
BATCH, MULTICLASS = {"over": "batch"}, {"classes": "multiclass"}
SIGMOID, SOFTMAX = ({kind: True, "smooth_nr": 1, "smooth_dr": 1} for kind in ("sigmoid", "softmax"))
HALF, MONAI_HALF = {"smooth": 0.5}, {"sigmoid": True, "smooth_nr": 0.5, "smooth_dr": 0.5}
MONAI_SQUARED = {"squared_pred": True, "batch": True}
SQUARED, LIN = {"squared": True}, {"fn_weight": 0.25, "fp_weight": 0.75}
TO_8 = SIGMOID | {"weight": torch.tensor([2.0, 1.0, 1.0, 4.0])}
BARE = {"softmax": True, "smooth_nr": 0.0, "smooth_dr": 1e-12}
# Weights of false positives and negatives: in our words, and in SMP's and MONAI's.
FP_FN, ALPHA_BETA = {"fp_weight": 0.2, "fn_weight": 0.8}, {"alpha": 0.2, "beta": 0.8}


def close(ours, theirs, rtol=2e-5):
    np.testing.assert_allclose(np.asarray(ours), float(theirs), rtol=rtol)


def hardest(entropies, fraction):
    """nnU-Net's top k by torch.topk: the mean of the hardest share along the last axis."""
    return torch.topk(entropies, int(np.ceil(fraction * entropies.shape[-1])))[0].mean()


def entropies(*shape):
    return F.cross_entropy(X, YL, reduction="none").reshape(shape)


def smp_focal_tversky(x, y):
    loss = smp.TverskyLoss("multilabel", **ALPHA_BETA, smooth=1.0)
    return np.mean([loss(x[:, c : c + 1], y[:, c : c + 1]) ** 0.75 for c in range(4)])


def exp_log_around_monais_dice(x, y):
    dice = monai.DiceLoss(**SOFTMAX, reduction="none")(x, y)
    return 0.8 * ((-torch.log(1 - dice)) ** 0.3).mean() + 0.2 * (entropies(-1) ** 0.3).mean()


def smp_lovasz_hinge(*pair):
    return smp.LovaszLoss("binary", per_image=True)(*(t.permute(0, 2, 3, 1) for t in pair))


def weighed(entropies):
    return (torch.tensor(HEAVY) * entropies).sum() / HEAVY.sum()


BCE, CE = torch.nn.BCEWithLogitsLoss, torch.nn.CrossEntropyLoss
DICE, DICE_EACH = monai.DiceLoss, monai.DiceLoss(**SIGMOID, reduction="none")
# Loss, targets, keywords and what it equals for the same logits.
EQUAL = [
    ("bce", M, {}, BCE()),
    ("bce", M, {"fn_weight": WEIGHTS}, BCE(pos_weight=torch.tensor(WEIGHTS).view(4, 1, 1))),
    ("bce", M, {"valid": HEAVY}, lambda x, y: weighed(BCE(reduction="none")(x, y).mean(1))),
    ("cross_entropy", L, {"valid": HEAVY}, lambda x, y: weighed(CE(reduction="none")(x, y))),
    # SMP: t (1 - e) + (1 - t) e, twice the usual smoothing of t (1 - e) + e / 2
    ("bce", M, {"label_smoothing": 0.2}, smp.SoftBCEWithLogitsLoss(smooth_factor=0.1)),
    ("cross_entropy", L, {"class_weights": WEIGHTS}, CE(weight=torch.tensor(WEIGHTS))),
    ("cross_entropy", L, {"label_smoothing": 0.1}, CE(label_smoothing=0.1)),
    ("cross_entropy", SOME, {"valid": IGNORED != 255}, CE(ignore_index=255)),
    ("topk", L, {"fraction": 0.3, **BATCH}, lambda x, y: hardest(entropies(-1), 0.3)),
    ("topk", L, {"fraction": 0.3}, lambda x, y: hardest(entropies(3, -1), 0.3)),
    # No library here has these two, so their outer functions are put around MONAI's Dice.
    ("log_cosh_dice", M, {}, lambda x, y: DICE_EACH(x, y).cosh().log().mean()),
    ("exp_log", L1, MULTICLASS, exp_log_around_monais_dice),
    ("dice_prob", L1, MULTICLASS, DICE(**SOFTMAX)),
    # MONAI's weights are not normalised: ours add up to 4, these to 8.
    ("dice_prob", M, {"class_weights": [2, 1, 1, 4]}, lambda x, y: DICE(**TO_8)(x, y) / 2),
    ("dice_prob", L, {**MULTICLASS, **BATCH}, smp.DiceLoss("multiclass", smooth=0.5)),
    ("dice_prob", M, HALF, DICE(**MONAI_HALF)),
    ("dice_prob", M, SQUARED | BATCH, DICE(**SIGMOID, **MONAI_SQUARED)),
    # SMP's Dice is (I + s) / (I + FP / 2 + FN / 2 + s): its smooth counts twice as much as the
    # usual one of (2 I + s) / (P + T + s).
    ("dice_prob", M, {"smooth": 1.4, **BATCH}, smp.DiceLoss("multilabel", smooth=0.7)),
    ("jaccard", M, {"smooth": 0.7, **BATCH}, smp.JaccardLoss("multilabel", smooth=0.7)),
    ("tversky", M, FP_FN | BATCH | HALF, smp.TverskyLoss("multilabel", **ALPHA_BETA, **HALF)),
    ("tversky", M, FP_FN | HALF, monai.TverskyLoss(**MONAI_HALF, **ALPHA_BETA)),
    ("focal_tversky", M, {"exponent": 0.75, **BATCH, **FP_FN}, smp_focal_tversky),
    # MONAI's softmax focal averages over the channels too, so it is a quarter of Lin's.
    ("focal", L1, MULTICLASS, lambda x, y: 4 * monai.FocalLoss(use_softmax=True)(x, y)),
    # SMP's multiclass focal is one sigmoid per class.
    ("focal", H, {}, smp.FocalLoss("multiclass", gamma=2.0)),
    ("focal", M, {"gamma": 1.5}, monai.FocalLoss(gamma=1.5)),
    ("focal", M, LIN, smp.FocalLoss("multilabel", alpha=0.25)),
    ("dice_focal", M, {"focal_weight": 2.0}, monai.DiceFocalLoss(**SIGMOID, lambda_focal=2.0)),
    ("dice_focal", M, LIN, monai.DiceFocalLoss(**SIGMOID, alpha=0.25)),
    ("dice_ce", L1, {**MULTICLASS, "ce_weight": 0.5}, monai.DiceCELoss(**SOFTMAX, lambda_ce=0.5)),
    ("hausdorff", M, {"power": 2.0}, monai.HausdorffDTLoss(sigmoid=True, include_background=True)),
    ("lovasz_hinge", M, {"per_class": False}, smp_lovasz_hinge),
    ("lovasz_softmax", L, {"absent": "skip", **BATCH}, smp.LovaszLoss("multiclass")),
    # Next to no smoothing on one side.
    ("generalized_dice", L1, {**MULTICLASS, "smooth": 0}, monai.GeneralizedDiceLoss(**BARE)),
    ("mcc", M, {"smooth": 1e-3}, monai.MCCLoss(sigmoid=True)),
]


@pytest.mark.parametrize(("name", "targets", "keywords", "theirs"), EQUAL)
def test_equal(name, targets, keywords, theirs):
    ours = getattr(losses, name)(LOGITS, targets[0], pred_is="logits", **keywords)
    rtol = 1e-4 if name in ("generalized_dice", "mcc") else 2e-5
    close(ours, theirs(X, targets[1]), rtol)


def test_keras_tversky_alpha_is_the_other_way_round():
    keras = pytest.importorskip("keras")
    theirs = keras.losses.Tversky(alpha=0.2, beta=0.8)(MASKS, PROBS)
    keywords = {"pred_is": "probs", "over": "batch", "per_class": False, "smooth": 0.0}
    as_said = losses.tversky(PROBS, MASKS, **FP_FN, **keywords)
    other = losses.tversky(PROBS, MASKS, fp_weight=0.8, fn_weight=0.2, **keywords)
    version = tuple(int(part) for part in keras.__version__.split(".")[:3])
    # Up to 3.15.1 alpha weighs false negatives, against its own documentation.
    close(other if version <= (3, 15, 1) else as_said, theirs, rtol=1e-4)


def test_generalized_dice_of_optax_forgives_a_wrong_prediction():
    labels = np.zeros((1, 4, 4), np.int64)
    labels[:, :, 2:] = 1  # of three classes, 2 is absent
    wrong = 20 * np.eye(3, dtype=np.float32)[1 - labels]
    one_hot = np.eye(3, dtype=np.float32)[labels]
    theirs = optax.losses.multiclass_generalized_dice_loss(wrong, one_hot)
    ours = losses.generalized_dice(wrong, labels, pred_is="logits", classes="multiclass", smooth=0)
    assert np.max(np.asarray(theirs)) < 1e-3  # its absent class weighs more than all pixels
    assert ours > 0.999


def test_mcc_of_smp_and_that_of_an_empty_target_pushes_only_here():
    p, t = PROBS[..., :1], MASKS[..., :1]
    ours = losses.mcc(p, t, pred_is="probs", **BATCH, smooth=1e-3)
    close(ours, smp.MCCLoss()(first(p), first(t)), rtol=1e-4)
    empty = np.zeros((1, 8, 8, 1), np.float32)
    ours = jax.grad(lambda x: losses.mcc(x, empty, pred_is="logits"))(LOGITS[:1, :8, :8, :1])
    assert (np.asarray(ours) > 0).all()
    assert np.max(ours) > 1e-4
    x = first(LOGITS[:1, :8, :8, :1]).requires_grad_()
    smp.MCCLoss()(torch.sigmoid(x), first(empty)).backward()
    assert x.grad.abs().max() < 1e-4


def test_berman_takes_the_mean_of_each_images_classes():
    labels = np.where(np.arange(3)[:, None, None] > 0, LABELS, LABELS % 3)  # one lacks a class
    how = {"pred_is": "logits", "absent": "skip"}
    ours = jax.jit(lambda x, y: losses.lovasz_softmax(x, y, valid=y != 255, **how))
    for given in (labels, np.where(IGNORED == 255, 255, labels)):
        each = [ours(LOGITS[[image]], given[[image]]) for image in range(3)]
        loss = smp.LovaszLoss("multiclass", per_image=True, ignore_index=255)
        theirs = float(loss(X, torch.tensor(given)))
        close(np.mean(each), theirs)
        assert abs(ours(LOGITS, given) - theirs) > 1e-4


@pytest.mark.parametrize("shape", [(4, 64, 64, 1), (2, 32, 32, 32, 1), (2, 32, 32, 5)])
def test_optax_keeps_the_batch_axis_and_counts_smooth_twice(shape):
    x, c = RNG.normal(size=shape).astype(np.float32), shape[-1]
    one_hot = np.eye(c)[RNG.integers(0, c, shape[:-1])] if c > 1 else RNG.uniform(size=shape) < 0.5
    one_hot, how = one_hot.astype(np.float32), MULTICLASS if c > 1 else {}
    ours = losses.dice_prob(x, one_hot, pred_is="logits", reduction="none", **how)
    for reduction, left in (("mean", ours.mean(-1)), ("sum", ours.sum(-1)), ("none", ours)):
        theirs = optax.losses.dice_loss(x, one_hot, smooth=0.5, reduction=reduction)
        np.testing.assert_allclose(left, theirs, rtol=1e-5)


@pytest.mark.parametrize("weights", [None, [1.0, 1.0, 2.0, 1.0], [3.0, 2.0, 1.0, 1.0]])
@pytest.mark.parametrize("alpha", [None, 0.25])
def test_monai_reduces_dice_focal_per_pixel(weights, alpha):
    """Ours has one value per sample; there each Dice stands at every pixel, unscaled weights."""
    scale = 1 if weights is None else np.mean(weights)
    # No sigmoid, as in MONAI's own test: raw values pass inside jit alone.
    dice_prob = functools.partial(losses.dice_prob, pred_is="probs", smooth=1e-5)
    how = {"class_weights": weights, "reduction": "none"}
    dice = scale * jax.jit(functools.partial(dice_prob, **how))(LOGITS, MASKS)[:, None, None]
    lin = {} if alpha is None else {"fn_weight": alpha, "fp_weight": 1 - alpha}
    focal = scale * losses.focal(LOGITS, MASKS, pred_is="logits", gamma=1.0, **lin, **how)
    for share in (0.5, 1.0, 1.5):
        for reduction, ours in (
            ("none", dice + share * focal),
            ("sum", dice.sum() + share * focal.mean((1, 2)).sum()),  # of means over pixels
            ("mean", dice.mean() + share * focal.mean()),
        ):
            keywords = {"gamma": 1.0, "alpha": alpha, "weight": weights and torch.tensor(weights)}
            keywords |= {"lambda_focal": share, "reduction": reduction}
            theirs = np.asarray(monai.DiceFocalLoss(**keywords)(X, Y))
            theirs = np.moveaxis(theirs, 1, -1) if reduction == "none" else theirs
            np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-6)


def test_unified_focal_of_monai_halves_its_focal_part():
    # Two exclusive classes; MONAI averages the focal part over both where the authors sum it.
    x, labels = LOGITS[..., :2], LABELS % 2
    both = torch.softmax(first(x), 1), first(np.eye(2, dtype=np.float32)[labels])
    parts = monai.unified_focal_loss
    focal = parts.AsymmetricFocalLoss(gamma=0.5, delta=0.6)(*both)
    overlap = parts.AsymmetricFocalTverskyLoss(gamma=0.5, delta=0.6)(*both)
    ours = losses.unified_focal(x, labels, pred_is="logits", **MULTICLASS, smooth=1e-7)
    close(ours, 0.5 * 2 * focal + 0.5 * overlap)


def test_cldice_of_monai():
    p, t = PROBS[:1, ..., :1], MASKS[:1, ..., :1]
    theirs = monai.SoftclDiceLoss(iter_=3, smooth=1e-12)(first(p), first(t))
    close(losses.cldice(p, t, pred_is="probs", iterations=3), theirs)


def test_distances_and_boundary_of_scipy():
    edt = ndimage.distance_transform_edt
    masks = np.moveaxis(MASKS, -1, 1).reshape(12, 8, 9) > 0
    outside, inside = (np.stack([edt(one) for one in side]) for side in (~masks, masks))
    phi = np.where(inside > 0, 1 - inside, outside)
    probs = np.moveaxis(PROBS, -1, 1).reshape(12, 8, 9)
    close(losses.boundary(LOGITS, MASKS, pred_is="logits"), np.mean(phi * probs))
    for shape, share in [((2, 13, 17, 2), 0.7), ((1, 40, 33, 1), 0.97), ((1, 6, 7, 8, 1), 0.8)]:
        mask = RNG.uniform(size=shape) < share
        ours = np.asarray(losses.distance_transform(mask))
        for b, c in np.ndindex(shape[0], shape[-1]):
            np.testing.assert_allclose(ours[b, ..., c], edt(mask[b, ..., c]), rtol=1e-6)


def kaggle_torch(x, y):
    """The notebook's PyTorch losses, restated from their published formulas."""
    p, t = torch.sigmoid(x).reshape(-1), y.reshape(-1)
    both, total = (p * t).sum(), p.sum() + t.sum()
    dice = 1 - (2 * both + 1) / (total + 1)
    entropy = F.binary_cross_entropy(p, t)
    fp, fn = ((1 - t) * p).sum(), (t * (1 - p)).sum()
    weighted = -(0.5 * (t * torch.log(p) + 0.5 * (1 - t) * torch.log(1 - p))).mean()
    tversky = 1 - (both + 1) / (both + 0.5 * fp + 0.5 * fn + 1)
    return {
        "bce": entropy,
        "dice": dice,
        "bce_dice": entropy + dice,
        "jaccard": 1 - (both + 1) / (total - both + 1),
        "focal": 0.8 * (1 - torch.exp(-entropy)) ** 2 * entropy,
        **dict.fromkeys(("tversky", "focal_tversky"), tversky),
        "combo": 0.5 * weighted - 0.5 * (1 - dice),
        "lovasz_hinge": smp.LovaszLoss("binary", per_image=False)(x, y),
    }


@pytest.mark.parametrize("name", kaggle_torch(X, Y))
def test_kaggle_library_value_and_gradient(name):
    loss = functools.partial(getattr(kaggle, name), target=MASKS, pred_is="logits")
    value, grad = jax.value_and_grad(loss)(LOGITS)
    x = X.clone().requires_grad_()
    theirs = kaggle_torch(x, Y)[name]
    theirs.backward()
    close(value, theirs.detach())
    np.testing.assert_allclose(first(grad), x.grad.numpy(), rtol=1e-3, atol=1e-7)
