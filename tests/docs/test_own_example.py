"""The example script, and the commands of docs/own-data.md as a reader would run them."""

import importlib.util
import re
import runpy
import shlex
import shutil
import sys

import numpy as np
import pytest

from scripts import make_example_folder as script
from segjax.config import flag_fields
from segjax.data.check.__main__ import main as check
from segjax.data.own.source import is_own
from tests.data.data_files import load, load_coco, load_folder
from tests.docs import pages
from tests.docs.pages import ROOT

pytest.importorskip("skimage")
pytest.importorskip("pycocotools")

PAGE = pages.read("docs/own-data.md")
COMMANDS = pages.commands(PAGE)
TRAINING = [line for line in COMMANDS if line.startswith("python -m segjax.main ")]

# The smallest network, and the settings of configs/own.py that it does not know at their defaults.
SMALLER = ["--network=unet", "--unet_widths=4,8", "--unet_patch=4", "--train_images=16"]
SMALLER += ["--depth=16", "--upsampling=dlstudio", "--epochs=1", "--progress=off"]


@pytest.mark.parametrize(("picture", "count"), [("tissue", 64), ("coins", 24)])
def test_every_layout_loads_as_the_same_pictures_and_masks(tmp_path, picture, count):
    for layout in script.WRITERS:
        flags = (f"--picture={picture}", f"--layout={layout}")
        assert script.main([str(tmp_path / layout), *flags]) == 0
    indexed, *others = (load_folder(tmp_path / name) for name in ("indexed", "per-class", "flat"))
    coco = load_coco(tmp_path / "coco" / "annotations.json", keep_empty=True)
    assert len(indexed) == count
    for other in (*others, coco, load(tmp_path / "npz" / "data.npz")):
        assert other.class_names == indexed.class_names
        np.testing.assert_array_equal(other.images, indexed.images)
        np.testing.assert_array_equal(other.masks, indexed.masks)
        assert other.ignore is None


def test_the_masks_are_worth_learning_and_run_lengths_by_hand(tmp_path, capsys):
    tissue = script.make_tissue()
    assert all(0.05 < (tissue.labels == value).mean() < 0.6 for value in (1, 2))
    inside = tissue.images[tissue.labels == 2].mean(axis=0)
    assert inside[0] > inside[2] + 30  # brown
    coins = script.make_coins()
    assert all((labels > 0).any() for labels in coins.labels)
    assert coins.images[coins.labels == 1].mean() > coins.images[coins.labels == 0].mean() + 40
    on = np.array([[0, 1], [0, 1], [1, 0]], bool)  # columns: 0 0 1, 1 1 0
    assert script.run_lengths(on) == [2, 3, 1]
    assert script.run_lengths(~on) == [0, 2, 3, 1]
    assert script.run_lengths(np.zeros((2, 2), bool)) == [4]
    assert script.run_lengths(np.ones((2, 2), bool)) == [0, 4]
    assert script.main([str(tmp_path)]) == 1
    assert "is there already" in capsys.readouterr().err


@pytest.fixture
def run_all(tmp_path, monkeypatch, capsys):
    """Runs lines in order, in this process; a training with a smaller network and one epoch."""
    monkeypatch.chdir(tmp_path)
    for name in ("scripts", "configs"):
        shutil.copytree(ROOT / name, name)

    def run_each(lines):
        for line in lines:
            python, *words = shlex.split(line)
            assert python == "python"
            words += SMALLER if line in TRAINING else []
            monkeypatch.setattr(sys, "argv", words[words[0] == "-m" :])
            run, name = runpy.run_path, words[0]
            if name == "-m":
                package = importlib.util.find_spec(words[1]).submodule_search_locations
                run, name = runpy.run_module, words[1] + ("" if package is None else ".__main__")
            monkeypatch.delitem(sys.modules, name, raising=False)
            with pytest.raises(SystemExit) as caught:
                run(name, run_name="__main__")
            assert caught.value.code == 0, (line, capsys.readouterr())

    return run_each


def test_the_pages_commands_run_in_order(run_all, tmp_path, capsys):
    trained = tuple(f"python -m segjax.{name} " for name in ("main", "show", "predict"))
    ran = [line for line in COMMANDS if not line.startswith(trained)]
    assert len(ran) >= 10
    run_all(ran)
    assert all((tmp_path / name).stat().st_size for name in ("photos.png", "report.json"))
    pages.run(*pages.python(PAGE), "docs/own-data.md")
    assert "45 images of 64x64" in capsys.readouterr().out


@pytest.mark.slow
def test_every_command_runs_in_order(run_all, tmp_path, capsys):
    run_all(sorted(COMMANDS, key=lambda line: "make_example_folder" not in line))
    runs = {path.parent.name for path in (tmp_path / "runs").glob("*/results.json")}
    assert runs == {"photos", "coins", "photos-128", "arrays"}
    assert len(list((tmp_path / "predicted").glob("*_mask.png"))) == 64
    assert "64x64" in capsys.readouterr().out


def test_the_training_commands_are_understood_and_all_flags_exist(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    for line in TRAINING:
        config = pages.config_of(shlex.split(line)[3:])
        assert config.head == "dense"  # the config file was read
        assert is_own(config.data)
    assert check(["--help"]) == 0
    known = set(re.findall(r"--\w+", capsys.readouterr().out)) | {"--picture", "--layout"}
    known |= {f"--{field.name}" for field in flag_fields()} | {"--config", "--out"}
    assert set(re.findall(r"--[a-z]\w+", PAGE)) <= known
