"""The study: its plan, its floors, its page, and the whole of it at the smallest scale."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from configs import quick
from scripts.study import __main__ as command
from scripts.study import execute as running
from scripts.study.collect import balance, curve
from scripts.study.execute import Study, claim, clock, execute, listing, mates_of
from scripts.study.figures import FIGURES, largest_object
from scripts.study.floors import Reach, loss_floor, reach_of
from scripts.study.measure import outputs, plant_red, rounded
from scripts.study.numbers import CLAIMS, MissingRunsError, Numbers
from scripts.study.page import TEMPLATE, fill, page_name, results_file, to_html
from scripts.study.plan import (
    SCALES,
    cost_of,
    dlstudio_recipe,
    library_recipe,
    runs_of,
    scale_of,
    steps_of,
    train_images_of,
)
from scripts.study.tables import means_of
from segjax.config import Config
from segjax.data.purdue.synthetic import synthetic
from segjax.dlstudio.floors import output_layer_floors
from segjax.errors import ConfigError
from segjax.purdue import DLSTUDIO_WINDOWS
from segjax.runs.folder import RESULTS_FILE, RunFolder, open_run

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


def test_committed_runs_are_those_of_the_plan(committed, tmp_path):
    scale = scale_of(committed["scale"])
    runs = {run.name: run for run in runs_of(scale, folder=tmp_path)}
    assert {*committed["runs"], *committed["missing"]} == set(runs)
    for name, found in committed["runs"].items():
        run, config = runs[name], runs[name].config
        assert (run.group, list(run.parts)) == (found["group"], found["parts"])
        for key in ("seed", "loss", "head", "depth", "targets", "epochs", "batch_size"):
            assert getattr(config, key) == found[key], (name, key)
        assert config.loss_params.get("dice_scale") == found["dice_scale"]
        assert train_images_of(scale, config) == found["train_images"]
        assert steps_of(config, found["train_images"]) == found["steps"]
        checked = (found["measured"].get("after_epochs") or {}).keys()
        assert [str(epochs) for epochs in run.checked_epochs] == list(checked)
        assert ("leak" in found["measured"]) == ("6" in run.parts)


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


HEART = {f"by_heart_{name}_dlstudio": ends(1.0, 1.0) for name in ("mse", "dice", "combo400")}
BETTER = {
    f"{name}_{head}": score
    for name in ("mse", "dice", "combo20", "combo400")
    for head, score in (("dense", 0.3), ("dlstudio", 0.2))
}
SKEW = {"mse_dense_skewed": 0.1, "combo400_dense_skewed": 0.2, "mse_dense_uniform": 0.4}
LONGER = {"dice_dlstudio": 0.2, "dice_dlstudio_epochs_x4": 0.3, "dice_dense": 0.2}
DEEPER = {"mse_dense": 0.2, "mse_dense_depth8": {"half": {"miou": 0.1}, "depth": 8}}
SCALED = {"mse_dense": 0.3, "combo20_dense": 0.4}
LEAK = {"library_bce": leaks(0.4, 0.1)}


@pytest.mark.parametrize(
    ("claim", "groups", "holds"),
    [
        ("never_below_floor", {"a": ends(0.98, 1.0), "b": ends(3.0, 1.0)}, True),
        ("never_below_floor", {"a": ends(0.97, 1.0), "b": ends(3.0, 1.0)}, False),
        ("dense_below_floor", {"mse_dense": ends(1.9, None), "mse_dlstudio": ends(3, 2.0)}, True),
        ("dense_below_floor", {"mse_dense": ends(2.1, None), "mse_dlstudio": ends(3, 2.0)}, False),
        ("by_heart_near", HEART, True),
        ("by_heart_near", HEART | {"by_heart_dice_dlstudio": ends(1.06, 1.0)}, False),
        ("by_heart_near", HEART | {"by_heart_mse_dlstudio": ends(0.96, 1.0)}, False),
        ("dense_always_better", BETTER, True),
        ("dense_always_better", BETTER | {"combo400_dlstudio": 0.3}, False),
        ("skew_no_help", SKEW | {"combo400_dense_uniform": 0.51}, True),
        ("skew_no_help", SKEW | {"combo400_dense_uniform": 0.49}, False),
        ("dice_longer", LONGER | {"dice_dense_epochs_x4": 0.21}, True),
        ("dice_longer", LONGER | {"dice_dense_epochs_x4": 0.2}, False),
        ("depth_helps_dense", DEEPER, False),
        ("depth_helps_dense", DEEPER | {"mse_dense": 0.05}, True),
        ("scale_matters", SCALED | {"combo4000_dense": 0.19}, True),
        ("scale_matters", SCALED | {"combo4000_dense": 0.21}, False),
        ("dice_lifts", {"combo4000_dlstudio": 0.26, "mse_dlstudio": 0.2}, True),
        ("dice_lifts", {"combo4000_dlstudio": 0.24, "mse_dlstudio": 0.2}, False),
        ("unit_dice", {"dice_dense_unit": 0.3, "dice_dense": 0.2}, True),
        ("unit_dice", {"dice_dense_unit": 0.2, "dice_dense": 0.2}, False),
        ("spread_separates", {"library_a": [0.8, 0.9], "library_b": [0.5, 0.6]}, True),
        ("spread_separates", {"library_a": [0.6, 0.9], "library_b": [0.55, 0.65]}, False),
        ("spread_separates", {"library_a": 0.9, "library_b": 0.5}, False),
        ("leak_real", {"library_bce": leaks(0.31, 0.1)}, True),
        ("leak_real", {"library_bce": leaks(0.29, 0.1)}, False),
        ("recolour_cures", LEAK | {"library_bce_recolour": leaks(0.09, 0.0)}, True),
        ("recolour_cures", LEAK | {"library_bce_recolour": leaks(0.11, 0.0)}, False),
    ],
)
def test_a_claim_holds_as_far_as_it_says(claim, groups, holds):
    ask = CLAIMS[claim]
    assert ask(numbers_of(**groups)) is holds
    for missing in [] if claim == "never_below_floor" else groups:
        with pytest.raises(MissingRunsError):
            ask(numbers_of(**{name: entry for name, entry in groups.items() if name != missing}))


def test_means_over_steps_are_whole_ones():
    run = {"curve": {"step": [2, 4, 6, 8, 10], "loss": [1.0, 3.0, 5.0, 7.0, 9.0]}}
    assert means_of(run, 4) == [2.0, 6.0]


def test_a_curve_of_many_points_is_means_of_neighbours():
    records = [
        {"kind": "train", "step": 10 * n, "loss": float(n), "mean_over": 10 if n < 4 else 30}
        for n in range(1, 5)
    ]
    assert curve([*records, {"kind": "validation"}], points=2) == {
        "step": [20, 40],
        "loss": [1.5, 3.75],
    }


def test_balance_counts_pixels_objects_and_images():
    scenes = synthetic(6, seed=2)
    found = balance(scenes)
    on = scenes.masks > 0
    assert found["pixels"] == pytest.approx([on[..., c].sum() / (6 * 64 * 64) for c in range(5)])
    assert found["objects"] == [int((scenes.box_class == c).sum()) for c in range(5)]
    assert found["in_images"] == [sum(on[n, ..., c].any() for n in range(6)) / 6 for c in range(5)]
    assert found["overlapping_images"] == sum((on[n].sum(-1) > 1).any() for n in range(6)) / 6
    assert found["low_red"][scenes.class_names.index("disk")] == 1.0


def test_outputs_are_measured_where_they_are_computed(masks):
    scenes = synthetic(24, seed=3)
    even = np.zeros(masks.shape[1:3], bool)
    even[::2, ::2] = True
    values = np.where(even[..., None], 1.5 * masks, 7.0)
    found = outputs(values, scenes, head="dlstudio")
    assert found["amplitude_all"] == pytest.approx(1.5)
    assert found["amplitude"] == pytest.approx([1.5] * 5)
    assert found["constant"] == pytest.approx([7.0 / value for value in scenes.class_values])
    assert found["constant_range"] == [0.0] * 5
    target = masks.astype(float)
    assert found["mse"] == pytest.approx(((values - target) ** 2).mean())
    dice = 1 - 2 * (values * target).sum() / ((values**2).sum() + (target**2).sum())
    assert found["dice_as_one_batch"] == pytest.approx(dice)
    inside = [float(low < 1.5 * value < high) for value, (low, high) in DLSTUDIO_WINDOWS.items()]
    assert found["windows"] == [[0.0, at, 1.0 - at] for at in inside]
    assert set(inside) == {0.0, 1.0}
    low = outputs(np.where(even[..., None], 0.1 * masks, 7.0), scenes, head="dlstudio")
    assert low["windows"] == [[1.0, 0.0, 0.0]] * 5
    dense = outputs(values, scenes, head="dense")
    assert dense["constant"] == []
    assert dense["amplitude_all"] < 1.5


def test_the_largest_object_and_short_numbers():
    scenes = synthetic(12, seed=4)
    index, channel, (x1, y1, x2, y2) = largest_object(scenes)
    most = int((scenes.masks[index, y1 : y2 + 1, x1 : x2 + 1, channel] > 0).sum())
    assert most == max(
        int((scenes.masks[n, b[1] : b[3] + 1, b[0] : b[2] + 1, c] > 0).sum())
        for n in range(len(scenes))
        for c, b in scenes.boxes_of(n)
    )
    assert rounded({"a": [1.23456789, float("nan"), 2], "b": "x"}) == {
        "a": [1.23457, None, 2],
        "b": "x",
    }
    assert [clock(s) for s in (20, 100, 5400, 7260)] == [
        "20 s",
        "2 min",
        "1 h 30 min",
        "2 h 01 min",
    ]


def test_cost_is_that_of_the_steps_and_layers(tmp_path):
    scale = SCALES["full"]
    runs = {run.name: run for run in runs_of(scale, folder=tmp_path)}
    # 6 epochs of 2,500 steps of 4 at depth 16.
    assert cost_of(scale, runs["mse-dlstudio-seed1234"]) == pytest.approx(15000 * 18.3 / 6.3 + 200)
    assert train_images_of(scale, runs["library-bce-seed1234"].config) == 9000
    assert train_images_of(scale, runs["mse-dense-skewed-seed1234"].config) == 10000


def test_the_plan_is_run_in_its_order_and_as_far_as_it_is_asked_to(tmp_path, monkeypatch):
    scale = SCALES["smoke"]
    study = Study(scale, runs_of(scale, folder=tmp_path), tmp_path)
    trained, said = [], []

    def train(study, runs, *, say):
        for run in runs:
            folder = RunFolder(study.path_of(run))
            open_run(folder, run.config)
            (folder.path / RESULTS_FILE).write_text("{}")
        trained.append([run.name for run in runs])
        return True

    monkeypatch.setattr(running, "train", train)
    flags = {"only": "^(mse|dice)-dlstudio-seed", "say": said.append}
    assert not execute(study, max_runs=1, **flags)
    assert trained == [["mse-dlstudio-seed1"]]
    assert listing(study, flags["only"])[-1].startswith("1 of 4 runs done; left: ")
    assert execute(study, vectorised=True, **flags)
    assert trained[1:] == [["dice-dlstudio-seed1", "mse-dlstudio-seed2", "dice-dlstudio-seed2"]]
    assert listing(study, flags["only"])[-1] == "4 of 4 runs done; left: nothing"
    assert said[0].startswith("drawing uniform-train.gz")
    assert len(study.done()) == 4
    with pytest.raises(ConfigError, match="no regular expression"):
        study.named("(")


def test_page_and_figures_come_from_the_numbers_alone(committed, tmp_path):
    scale = committed["scale"]
    file = results_file(tmp_path, scale)
    file.parent.mkdir()
    file.write_bytes(results_file(DOCS, scale).read_bytes())
    assert command.main([f"--scale={scale}", "--page", f"--docs={tmp_path}"]) == 0
    text = (tmp_path / f"{page_name(scale)}.md").read_text(encoding="utf-8")
    drawn = {path.stem for path in (tmp_path / "figures").rglob("*.png")}
    assert drawn == set(FIGURES)
    assert text.count("](figures/") == len(FIGURES)
    assert text.count("*(No figure yet: ") == 3  # they need the runs
    assert command.main(["--scale=full", "--page", f"--docs={tmp_path}"]) == 1


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


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_walkthrough_imports_what_there_is():
    code = "\n".join(re.findall(r"```python\n(.*?)```", WALK, re.S))
    exec("\n".join(re.findall(r"^(?:from|import) .*$", code, re.M)), {})
    compile(code, "walkthrough.md", "exec")


@pytest.mark.slow
def test_walkthrough_shows_what_it_says(tmp_path, monkeypatch, capsys):
    scope = walk(150, tmp_path, monkeypatch)
    assert "range over all others:          [0. 0. 0. 0. 0.]" in capsys.readouterr().out
    assert scope["filled"][:, ~scope["computed"]].std() > 0
    assert scope["mean_iou"](scope["original"]) < scope["mean_iou"](scope["repaired"])
