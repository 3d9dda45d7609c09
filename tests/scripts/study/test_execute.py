"""Running the plan: what is left, in one program, by several processes."""

import pytest

from scripts.study import execute as running
from scripts.study.execute import Study, claim, execute, listing, mates_of
from scripts.study.plan import SCALES, runs_of
from segjax.errors import ConfigError
from segjax.runs.claim import open_run
from segjax.runs.folder import RESULTS_FILE, RunFolder


def study_of(scale, folder):
    return Study(SCALES[scale], runs_of(SCALES[scale], folder=folder), folder)


def test_runs_of_one_program_share_all_but_loss_and_seed(tmp_path):
    study = study_of("full", tmp_path)
    mates = mates_of(study, study.runs[0], study.runs)
    assert len(mates) > 4 * len(study.scale.seeds) - 1
    for name in ("head", "upsampling", "depth", "epochs", "train_file", "targets", "augment"):
        assert len({getattr(run.config, name) for run in mates}) == 1
    exclusive = next(run for run in study.runs if run.config.loss == "ce")
    losses = {run.config.loss for run in mates_of(study, exclusive, study.runs)}
    assert losses & {"ce", "dice_ce", "bce"} == {"ce", "dice_ce"}


def test_a_claimed_run_is_left_to_its_holder(tmp_path):
    with claim(tmp_path, "one") as mine, claim(tmp_path, "one") as second:
        assert (mine, second) == (True, False)
    with claim(tmp_path, "one") as again:
        assert again


def test_the_plan_is_run_in_its_order_and_as_far_as_it_is_asked_to(tmp_path, monkeypatch):
    study = study_of("smoke", tmp_path)
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
    assert said[0].startswith("mse-dlstudio-seed1: starting")  # nothing is drawn for these
    assert len(study.done()) == 4
    with pytest.raises(ConfigError, match="no regular expression"):
        study.named("(")
    changed = study_of("smoke", tmp_path / "changed")
    open_run(RunFolder(changed.path_of(changed.runs[0])), changed.runs[0].config.replace(depth=8))
    with pytest.raises(ConfigError, match="the plan has changed"):
        changed.state_of(changed.runs[0])
