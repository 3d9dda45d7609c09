"""The claims that the page's sentences rest on, on both sides of their borders."""

import pytest

from scripts.study.numbers import CLAIMS, MissingRunsError, Numbers


def numbers_of(**groups):
    """Numbers of runs, one for each of a group's mean IoUs; a mapping stands for the whole run."""
    runs = {}
    for group, entries in groups.items():
        for seed, entry in enumerate(entries if isinstance(entries, list) else [entries]):
            own = entry if isinstance(entry, dict) else {"half": {"miou": entry}, "val_miou": entry}
            about = {"group": group.replace("_", "-"), "seed": seed, "parts": ["5"], "floor": None}
            runs[f"{group}-{seed}"] = {**about, "measured": None, "depth": 4, **own}
    return Numbers({"floors": {}, "classes": ["disk"], "missing": [], "runs": runs})


def ends(last_loss, floor):
    return {"last_loss": last_loss, "floor": floor}


def leaks(planted, plain):
    scenes = {"planted": {"false_disk": planted}, "as_they_are": {"false_disk": plain}}
    return {"measured": {"leak": scenes}}


BETTER = {
    f"{name}_{head}": score
    for name in ("mse", "dice", "combo20", "combo400")
    for head, score in (("dense", 0.3), ("dlstudio", 0.2))
}
HEART = {f"by_heart_{name}_dlstudio": ends(1.0, 1.0) for name in ("mse", "dice", "combo400")}
LONGER = {"dice_dlstudio": 0.2, "dice_dlstudio_epochs_x4": 0.3, "dice_dense": 0.2}
SKEW = {"mse_dense_skewed": 0.1, "combo400_dense_skewed": 0.2, "mse_dense_uniform": 0.4}
FLOOR = {"mse_dlstudio": ends(3, 2.0)}
DEEPER = {"mse_dense_depth8": {"half": {"miou": 0.1}, "depth": 8}}
SCALED = {"mse_dense": 0.3, "combo20_dense": 0.4}
# Of each claim: runs of which it holds, and what changes that, one at a time.
BORDERS = {
    "never_below_floor": [{"a": ends(0.98, 1.0), "b": ends(3.0, 1.0)}, {"a": ends(0.97, 1.0)}],
    "dense_below_floor": [FLOOR | {"mse_dense": ends(1.9, None)}, {"mse_dense": ends(2.1, None)}],
    "by_heart_near": [
        HEART,
        {"by_heart_dice_dlstudio": ends(1.06, 1.0)},
        {"by_heart_mse_dlstudio": ends(0.96, 1.0)},
    ],
    "dense_always_better": [BETTER, {"combo400_dlstudio": 0.3}],
    "skew_no_help": [SKEW | {"combo400_dense_uniform": 0.51}, {"combo400_dense_uniform": 0.49}],
    "dice_longer": [LONGER | {"dice_dense_epochs_x4": 0.21}, {"dice_dense_epochs_x4": 0.2}],
    "depth_helps_dense": [DEEPER | {"mse_dense": 0.05}, {"mse_dense": 0.2}],
    "scale_matters": [SCALED | {"combo4000_dense": 0.19}, {"combo4000_dense": 0.21}],
    "dice_lifts": [{"combo4000_dlstudio": 0.26, "mse_dlstudio": 0.2}, {"combo4000_dlstudio": 0.24}],
    "unit_dice": [{"dice_dense_unit": 0.3, "dice_dense": 0.2}, {"dice_dense_unit": 0.2}],
    "spread_separates": [
        {"library_a": [0.8, 0.9], "library_b": [0.5, 0.6]},
        {"library_a": [0.6, 0.9], "library_b": [0.55, 0.65]},
        {"library_a": 0.9, "library_b": 0.5},
    ],
    "leak_real": [{"library_bce": leaks(0.31, 0.1)}, {"library_bce": leaks(0.29, 0.1)}],
    "recolour_cures": [
        {"library_bce": leaks(0.4, 0.1), "library_bce_recolour": leaks(0.09, 0.0)},
        {"library_bce_recolour": leaks(0.11, 0.0)},
    ],
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_holds_as_far_as_it_says(claim):
    ask, (holding, *changes) = CLAIMS[claim], BORDERS[claim]
    for groups in (holding, *({**holding, **change} for change in changes)):
        assert ask(numbers_of(**groups)) is (groups is holding)
        for missing in [] if claim == "never_below_floor" else groups:
            with pytest.raises(MissingRunsError):
                ask(numbers_of(**{n: entry for n, entry in groups.items() if n != missing}))
