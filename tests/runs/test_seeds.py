"""Several runs: one after another or in one program, each an ordinary run, and their spread."""

import json
import os
import re
import shutil
import signal
import statistics
from pathlib import Path

import jax
import numpy as np
import pytest

from segjax import show
from segjax.config import Config
from segjax.errors import ConfigError, TrainingError
from segjax.predict.trained import load_trained
from segjax.runs import seeds
from segjax.runs.checkpoints import Checkpoints, load_params
from segjax.runs.folder import RunFolder, run_name
from segjax.training.many import run_many
from segjax.training.run import run
from segjax.training.trainer import Trainer
from tests.small_net import silent, small_run

pytestmark = pytest.mark.usefixtures("no_figures")

BASE = small_run(
    "run",
    **{"synthetic_train": 14, "synthetic_test": 4, "batch_size": 2, "log_steps": 3},
    **{"loss": "bce", "learning_rate": 0.1, "keep_checkpoints": 9, "seed": 7, "seeds": 3},
)


def go(config):
    """Run ``config``: the result, and the lines that were said."""
    lines = []
    return run(config, say=lines.append), lines


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The same seeds in one program and one after another: (folder, result, lines) of each."""
    folders = {at_once: tmp_path_factory.mktemp("seeds") / at_once for at_once in ("on", "off")}
    return {
        at_once: (folder, *go(BASE.replace(run_dir=str(folder), seeds_at_once=at_once)))
        for at_once, folder in folders.items()
    }


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished folder, to break."""

    def copy(at_once):
        folder = tmp_path / "copy"
        shutil.copytree(finished[at_once][0], folder)
        return folder, RunFolder(folder).config().replace(run_dir=str(folder), resume=True)

    return copy


def log(folder):
    rows = RunFolder(folder).records()
    steps = [(row["kind"], row["step"], row["epoch"]) for row in rows]
    values = [[row[key] for key in ("loss", "val_loss") if key in row] for row in rows]
    return steps, np.concatenate(values)


def assert_same_run(one, other, *, rtol=1e-4):
    """Same log, same weights, same scores, up to rounding."""
    assert log(one)[0] == log(other)[0]
    np.testing.assert_allclose(log(one)[1], log(other)[1], rtol=rtol)
    weights = [load_params(Path(folder) / "checkpoints", which="newest") for folder in (one, other)]
    for a, b in zip(*(jax.tree.leaves(found[:2]) for found in weights), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol * 10, atol=1e-4)
    losses = [RunFolder(folder).results()["test"]["loss"] for folder in (one, other)]
    np.testing.assert_allclose(*losses, rtol=rtol)


def test_seeds_in_one_program_are_the_seeds_one_after_another(finished, tmp_path):
    together, alone = finished["on"][0], finished["off"][0]
    for seed in (7, 8, 9):
        assert_same_run(together / f"seed{seed}", alone / f"seed{seed}")
    both = (RunFolder(folder / "seed8").results() for folder in (together, alone))
    assert [results["runs_at_once"] for results in both] == [3, 1]
    # Each seed has weights and an order of its own, and is an ordinary run.
    assert len({log(together / f"seed{seed}")[1][0] for seed in (7, 8, 9)}) == 3
    config = RunFolder(alone / "seed8").config()
    assert (config.seed, config.seeds, config.synthetic_seed) == (8, 1, 7)
    again = run(config.replace(run_dir=str(tmp_path / "alone"), test=False), say=silent)
    jax.tree.map(np.testing.assert_array_equal, log(again.folder), log(alone / "seed8"))


def test_the_parent_says_mean_deviation_and_number(finished):
    folder, result, lines = finished["on"]
    results = [RunFolder(folder / f"seed{seed}").results() for seed in (7, 8, 9)]
    scores = [one["test"]["half"]["mean"]["iou"] for one in results]
    mean, std = statistics.fmean(scores), statistics.stdev(scores)
    written = json.loads((folder / "results.json").read_text())
    half = written["test"]["half"]
    assert half["mean"]["iou"] == pytest.approx({"mean": mean, "std": std, "n": 3})
    assert len(half["per_class"]["iou"]) == 5
    assert [one["seed"] for one in written["runs"]] == [7, 8, 9]
    assert result.finished
    assert any(f"mIoU {mean:.4f} ± {std:.4f}" in said for said in lines)
    assert any(said.startswith("seed8: [epoch=1/2, iter=   3") for said in lines)
    # Values that are missing are left out.
    runs = [{"iou": [0.5, None], "name": "x", "seconds": 1.0}, {"iou": [0.7, 0.2], "name": "x"}]
    both = {"mean": pytest.approx(0.6), "std": pytest.approx(0.02**0.5), "n": 2}
    assert seeds.spread(runs) == {"iou": [both, {"mean": 0.2, "std": None, "n": 1}]}


def test_finished_seeds_are_not_trained_again_and_more_can_be_added(copied):
    folder, config = copied("off")
    members = seeds.member_configs(config, folder)
    assert all(seeds.is_finished(member) for member in members)
    assert not any(seeds.is_finished(member.replace(epochs=3)) for member in members)
    before = (folder / "seed8" / "results.json").stat().st_mtime_ns
    result, lines = go(config)
    assert result.finished
    assert lines[0] == "3 of 3 seeds are finished"
    assert not any("epoch=" in line for line in lines)
    assert (folder / "seed8" / "results.json").stat().st_mtime_ns == before
    result, lines = go(config.replace(seeds=4))
    assert lines[0] == "3 of 4 seeds are finished"
    assert result.results["test"]["half"]["mean"]["iou"]["n"] == 4
    assert not any(line.startswith("seed8: [") for line in lines)
    assert any(line.startswith("seed10: [") for line in lines)


@pytest.mark.parametrize("at_once", [pytest.param("on", marks=pytest.mark.slow), "off"])
def test_a_signal_stops_all_and_each_goes_on_where_it_was(tmp_path, finished, at_once):
    folder = tmp_path / "run"
    config = BASE.replace(run_dir=str(folder), seeds_at_once=at_once)
    lines = []

    def say(line):
        lines.append(line)
        if line.startswith("seed8: [epoch=1/2, iter=   3"):
            os.kill(os.getpid(), signal.SIGTERM)

    result = run(config, say=say)
    assert not result.finished
    assert lines[-1].startswith("stopped by SIGTERM at step 4, saved; go on with --resume")
    assert lines[-1].endswith(f"--run_dir={folder}")
    assert Checkpoints(folder / "seed8" / "checkpoints").steps()[-1] == 4
    assert (folder / "seed9").exists() == (at_once == "on")
    assert not (folder / "results.json").exists()
    # And the last one crashed before its first checkpoint, so not all stand at the same step.
    shutil.copytree(finished[at_once][0] / "seed9", folder / "seed9", dirs_exist_ok=True)
    (folder / "seed9" / "results.json").unlink()
    shutil.rmtree(folder / "seed9" / "checkpoints")
    (folder / "seed9" / "metrics.jsonl").write_text("")
    result, lines = go(config.replace(resume=True))
    assert result.finished
    assert "seed8: resuming at step 4 of 8" in lines
    assert any(line.startswith("seed9: no checkpoint was saved") for line in lines)
    for seed in (7, 8, 9):
        assert_same_run(folder / f"seed{seed}", finished["on"][0] / f"seed{seed}")


def configs_of(folder, *changes):
    return [
        BASE.replace(seeds=1, run_dir=str(folder / f"run{index}"), **change)
        for index, change in enumerate(changes)
    ]


@pytest.mark.slow
def test_losses_and_rates_side_by_side_equal_single_runs(tmp_path):
    """With a rate of 0 nothing is gained, so that run stops early; the other goes on."""
    usual = {"epochs": 3, "early_stop_epochs": 1}
    chosen = [{"loss": "bce", **usual}, {"loss": "dice_prob", "learning_rate": 0.0, **usual}]
    together, alone = (
        run_many(configs_of(tmp_path / name, *chosen), at_once=at_once, say=silent)
        for name, at_once in (("together", True), ("alone", False))
    )
    assert [result.finished for result in together + alone] == [True] * 4
    for one, other in zip(together, alone, strict=True):
        assert_same_run(one.folder, other.folder)
        for key in ("steps", "tested_step"):
            assert one.results[key] == other.results[key]
    last = [RunFolder(result.folder).records()[-1]["step"] for result in together]
    assert last[0] > 8 == last[1]
    assert len({result.results["test"]["loss"] for result in together}) == 2


@pytest.fixture
def seed_8_fails(monkeypatch):
    """Its loss is not finite."""
    log_and_save = Trainer.log_and_save

    def spoiled(self, state, losses, **keywords):
        if self.config.seed == 8:
            losses = [float("nan"), *losses[1:]]
        log_and_save(self, state, losses, **keywords)

    monkeypatch.setattr(Trainer, "log_and_save", spoiled)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_run_that_fails_is_named_and_leaves_the_others_alone(tmp_path, at_once, seed_8_fails):
    configs = configs_of(tmp_path, *({"seed": seed} for seed in (8, 9, 10)))
    lines = []
    failed, *good = run_many(configs, at_once=at_once, say=lines.append)
    assert isinstance(failed.error, TrainingError)
    assert [result.finished for result in (failed, *good)] == [False, True, True]
    assert not (failed.folder / "results.json").exists()
    second = {line.split(":")[0] for line in lines if ": [epoch=2" in line}
    assert second == {"run1", "run2"}
    # All see the first one's images.
    assert {RunFolder(config.run_dir).config().synthetic_seed for config in configs} == {8}


def test_of_the_seeds_that_did_not_fail_the_mean_is_written(tmp_path, seed_8_fails):
    with pytest.raises(TrainingError, match=r"1 of 3 seeds failed; seed 8: the loss is nan"):
        run(BASE.replace(run_dir=str(tmp_path / "run")), say=silent)
    written = RunFolder(tmp_path / "run").results()
    assert [one["seed"] for one in written["runs"]] == [7, 9]
    assert "nan at step 1" in written["failed"]["8"]
    assert written["test"]["half"]["mean"]["iou"]["n"] == 2


def test_runs_that_cannot_go_together_are_refused_and_do_not_share_a_folder(finished, tmp_path):
    first, other = configs_of(tmp_path, {"learning_rate": 1e-2}, {"learning_rate": 1e-3})
    for change, said in (
        ({"unet_blocks": 2}, "cannot differ in --unet_blocks"),
        ({"run_dir": first.run_dir}, "a --run_dir each"),
        ({"seeds": 2}, "give each its --seed"),
    ):
        with pytest.raises(ConfigError, match=said):
            run_many([first, other.replace(**change)], say=silent)
    assert not list(tmp_path.iterdir())
    folder = finished["off"][0]
    config = BASE.replace(run_dir=str(folder))
    single = RunFolder(folder / "seed7").config().replace(resume=True)
    for wrong, said in (
        (config, "already holds a run"),
        (config.replace(resume=True, seeds=1), "holds runs of 3 seeds"),
        (single.replace(seeds=2), "holds one run"),
    ):
        with pytest.raises(ConfigError, match=said):
            run(wrong, say=silent)
    with pytest.raises(ConfigError, match=r"name one of them, such as .*seed7"):
        load_trained(folder)
    # Only synthetic images have a seed, and names say all.
    assert Config(data="synthetic", seed=5).scenes_seed() == 5
    assert Config(data="synthetic", seed=5, synthetic_seed=2).scenes_seed() == 2
    assert Config(seed=5).scenes_seed() == Config().synthetic_seed
    assert run_name(BASE).endswith("-seeds7-9")
    assert run_name(BASE.replace(seeds=1)).endswith("-seed7")


def test_show_lists_the_seeds_and_their_spread_and_overwrite_starts_anew(copied, tmp_path, capsys):
    folder, config = copied("on")
    assert show.main([str(folder), f"--figure={tmp_path / 'runs.png'}"]) == 0
    out = capsys.readouterr().out
    assert re.findall("^seed[^ ]*", out, re.MULTILINE) == ["seed7", "seed8", "seed9"]
    assert "--seed " in out
    assert "copy: test over 3 seeds: mIoU" in out
    (folder / "results.json").unlink()
    assert show.main([str(folder.parent), f"--figure={tmp_path / 'runs.png'}"]) == 0
    assert "copy: not all seeds have ended" in capsys.readouterr().out
    (folder / "seed9" / "mine.txt").write_text("")
    config = config.replace(resume=False, overwrite=True, seeds=2, epochs=1)
    assert run(config, say=silent).finished
    assert sorted(p.name for p in (folder / "seed9").iterdir()) == [".lock", "mine.txt"]
    assert len(RunFolder(folder).results()["runs"]) == 2
