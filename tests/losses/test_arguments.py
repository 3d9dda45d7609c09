"""Wrong arguments are refused at trace time, with the reason."""

import functools
from operator import attrgetter

import jax
import numpy as np
import pytest

from segjax import losses
from segjax.errors import ConfigError
from segjax.losses import make_loss, weighted_sum

X = np.zeros((2, 4, 4, 3), np.float32)
T = np.zeros_like(X)
LABELS = np.zeros((2, 4, 4), np.int32)
LOGITS = {"pred_is": "logits"}
UNIFIED = ("focal_weight", "fn_weight", "gamma")
WEIGHTS = [0, 0, 0], [1, -1, 1], np.array([1, np.nan, 1]), jax.numpy.zeros(3)
MULTILABEL, MULTICLASS = {"classes": "multilabel"}, {"classes": "multiclass"}


def test_refused_under_jit_too():
    for name, target, settings, message in (
        ("bce", T, {"pred_is": "raw"}, "pred_is='raw': must be one of logits, probs"),
        ("lovasz_hinge", T, {"pred_is": "probs"}, "pred_is='probs': must be one of lo"),
        ("bce", T[..., :2], {}, r"target \(2, 4, 4, 2\)"),
        ("bce", T, {"pred": X.astype(int)}, "pred has dtype int"),
        ("cross_entropy", LABELS * 1.0, {}, "labels have dtype float"),
        ("dice_prob", T, {"over": "image"}, "over='image'"),
        ("dice_prob", T, {"smooth": -1}, "smooth=-1"),
        ("mcc", T, {"smooth": 0.0}, "smooth=0.0: must be > 0"),
        ("dice_prob", T, {"class_weights": [1, 2]}, r"class_weights has .* \(2,\): must be \(3,\)"),
        ("bce", T, {"valid": np.ones((2, 4)) > 0}, r"valid has shape \(2, 4\)"),
        ("cross_entropy", LABELS, {"valid": T}, r"valid has .*, 3\): must be .* or \(2,\)"),
        ("dice_prob", T, {"valid": [1, 0]}, "valid has dtype int32: must be bool"),
        ("mse", T, {"pred_is": None, "valid": [1.0, -0.5]}, "valid has weights below 0"),
        ("mse", T[0], {"pred_is": None}, r"shape \(2, 4, 4, 3\) but target \(4, 4, 3\)"),
        ("mse", T, {"pred_is": None, "reduction": "avg"}, "reduction='avg'"),
        ("mse", T, {"pred_is": None, "valid": LABELS}, "dtype int32"),
        ("dice", T, {"pred_is": None, "smooth": 0}, "smooth=0"),
        ("combo", T, {"pred_is": None, "dice_scale": -1}, "dice_scale=-1"),
        *(("bce", T, {"valid": [1.0, bad]}, "infinite or NaN") for bad in (np.nan, np.inf)),
        ("bce", T, {"fn_weight": [1, 2]}, r"fn_weight has shape \(2,\): .* each class \(3,\)"),
        ("tversky", T, {"fp_weight": [1, 2, 3], "per_class": False}, "must be one number"),
        ("unified_focal", T, {"fn_weight": [0.5] * 3}, r"fn_weight has .*\(3,\): must be one"),
        ("dice_prob", LABELS, {}, "labels need classes='multiclass'"),
        ("hausdorff", T[:, 0, 0], {"pred": X[:, 0, 0]}, "at least one axis between"),
        ("topk", LABELS, {"fraction": 0}, "fraction=0: must be > 0"),
        ("dice_ce", T, {**MULTILABEL, "over": "batch", "reduction": "none"}, "needs over='sample'"),
        ("focal", LABELS, {**MULTICLASS, "fn_weight": 2.0}, "need classes='multilabel'"),
        *(("unified_focal", T, {key: 1.5}, f"{key}=1.5: .* <= ") for key in UNIFIED),
        *(("kaggle.combo", T, {key: 1.5}, f"{key}=1.5: .* <= 1") for key in ("alpha", "ce_weight")),
        ("bce", T, {"label_smoothing": 1.5}, "and <= 1"),
        ("focal", LABELS, {"classes": "exclusive"}, "'exclusive': is called 'multiclass' now"),
        ("bce", T, {"pred": "much"}, "pred is a str: must be a NumPy or JAX array"),
        ("bce", None, {}, "target is a NoneType: must be"),
        ("mse", {"a": T}, {"pred_is": None}, "target is a dict: must be"),
        ("bce", np.array([["a"]]), {}, "target is a numpy.ndarray: must be"),
        ("dice_prob", T, {"smooth": np.array([1.0, -1.0])}, r"smooth=array\(.*must be >= 0"),
        ("dice_prob", T, {"smooth": "much"}, "smooth='much': must be a number"),
        ("dice_prob", T, {"smooth": float("nan")}, "smooth=nan: must be >= 0"),
        *(
            ("dice_prob", T, {"class_weights": w}, "class_weights=.*: must be >= 0")
            for w in WEIGHTS
        ),
        ("cross_entropy", LABELS, {"pred": X[..., :1]}, "one channel is no choice of a class"),
        ("dice_prob", LABELS, {"pred": X[..., :1], **MULTICLASS}, "one channel is no choice"),
    ):
        given = {"pred": X, "target": target} | LOGITS | settings
        given = {key: value for key, value in given.items() if value is not None or key == "target"}
        call = functools.partial(attrgetter(name)(losses), **given)
        for run in (call, jax.jit(call)):
            with pytest.raises(ConfigError, match=message):
                run()


def test_values_out_of_range_are_refused_where_they_are_known():
    for loss, x, t, pred_is, told in (
        (losses.bce, X, T + 50, "logits", "target has values from 50 to 50"),
        (losses.dice_prob, X - 3, T, "probs", "pred has values from -3 to -3.*pred_is='logits'"),
        (losses.bce, X, T + np.nan, "logits", "target has values from nan to nan"),
        (
            losses.cross_entropy,
            X + 0.5,
            LABELS,
            "probs",
            "pred sums to 1.5 to 1.5 over the classes",
        ),
        (losses.cross_entropy, X, LABELS + 7, "logits", r"labels go from 7 to 7: must be in 0..2"),
    ):
        with pytest.raises(ConfigError, match=told):
            loss(x, t, pred_is=pred_is)
    ignored = losses.cross_entropy(X, LABELS + 255, valid=LABELS > 0, **LOGITS)
    assert ignored == 0
    assert np.isfinite(jax.jit(lambda t: losses.bce(X, t, **LOGITS))(T + 50))


def test_settings_by_flag_reach_the_loss():
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=X.shape), rng.integers(0, 2, X.shape)
    flags = {"tversky_fp": 0.1, "tversky_exponent": 0.5, "loss_class_weights": "1,2,3"}
    named = make_loss("focal_tversky", parameters=flags)
    keywords = {"fp_weight": 0.1, "exponent": 0.5, "class_weights": [1, 2, 3]}
    direct = losses.focal_tversky(x, t, **keywords, **LOGITS)
    np.testing.assert_allclose(named(x, t), direct, rtol=1e-6)
    with pytest.raises(ConfigError, match=r"must be \(loss"):
        weighted_sum({"a": losses.mse})
    with pytest.raises(ConfigError, match="loss_class_weights=1,x"):
        make_loss("bce", parameters={"loss_class_weights": "1,x"})


def test_in_a_trace_weights_that_are_no_weights_do_not_count():
    pred, target = np.array([[0.5, 2.0, 1.0]])[..., None], np.ones((1, 3, 1))
    loss = jax.jit(lambda valid: losses.bce(pred, target, pred_is="logits", valid=valid))
    for wrong in (-1.0, np.nan):
        expected = losses.bce(pred[:, :2], target[:, :2], pred_is="logits")
        np.testing.assert_allclose(loss(np.array([[1.0, 1.0, wrong]])), expected, rtol=1e-6)


def test_an_error_names_the_setting_of_the_term_that_has_it():
    for name, flag in (("focal+exp_log", "exp_log_gamma"), ("bce+tversky", "tversky_fp")):
        loss = make_loss(name, parameters={flag: -1.0})
        with pytest.raises(ConfigError, match=rf"^{flag}=-1\.0: must be"):
            loss(np.zeros((1, 2, 2, 1)), np.zeros((1, 2, 2, 1)))
