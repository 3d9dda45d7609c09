"""Scores against scikit-learn, torchmetrics and MONAI, and where those differ and why."""

import warnings

import numpy as np
import pytest

from segjax import metrics as m

# Their imports and their empty cases warn; the suite turns warnings into errors.
pytestmark = pytest.mark.filterwarnings("ignore")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")
    tm = pytest.importorskip("torchmetrics.functional.classification")
    tms = pytest.importorskip("torchmetrics.functional.segmentation")
    skl = pytest.importorskip("sklearn.metrics")
    monai = pytest.importorskip("monai.metrics")

C = 4
AVERAGES = ("none", "micro", "macro", "weighted")


def scene(seed, *, images=3):
    """Return masks in which every class is right, made up and missed somewhere."""
    rng = np.random.default_rng(seed)
    target = rng.random((images, 16, 16, C)) < [0.5, 0.3, 0.1, 0.05]
    pred = target ^ (rng.random(target.shape) < [0.05, 0.2, 0.1, 0.05])
    return pred, target


def pixels(mask):
    return mask.reshape(-1, C).astype(int)


def channels_first(*masks):
    return [torch.from_numpy(np.moveaxis(mask, -1, 1).astype(np.int64)) for mask in masks]


def labels(*masks):
    return [torch.from_numpy(pixels(mask)) for mask in masks]


def matthews(pred, target):
    """torchmetrics' coefficient of two masks of one class."""
    return tm.binary_matthews_corrcoef(*(torch.from_numpy(m).int().ravel() for m in (pred, target)))


# Our score, scikit-learn's, torchmetrics' and MONAI's.
SCORES = [
    (m.iou, skl.jaccard_score, tm.multilabel_jaccard_index, "threat score"),
    (m.dice, skl.f1_score, tm.multilabel_f1_score, "f1 score"),
    (m.precision, skl.precision_score, tm.multilabel_precision, "precision"),
    (m.recall, skl.recall_score, tm.multilabel_recall, "sensitivity"),
    (m.specificity, None, tm.multilabel_specificity, "specificity"),
    (m.accuracy, None, tm.multilabel_accuracy, "accuracy"),
    (m.mcc, None, None, "matthews correlation coefficient"),
]


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("seed", [0, 1, 3])
def test_every_class_is_there(average, seed):
    pred, target = scene(seed)
    counts = m.count(pred, target)
    how = {"average": None if average == "none" else average}
    for ours, theirs, *_ in SCORES[:4]:
        expected = theirs(pixels(target), pixels(pred), **how)
        np.testing.assert_allclose(ours(counts, average=average), expected, rtol=1e-12)
    for ours, _, theirs, _ in SCORES[:6]:
        expected = theirs(*labels(pred, target), num_labels=C, average=average)
        np.testing.assert_allclose(ours(counts, average=average), expected, rtol=1e-6)


def test_counts_and_mcc():
    pred, target = scene(2)
    counts = m.count(pred, target)
    table = skl.multilabel_confusion_matrix(pixels(target), pixels(pred))
    for index, name in (((0, 0), "tn"), ((0, 1), "fp"), ((1, 0), "fn"), ((1, 1), "tp")):
        np.testing.assert_array_equal(getattr(counts, name), table[:, index[0], index[1]])
    expected = [skl.matthews_corrcoef(pixels(target)[:, c], pixels(pred)[:, c]) for c in range(C)]
    np.testing.assert_allclose(m.mcc(counts), expected, rtol=1e-12)
    expected = [matthews(pred[..., c], target[..., c]) for c in range(C)]
    np.testing.assert_allclose(m.mcc(counts), expected, rtol=1e-5)
    # Their multilabel MCC pools all labels.
    pooled = tm.multilabel_matthews_corrcoef(*labels(pred, target), num_labels=C)
    np.testing.assert_allclose(m.mcc(counts, average="micro"), pooled, rtol=1e-5)


def test_f_beta_confusion_matrix_and_generalized_dice():
    pred, target = scene(3)
    for average in AVERAGES:
        how = {"average": None if average == "none" else average, "beta": 2.0}
        found = m.f_beta(m.count(pred, target), beta=2.0, average=average)
        np.testing.assert_allclose(found, skl.fbeta_score(pixels(target), pixels(pred), **how))
    given, true = pred.argmax(-1), target.argmax(-1)
    found = m.confusion_matrix(given, true, classes=C)
    np.testing.assert_array_equal(found, skl.confusion_matrix(true.ravel(), given.ravel()))
    theirs = tm.multiclass_confusion_matrix(*map(torch.from_numpy, (given, true)), num_classes=C)
    np.testing.assert_array_equal(found, theirs)
    first, together = channels_first(pred, target), {"sum_over_classes": True}
    counts = m.count(pred, target, per_image=True)
    for power, kinds in ((2, "square square"), (1, "simple simple"), (0, "uniform linear")):
        ours = m.generalized_dice(counts, over="image", power=power)
        one, two = kinds.split()
        theirs = monai.compute_generalized_dice(*first, **together, weight_type=one)
        np.testing.assert_allclose(ours, theirs[:, 0], rtol=1e-5)
        theirs = tms.generalized_dice_score(*first, num_classes=C, weight_type=two)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    # Where a class has no target pixel, torchmetrics takes its weight from other images.
    target[0, ..., 3] = False
    first, counts = channels_first(pred, target), m.count(pred, target, per_image=True)
    ours = m.generalized_dice(counts, over="image")
    theirs = monai.compute_generalized_dice(*first, **together)
    np.testing.assert_allclose(ours, theirs[:, 0], rtol=1e-5)
    assert abs(ours[0] - float(tms.generalized_dice_score(*first, num_classes=C)[0])) > 1e-3
    nothing = channels_first(*np.zeros((2, 1, 4, 4, C), bool))
    assert monai.compute_generalized_dice(*nothing, **together) == 1
    assert tms.generalized_dice_score(*nothing, num_classes=C) == 0


def test_classes_that_are_absent_made_up_or_missed():
    pred, target = scene(1)  # class 1 becomes absent, 2 only made up and 3 only missed
    pred[..., [1, 3]] = target[..., [1, 2]] = False
    counts = m.count(pred, target)
    for absent, fill in (("skip", np.nan), ("zero", 0.0), ("one", 1.0)):
        for average in ("none", "macro", "micro"):
            how = {"average": None if average == "none" else average, "zero_division": fill}
            expected = skl.f1_score(pixels(target), pixels(pred), **how)
            np.testing.assert_allclose(m.dice(counts, average=average, absent=absent), expected)
    # scikit-learn applies zero_division to any 0/0. A class that was missed altogether then has
    # precision NaN or 1; here it has 0, because "absent" is said of classes, not of fractions.
    for (ours, theirs, *_), expected in zip(SCORES[2:4], ([1, 0, 1], [1, 1, 0]), strict=True):
        found = theirs(pixels(target), pixels(pred), average=None, zero_division=1.0)
        np.testing.assert_array_equal(found[1:], expected)
        np.testing.assert_array_equal(ours(counts, absent="one")[1:], [1, 0, 0])
    # torchmetrics counts an absent class as zero.
    for ours, _, theirs, _ in SCORES[:4]:
        for average in ("none", "macro"):
            expected = theirs(*labels(pred, target), num_labels=C, average=average)
            found = ours(counts, average=average, absent="zero")
            np.testing.assert_allclose(found, expected, rtol=1e-6)
    # Its segmentation metrics answer differently, each its own way: IoU of an absent class is -1
    # per class, Dice NaN.
    first, how = channels_first(pred, target), {"num_classes": C, "input_format": "one-hot"}
    assert (tms.mean_iou(*first, per_class=True, **how)[:, 1] == -1).all()
    assert tms.dice_score(*first, average="none", **how)[:, 1].isnan().all()
    counts = m.count(pred, target, per_image=True)
    theirs, ours = monai.compute_dice(*first), m.dice(counts, over="image")
    assert np.isnan(ours[:, 1]).all()
    assert theirs[:, 1].isnan().all()
    # Class 2 was made up: worth 0 here, left out in MONAI unless ignore_empty=False.
    assert (ours[:, 2] == 0).all()
    assert theirs[:, 2].isnan().all()
    theirs = monai.compute_dice(*first, ignore_empty=False)
    np.testing.assert_allclose(m.dice(counts, over="image", absent="one"), theirs, rtol=1e-6)


def test_torchmetrics_ignored_pixels():
    pred, target = scene(4)
    valid = np.random.default_rng(4).random(target.shape[:-1]) < 0.7
    marked = np.where(valid[..., None], target, -1).reshape(-1, C)
    counts = m.count(pred, target, valid=valid)
    for ours, _, theirs, _ in (SCORES[0], SCORES[5]):
        given = *labels(pred), torch.from_numpy(marked)
        expected = theirs(*given, num_labels=C, average="none", ignore_index=-1)
        np.testing.assert_allclose(ours(counts), expected, rtol=1e-6)


def test_torchmetrics_and_monai_per_image():
    pred, target = scene(5)
    pred[0, ..., 2] = target[0, ..., 2] = False
    counts = m.count(pred, target, per_image=True)
    first = channels_first(pred, target)
    theirs = tms.mean_iou(*first, num_classes=C, per_class=True, input_format="one-hot")
    ours = m.iou(counts, over="image")
    assert np.isnan(ours[0, 2])
    np.testing.assert_allclose(np.where(np.isnan(ours), -1, ours), theirs, rtol=1e-6)
    theirs = tms.mean_iou(*first, num_classes=C, input_format="one-hot")
    np.testing.assert_allclose(m.iou(counts, over="image", average="macro"), theirs, rtol=1e-6)
    for average in ("none", "micro"):
        theirs = tms.dice_score(*first, num_classes=C, average=average, input_format="one-hot")
        np.testing.assert_allclose(m.dice(counts, over="image", average=average), theirs, rtol=1e-6)
    pred, target = scene(6)
    counts = m.count(pred, target, per_image=True)
    first = channels_first(pred, target)
    np.testing.assert_allclose(m.iou(counts, over="image"), monai.compute_iou(*first), rtol=1e-6)
    np.testing.assert_allclose(m.dice(counts, over="image"), monai.compute_dice(*first), rtol=1e-6)
    table = monai.get_confusion_matrix(*first)
    for ours, _, _, name in SCORES:
        theirs = monai.compute_confusion_matrix_metric(name, table)
        np.testing.assert_allclose(ours(counts, over="image"), theirs, rtol=1e-5, err_msg=name)


def test_mcc_at_its_ends_follows_torchmetrics_not_scikit_learn():
    all_on, all_off = np.ones((1, 3, 3, 1), bool), np.zeros((1, 3, 3, 1), bool)
    for pred, target, expected in ((all_on, all_on, 1), (all_on, all_off, -1)):
        ours = m.mcc(m.count(pred, target))[0]
        assert ours == pytest.approx(float(matthews(pred, target)), abs=1e-3) == expected
        # scikit-learn says 0 whenever a factor is 0, for a perfect mask too.
        assert skl.matthews_corrcoef(target.ravel(), pred.ravel()) == 0
    # Two thirds of a full mask: with no pixel off in the target, nothing was told apart, which is
    # 0 here and in scikit-learn. torchmetrics takes a limit that credits hits over misses instead,
    # (tp - fn) / sqrt((tp + fp) (tp + fn) (tn + fn)) = 3 / sqrt(6 * 9 * 3).
    part = all_on.copy()
    part[0, 0] = False
    theirs = skl.matthews_corrcoef(all_on.ravel(), part.ravel())
    assert m.mcc(m.count(part, all_on))[0] == theirs == 0
    np.testing.assert_allclose(matthews(part, all_on), 3 / np.sqrt(6 * 9 * 3), rtol=1e-5)


def test_monai_mean_of_nothing_is_zero():
    def reduced(scores, how):
        return monai.utils.do_metric_reduction(torch.from_numpy(scores.copy()), how)[0]

    nothing = np.full((2, C), np.nan)
    assert (reduced(nothing, "mean_batch") == 0).all()
    assert np.isnan(m.mean_over_images(nothing)).all()
    pred, target = scene(7)
    target[0, ..., 2] = pred[0, ..., 2] = False
    counts = m.count(pred, target, per_image=True)
    scores, macro = m.iou(counts, over="image"), m.iou(counts, over="image", average="macro")
    np.testing.assert_allclose(m.mean_over_images(scores), reduced(scores, "mean_batch"), rtol=1e-6)
    np.testing.assert_allclose(m.mean_over_images(macro), reduced(scores, "mean"), rtol=1e-6)
