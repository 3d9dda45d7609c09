"""What the study runs, at each scale."""

import pytest

from configs import quick
from scripts.study.plan import SCALES, cost_of, library_recipe, runs_of, train_images_of
from segjax.config import Config


@pytest.mark.parametrize("name", SCALES)
def test_each_scale_plans_all_parts_once(name, tmp_path):
    scale = SCALES[name]
    runs = runs_of(scale, folder=tmp_path)
    assert len({run.name for run in runs}) == len(runs)
    parts = {part for run in runs for part in run.parts}
    assert {"1", "2", "3", "4", "5", "6"} <= parts
    assert "3" in scale.spread_parts
    for part in ("1", "3"):
        mse = [run for run in runs if part in run.parts and run.config.loss == "mse"]
        seeds = scale.seeds if part in scale.spread_parts else scale.seeds[:1]
        assert {run.config.seed for run in mse} == set(seeds)


def test_full_scale_is_the_reports_recipe_under_both_repairs_once(tmp_path):
    scale = SCALES["full"]
    runs = {run.name: run for run in runs_of(scale, folder=tmp_path)}
    losses = {"mse": {}, "dice": {}} | {f"combo{s}": {"dice_scale": float(s)} for s in (20, 400)}
    for name, params in losses.items():
        loss = Config(loss=name.rstrip("0124"), loss_params=params, progress="off")
        assert runs[f"{name}-dlstudio-seed1234"].config == loss
        dense = runs[f"{name}-dense-inside-seed1234"]
        assert dense.config == loss.replace(head="dense", upsampling="dense")
        assert dense.parts == ("3", "report")
        assert dense.config.replace(seed=1236) == runs[f"{name}-dense-inside-seed1236"].config
    report = [run for run in runs.values() if "report" in run.parts]
    assert len(report) == 2 * len(losses) * len(scale.seeds)
    assert [run.config.seed for run in report[:8]] == [1234] * 8
    # The cost is that of the steps and layers: 6 epochs of 2,500 steps of 4 at depth 16.
    assert cost_of(scale, runs["mse-dlstudio-seed1234"]) == pytest.approx(15000 * 18.3 / 6.3 + 200)
    assert train_images_of(scale, runs["library-bce-seed1234"].config) == 9000
    assert train_images_of(scale, runs["mse-dense-skewed-seed1234"].config) == 10000
    # The library's recipe is the quick configuration at another budget, in old colours.
    budget = ("depth", "train_images", "epochs", "batch_size", "log_steps", "progress", "seed")
    same = {name: getattr(quick.get_config(), name) for name in budget}
    assert library_recipe(SCALES["cpu"], augment="recolour").replace(**same) == quick.get_config()


def test_committed_runs_are_those_of_the_plan(committed, tmp_path):
    scale = SCALES[committed["scale"]]
    runs = {run.name: run for run in runs_of(scale, folder=tmp_path)}
    assert {*committed["runs"], *committed["missing"]} == set(runs)
    for name, found in committed["runs"].items():
        run, config = runs[name], runs[name].config
        assert (run.group, list(run.parts)) == (found["group"], found["parts"])
        for key in ("seed", "loss", "head", "depth", "targets", "epochs", "batch_size"):
            assert getattr(config, key) == found[key], (name, key)
        assert config.loss_params.get("dice_scale") == found["dice_scale"]
        assert train_images_of(scale, config) == found["train_images"]
        assert config.epochs * (found["train_images"] // config.batch_size) == found["steps"]
        checked = (found["measured"].get("after_epochs") or {}).keys()
        assert [str(epochs) for epochs in run.checked_epochs] == list(checked)
        assert ("leak" in found["measured"]) == ("6" in run.parts)
