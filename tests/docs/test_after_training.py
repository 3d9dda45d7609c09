"""docs/evaluate.md, predict.md and export.md: their commands and their Python work, in order."""

import importlib
import shlex
import shutil

import pytest

from segjax.data import synthetic, write_gz
from tests.docs import pages


@pytest.fixture
def workplace(tmp_path, monkeypatch, unet_run, faithful_run, pictures):
    (tmp_path / "runs").mkdir()
    shutil.copytree(unet_run, tmp_path / "runs" / "mine")  # it is evaluated in its folder
    (tmp_path / "runs" / "faithful").symlink_to(faithful_run)
    (tmp_path / "pictures").mkdir()
    for name in ("a.png", "b.jpg"):
        (tmp_path / "pictures" / name).write_bytes((pictures / name).read_bytes())
    write_gz(synthetic(2, seed=4), tmp_path / "others.gz")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    "page", ["evaluate.md", "predict.md", pytest.param("export.md", marks=pytest.mark.slow)]
)
def test_the_commands_run(page):
    commands = pages.commands(pages.read(f"docs/{page}"))
    assert len(commands) >= 2
    for needed in ("onnxruntime", "safetensors") if page == "export.md" else ():
        pytest.importorskip(needed)
    for command in commands:
        python, dash_m, name, *arguments = shlex.split(command)
        assert (python, dash_m) == ("python", "-m")
        name += "" if name == "segjax.show" else ".__main__"
        assert importlib.import_module(name).main(arguments) == 0, command


@pytest.mark.usefixtures("workplace")
def test_the_python_runs(capsys):
    pages.run(*pages.python(pages.read("docs/predict.md")), "predict.md")
    assert "(64, 64) (64, 64, 5)" in capsys.readouterr().out
