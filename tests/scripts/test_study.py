"""The study: its plan, its floors, its page, and the whole of it at the smallest scale."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from configs import quick
from scripts.study import __main__ as command
from scripts.study.execute import Study, claim, mates_of
from scripts.study.floors import Reach, loss_floor, reach_of
from scripts.study.measure import plant_red
from scripts.study.numbers import Numbers
from scripts.study.page import TEMPLATE, fill, page_name, results_file, to_html
from scripts.study.plan import SCALES, dlstudio_recipe, library_recipe, runs_of, scale_of
from segjax.config import Config
from segjax.data.purdue.synthetic import synthetic
from segjax.dlstudio.floors import output_layer_floors
from segjax.errors import ConfigError

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
WALK = (DOCS / "walkthrough.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def masks():
    return synthetic(24, seed=3).masks


@pytest.mark.parametrize("name", SCALES)
def test_each_scale_plans_all_parts_once(name, tmp_path):
    scale = scale_of(name)
    runs = runs_of(scale, folder=tmp_path)
    assert len({run.name for run in runs}) == len(runs)
    parts = {part for run in runs for part in run.parts}
    assert {"1", "2", "3", "4", "5", "6"} <= parts
    assert ("anchor" in parts) == (scale.anchor is not None)
    assert "3" in scale.spread_parts
    for part in ("1", "3"):
        mse = [run for run in runs if part in run.parts and run.config.loss == "mse"]
        seeds = scale.seeds if part in scale.spread_parts else scale.seeds[:1]
        assert {run.config.seed for run in mse} == set(seeds)


def test_full_scale_is_the_reports_recipe():
    config = dlstudio_recipe(SCALES["full"], loss="combo", loss_params={"dice_scale": 400.0})
    told = Config(loss="combo", loss_params={"dice_scale": 400.0}, progress="off")
    assert config == told


def test_full_scale_has_the_four_losses_under_both_repairs_once(tmp_path):
    runs = {run.name: run for run in runs_of(SCALES["full"], folder=tmp_path)}
    losses = {
        "mse": {},
        "dice": {},
        "combo20": {"dice_scale": 20.0},
        "combo400": {"dice_scale": 400.0},
    }
    for name, params in losses.items():
        loss = Config(loss=name.rstrip("0124"), loss_params=params, progress="off")
        assert runs[f"{name}-dlstudio-seed1234"].config == loss
        dense = runs[f"{name}-dense-inside-seed1234"]
        assert dense.config == loss.replace(head="dense", upsampling="dense")
        assert dense.parts == ("3",)
        assert (f"{name}-dense-inside-seed1235" in runs) == (name == "mse")


def test_library_recipe_is_the_quick_configuration_at_another_budget():
    budget = ("depth", "train_images", "epochs", "batch_size", "log_steps", "progress", "seed")
    same = {name: getattr(quick.get_config(), name) for name in budget}
    assert library_recipe(SCALES["cpu"]).replace(**same) == quick.get_config()


def test_runs_of_one_program_share_all_but_loss_and_seed(tmp_path):
    scale = SCALES["full"]
    study = Study(scale, runs_of(scale, folder=tmp_path), tmp_path)
    mates = mates_of(study, study.runs[0], study.runs)
    assert len(mates) > 4 * len(scale.seeds) - 1
    for name in ("head", "upsampling", "depth", "epochs", "train_file", "targets", "augment"):
        assert len({getattr(run.config, name) for run in mates}) == 1
    exclusive = next(run for run in study.runs if run.config.loss == "ce")
    assert {run.config.loss for run in mates_of(study, exclusive, study.runs)} >= {"ce", "dice_ce"}
    assert "bce" not in {run.config.loss for run in mates_of(study, exclusive, study.runs)}


def test_joint_floor_lies_under_every_sampled_output(masks):
    rng = np.random.default_rng(0)
    reach = reach_of(masks)
    floor, amplitude = reach.best(mse=1.0, dice=400.0)
    target = masks.astype(float)
    even = np.zeros(masks.shape[1:3], bool)
    even[::2, ::2] = True

    def loss(outputs):
        mse = np.mean((outputs - target) ** 2)
        dice = 1 - 2 * (outputs * target).sum() / ((outputs**2).sum() + (target**2).sum())
        return mse + 400 * dice

    best = np.where(even[..., None], target, target[:, ~even].mean((0, 1))) * amplitude
    assert loss(best) == pytest.approx(floor, rel=1e-9)
    for _ in range(20):
        nudge = np.where(even[..., None], rng.normal(0, 3, target.shape), rng.normal(0, 1, 5))
        assert loss(best + nudge) > floor


def test_floors_of_single_losses_are_those_of_the_output_layer(masks):
    known, reach = output_layer_floors(masks), reach_of(masks)
    assert reach.best(mse=1.0, dice=0.0) == pytest.approx((known.mse, 1.0))
    assert reach.best(mse=0.0, dice=1.0) == pytest.approx((known.dice, known.dice_amplitude))


def test_floor_of_a_run_is_none_where_there_is_none(masks):
    faithful = Config(loss="dice")
    assert 0.3 < loss_floor(faithful, masks) < output_layer_floors(masks).dice + 0.01
    assert loss_floor(faithful.replace(head="dense"), masks) is None
    assert loss_floor(Config(loss="bce"), masks) is None


def test_dice_alone_is_lowest_between_the_mask_value_and_twice_it():
    reach = Reach(energy=4.0, projected=1.0, values=4)
    assert reach.dice(2.0) < min(reach.dice(1.9), reach.dice(2.1))
    assert reach.best(mse=0.0, dice=1.0) == pytest.approx((0.5, 2.0))


def test_planted_red_touches_other_shapes_only():
    scenes = synthetic(12, seed=4)
    disk = scenes.class_names.index("disk")
    planted = plant_red(scenes.images, scenes.masks, disk=disk, seed=0)
    on = scenes.masks > 0
    others = np.delete(on, disk, axis=-1).any(-1) & ~on[..., disk]
    assert (planted[~others] == scenes.images[~others]).all()
    assert (planted[others][:, 1:] == scenes.images[others][:, 1:]).all()
    assert planted[others][:, 0].min() >= 5
    assert planted[others][:, 0].max() <= 11


def test_a_claimed_run_is_left_to_its_holder(tmp_path):
    pytest.importorskip("fcntl")
    with claim(tmp_path, "one") as mine:
        assert mine
        with claim(tmp_path, "one") as second:
            assert not second
    with claim(tmp_path, "one") as again:
        assert again


def test_changed_plan_is_refused(tmp_path):
    from segjax.runs.folder import RunFolder, open_run

    scale = SCALES["smoke"]
    study = Study(scale, runs_of(scale, folder=tmp_path), tmp_path)
    run = study.runs[0]
    open_run(RunFolder(study.path_of(run)), run.config.replace(depth=8))
    with pytest.raises(ConfigError, match="the plan has changed"):
        study.state_of(run)


COMMITTED = sorted((DOCS / "results").glob("study-*.json"))


@pytest.fixture(params=COMMITTED, ids=lambda file: file.stem)
def committed(request):
    return json.loads(request.param.read_text(encoding="utf-8"))


def test_committed_page_is_what_the_committed_numbers_give(committed):
    name = page_name(committed["scale"])
    text = fill(TEMPLATE.read_text(encoding="utf-8"), Numbers(committed), docs=DOCS)
    assert (DOCS / f"{name}.md").read_text(encoding="utf-8") == text
    assert (DOCS / f"{name}.html").read_text(encoding="utf-8") == to_html(text, folder=DOCS)
    assert "{{" not in text
    assert "{%" not in text


def test_committed_floors_are_those_of_the_files(committed):
    facts = committed["floors"]["all training images"]
    if facts["images"] != 10000:
        pytest.skip("drawn images")
    assert facts["mse"] == pytest.approx(362.2, abs=0.05)
    assert facts["mse_all_zero"] == pytest.approx(494.6, abs=0.05)
    assert facts["dice"] == pytest.approx(0.483, abs=0.0005)
    assert committed["floors"]["test images"]["mse"] == pytest.approx(366.1, abs=0.05)


@pytest.mark.parametrize(
    "text", ["{{ nothing }}", "{{ nothing_rows() }}", "{% if nothing %}x{% endif %}", "{% odd %}"]
)
def test_template_refuses_names_that_do_not_exist(committed, text):
    with pytest.raises(ConfigError, match=r"template\.md"):
        fill(text, Numbers(committed), docs=DOCS)


def test_html_has_tables_lists_code_and_escapes(tmp_path):
    text = (
        "# A < B\n\nSome *odd* `x < 1`.\n\n| a | b |\n|---|---:|\n| 1 | **2** |\n\n"
        "- one\n- two\n\n```sh\na  # x\n\nb\n```\n"
    )
    page = to_html(text, folder=tmp_path)
    assert "<title>A &lt; B</title>" in page
    assert "<em>odd</em> <code>x &lt; 1</code>" in page
    assert "<td>1</td>" in page
    assert '<td style="text-align:right"><strong>2</strong></td>' in page
    assert "<li>one</li>\n<li>two</li>" in page
    assert re.search(r"<pre><code[^>]*>a  # x\n\nb\n</code></pre>", page)


def run_study(folder, docs, *flags):
    arguments = ["--scale=smoke", f"--runs={folder}", f"--docs={docs}", *flags]
    return command.main(arguments)


def test_a_part_of_the_study_from_runs_to_page(tmp_path, capsys):
    runs, docs = tmp_path / "runs", tmp_path / "docs"
    # Stops after one, goes on with the rest, then finds nothing left.
    assert run_study(runs, docs, "--only=^mse-dlstudio-seed", "--max_runs=1") == 3
    assert run_study(runs, docs, "--only=^mse-dlstudio-seed") == 0
    assert run_study(runs, docs, "--only=^mse-dlstudio-seed", "--list") == 0
    assert "2 of 2 runs done; left: nothing" in capsys.readouterr().out
    first = (docs / "study-smoke.md").read_text(encoding="utf-8")
    assert "2 of" in first
    page = (docs / "study-smoke.html").read_text(encoding="utf-8")
    assert "data:image/png;base64," in page
    # The page again from the numbers alone.
    (docs / "study-smoke.md").unlink()
    assert run_study(tmp_path / "nowhere", docs, "--page") == 0
    assert (docs / "study-smoke.md").read_text(encoding="utf-8") == first
    summary = json.loads(results_file(docs, "smoke").read_text(encoding="utf-8"))
    run = summary["runs"]["mse-dlstudio-seed1"]
    assert run["measured"]["outputs"]["constant_range"] == [0.0] * 5
    assert run["last_loss"] > run["floor"] > 0


def test_runs_of_one_program_are_done_as_the_plan_says(tmp_path, capsys):
    flags = ("--only=^dice-dlstudio-seed", "--vectorised")
    assert run_study(tmp_path / "runs", tmp_path / "docs", *flags, "--max_runs=2") == 0
    assert "dice-dlstudio-seed1, dice-dlstudio-seed2: starting" in capsys.readouterr().out
    assert run_study(tmp_path / "runs", tmp_path / "docs", *flags, "--list") == 0
    assert "2 of 2 runs done; left: nothing" in capsys.readouterr().out


@pytest.mark.slow
def test_the_whole_study_at_the_smallest_scale(tmp_path):
    runs, docs = tmp_path / "runs", tmp_path / "docs"
    assert run_study(runs, docs) == 0
    text = (docs / "study-smoke.md").read_text(encoding="utf-8")
    assert "not run yet" not in text
    assert "No figure yet" not in text
    assert "not done at this scale" not in text


def walk(steps, folder, monkeypatch):
    monkeypatch.chdir(folder)
    code = "\n".join(re.findall(r"```python\n(.*?)```", WALK, re.S))
    assert "STEPS = 150 " in code
    scope = {}
    code = code.replace("STEPS = 150 ", f"STEPS = {steps} ")
    exec(compile(code, "walkthrough.md", "exec"), scope)
    assert (folder / "compare.png").exists()
    assert (folder / "look.png").exists()
    return scope


def test_walkthrough_runs(tmp_path, monkeypatch, capsys):
    scope = walk(2, tmp_path, monkeypatch)
    assert "range over all others:          [0. 0. 0. 0. 0.]" in capsys.readouterr().out
    assert scope["filled"][:, ~scope["computed"]].std() > 0


@pytest.mark.slow
def test_walkthrough_shows_what_it_says(tmp_path, monkeypatch):
    scope = walk(150, tmp_path, monkeypatch)
    assert scope["mean_iou"](scope["original"]) < scope["mean_iou"](scope["repaired"])
