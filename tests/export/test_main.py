"""python -m segjax.export: mistakes are one line and an exit code."""

import subprocess
import sys

import pytest

from segjax.export.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("absent out", "holds no run"),
        ("RUN out --format=tflite", "--format=tflite"),
        ("RUN out --format=dlstudio", "network=unet"),
        ("RUN out --size=30x32", "--size=30x32"),
        ("RUN out --which=last", "--which=last"),
        ("RUN used", "exists already"),
    ],
)
def test_a_mistake_is_a_line(unet_run, tmp_path, monkeypatch, capsys, arguments, said):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").write_text("mine")
    monkeypatch.chdir(tmp_path)
    assert main(arguments.replace("RUN", str(unet_run)).split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("segjax: ")
    assert said in line
    assert not (tmp_path / "out").exists()


def test_help_needs_no_jax_here_nor_in_predict():
    code = (
        "import sys; from segjax.export import __main__ as one; from segjax.predict import __main__"
        " as two; assert one.main(['--help']) == two.main(['--help']) == 0;"
        "assert not {'jax', 'flax', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
