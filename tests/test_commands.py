"""``segjax COMMAND``: every command by one name, and the presets by theirs."""

import importlib
import re
import subprocess
import sys
import time
import tomllib
from importlib.metadata import packages_distributions, requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

from segjax.__main__ import COMMANDS, main
from segjax.data import synthetic
from segjax.errors import ConfigError
from segjax.main import load_config, presets
from segjax.main import main as train
from tests.docs.pages import ROOT
from tests.small_net import SMALL


@pytest.mark.parametrize("asked", [[], ["--help"], ["help"]])
def test_alone_it_says_what_there_is_in_a_screen(asked, capsys):
    assert main(asked) == 0
    said = capsys.readouterr().out
    assert all(f"segjax {name}" in said and about in said for name, (*_, about) in COMMANDS.items())
    assert len(said.splitlines()) < 20
    assert max(map(len, said.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_gets_its_arguments_and_gives_its_exit_code(name, monkeypatch, capsys):
    module = importlib.import_module(COMMANDS[name][0])
    given = []
    monkeypatch.setattr(module, "main", lambda arguments: given.append(arguments) or 7)
    assert main([name, "a", "--b=c"]) == 7
    assert given == [["a", "--b=c"]]


def test_each_answers_help_without_jax_and_quickly():
    code = (
        "import sys; from segjax.__main__ import COMMANDS, main\n"
        "assert not [main([name, '--help']) for name in COMMANDS if main([name, '--help'])]\n"
        "assert not {'jax', 'flax', 'numpy'} & set(sys.modules)"
    )
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        seconds.append(time.perf_counter() - started)
        assert done.returncode == 0, done.stderr
    assert "usage: segjax predict" in done.stdout
    assert min(seconds) < 1.5


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "train"])
def test_wrong_usage_is_one_line_that_says_whose_help_to_ask_for(name, capsys):
    assert main([name, "--nonsense"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(rf"segjax: .*(required|unrecognized).* \(segjax {name} --help\)", line)


def test_the_dependencies_are_all_that_importing_and_exporting_load():
    with open(ROOT / "pyproject.toml", "rb") as file:
        todo = tomllib.load(file)["project"]["dependencies"]
    ours, there = {"segjax"}, packages_distributions()
    while todo:
        name = canonicalize_name(re.match(r"[\w.-]+", todo.pop())[0])
        if name not in ours:
            ours.add(name)
            rows = [Requirement(row) for row in requires(name) or ()]
            todo += [row.name for row in rows if not row.marker or row.marker.evaluate()]
    foreign = {m for m, names in there.items() if not ours & {*map(canonicalize_name, names)}}
    code = (
        f"import sys; sys.modules |= dict.fromkeys({sorted(foreign)})\n"
        "import jax, segjax.export.folder, segjax.evaluate.measure, segjax.training.run\n"
        "jax.export.export(jax.jit(lambda x: x))(1.0).serialize()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_version_and_what_is_no_command(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("segjax 0.")
    assert main(["trian"]) == 2
    assert "'trian' is no command; did you mean 'train'? (segjax --help)" in capsys.readouterr().err


def test_presets_are_those_of_the_folder_and_load_by_name(capsys):
    files = {file.stem: file for file in (ROOT / "configs").glob("*.py")}
    assert presets() == files
    for name, file in files.items():
        assert load_config(name) == load_config(str(file))
    assert load_config("report").loss_params == {"dice_scale": 400.0}
    assert train(["--config=list"]) == 0
    listed = capsys.readouterr().out
    assert all(f"--config={name}" in listed for name in files)
    assert "Mean IoU 0.94 in five minutes on two CPU cores" in listed
    with pytest.raises(ConfigError, match=r"no such file, and no preset \(best, own, quick,"):
        load_config("quik")
    assert main(["train", "--config=quik"]) == 2


@pytest.mark.slow
def test_the_wheel_has_all_that_the_commands_need(tmp_path):
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "-w", tmp_path, ROOT], check=True)
    [wheel] = tmp_path.glob("segjax-*.whl")
    assert wheel.stat().st_size < 500_000
    target = tmp_path / "site"
    subprocess.run([*pip, "install", "-q", "--no-deps", f"--target={target}", wheel], check=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = {"PYTHONPATH": str(target), "PATH": "", "JAX_PLATFORMS": "cpu"}
    environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"

    def call(*arguments):
        command = [sys.executable, "-P", "-m", "segjax", *map(str, arguments)]
        how = {"cwd": empty, "env": environment, "capture_output": True, "text": True}
        return subprocess.run(command, check=True, **how).stdout

    assert "minutes on two CPU cores" in call("train", "--config=list")
    tiny = {"data": "synthetic", "synthetic_train": 4, "synthetic_test": 2, "epochs": 1} | SMALL
    flags = (f"--{name}={value}" for name, value in tiny.items())
    call("train", *flags, "--config=report", "--run_dir=run")
    assert "run" in call("show", "run")
    Image.fromarray(synthetic(1, seed=2).images[0]).save(empty / "a.png")
    call("evaluate", "run")
    call("predict", "run", "a.png", "--out=masks")
    call("export", "run", "exported")
    made = ("run/evaluate/test/confusion.png", "masks/a_mask.png", "exported/network.jaxexport")
    assert all((empty / name).stat().st_size for name in made)
    assert {file.name for file in (target / "segjax").iterdir()} >= {"py.typed", "configs"}
    assert (target / "segjax" / "export" / "card.md").exists()
