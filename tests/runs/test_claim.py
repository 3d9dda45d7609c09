"""Where runs go: no two to one folder, and nothing deleted but what a run wrote."""

import contextlib
import json

import pytest

from segjax.config import Config
from segjax.errors import ConfigError
from segjax.runs.claim import choose_folder, claimed, open_run
from segjax.runs.folder import RunFolder
from segjax.runs.lock import InUseError


def inside(path):
    return sorted(one.name for one in path.iterdir())


def test_new_runs_get_free_names_also_while_others_are_live(tmp_path):
    config = Config()
    name, resumed = "mse-dlstudio-depth16-seed1234", config.replace(resume=True)
    with pytest.raises(ConfigError, match=f"there is no run .*{name}; name its --run_dir"):
        choose_folder(resumed, under=tmp_path)
    (tmp_path / name).mkdir(parents=True)  # left empty by a run that was killed as it began
    with claimed(config, under=tmp_path) as first, claimed(config, under=tmp_path) as second:
        assert (first.path, second.path) == (tmp_path / name, tmp_path / f"{name}-2")
        open_run(second, config)
        with pytest.raises(InUseError), claimed(resumed, under=tmp_path):
            pass
    # What was claimed and not begun leaves nothing; a folder that was there stays.
    assert inside(tmp_path / name) == []
    assert inside(second.path) == [".lock", "config.json", "run.json"]
    (tmp_path / f"{name}-3").mkdir()
    assert choose_folder(resumed, under=tmp_path).path == second.path
    assert choose_folder(config, under=tmp_path).path == first.path
    first.path.rmdir()
    first.path.write_text("a file")
    with claimed(config, under=tmp_path) as third:
        assert third.path == tmp_path / f"{name}-3"
    assert not list(first.path.parent.glob("*/.lock")) or inside(third.path) == []


def test_a_run_is_never_overwritten_unasked_nor_what_it_did_not_write(tmp_path):
    path = tmp_path / "run"
    config = Config(run_dir=str(path))
    with claimed(config) as folder:
        first = open_run(folder, config)
    for written in ("metrics.jsonl", "loss.png", "performance_numbers_6.txt", ".a.json.7.tmp"):
        (path / written).write_text("a run's")
    for folder in ("checkpoints/step_00000001/arrays", "profile/plugins/profile", "tensorboard"):
        (path / folder).mkdir(parents=True)
    (path / "tensorboard" / "events.out.tfevents.1").write_text("a run's")
    seed = config.replace(run_dir=str(path / "seed7"))
    open_run(choose_folder(seed), seed)
    (path / "seed8").mkdir()
    for mine in ("thesis.tex", "seed8/config.json", "profile/mine", "checkpoints.txt"):
        (path / mine).write_text("{}")
    with pytest.raises(ConfigError, match=r"already holds a run: --resume .*--overwrite deletes"):
        choose_folder(config)
    with pytest.raises(ConfigError, match="already holds a run"), claimed(config):
        pass
    assert choose_folder(config.replace(resume=True)).path == path
    over = config.replace(overwrite=True, seed=8)
    with claimed(over) as folder:
        assert (path / "loss.png").exists()  # until all settings have proved good
        assert open_run(folder, over).id != first.id
    mine = ["checkpoints.txt", "profile", "seed8", "thesis.tex"]
    assert inside(path) == sorted([".lock", "config.json", "run.json", *mine])
    assert folder.config().seed == 8
    assert [inside(path / name) for name in ("profile", "seed8")] == [["mine"], ["config.json"]]


@pytest.mark.parametrize("text", ['{"model_type": "bert"}', "{}", '{"depth": 16}', "[]", "no JSON"])
def test_a_folder_of_another_program_is_not_overwritten(tmp_path, monkeypatch, text):
    (tmp_path / "config.json").write_text(text)
    (tmp_path / "thesis.tex").write_text("years of work")
    monkeypatch.chdir(tmp_path)
    config = Config(run_dir=".", overwrite=True)
    with pytest.raises(ConfigError, match=r"--overwrite: .*; nothing was deleted"), claimed(config):
        pass
    with pytest.raises(ConfigError, match="nothing was deleted"):
        open_run(RunFolder("."), config)
    assert inside(tmp_path) == ["config.json", "thesis.tex"]


def test_other_peoples_files_are_left_alone_and_no_run_is_resumed(tmp_path):
    file = tmp_path / "thesis.tex"
    file.write_text("years of work")
    for where, settings, said in (
        (tmp_path, {"resume": True}, "holds no run"),
        (tmp_path, {}, "holds files that are no run"),
        (tmp_path, {"overwrite": True}, "holds files that are no run"),
        (file, {}, "is a file"),
    ):
        config = Config(run_dir=str(where), **settings)
        with pytest.raises(ConfigError, match=said), claimed(config):
            pass
        assert inside(tmp_path) == ["thesis.tex"]
    assert file.read_text() == "years of work"


def test_a_run_that_ended_meanwhile_is_not_taken_over(tmp_path, monkeypatch):
    """Another one starts and ends in the same folder between our look at it and our lock."""
    from segjax.runs import claim

    config, held = Config(run_dir=str(tmp_path / "run")), claim.held

    @contextlib.contextmanager
    def late(path):
        monkeypatch.setattr(claim, "held", held)
        with claimed(config) as folder:
            open_run(folder, config.replace(seed=1))
        with held(path):
            yield

    monkeypatch.setattr(claim, "held", late)
    with pytest.raises(ConfigError, match="already holds a run"), claimed(config):
        pass
    assert json.loads((tmp_path / "run" / "config.json").read_text())["seed"] == 1
