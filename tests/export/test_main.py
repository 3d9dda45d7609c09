"""python -m segjax.export: mistakes are one line and an exit code."""

from segjax.export.__main__ import main


def test_a_mistake_is_a_line(unet_run, tmp_path, monkeypatch, capsys):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").write_text("mine")
    monkeypatch.chdir(tmp_path)
    for arguments, said in (
        ("absent out", "holds no run"),
        ("RUN out --format=tflite", "--format=tflite"),
        ("RUN out --format=dlstudio", "network=unet"),
        ("RUN out --size=30x32", "--size=30x32"),
        ("RUN out --which=last", "--which=last"),
        ("RUN used", "exists already"),
        ("used/file out", "used/file: holds no run (it is a file, not a folder)"),
        ("absent used", "absent: holds no run (there is no such folder)"),
        ("used RUN", "used: holds no run (config.json is missing)"),
    ):
        assert main(arguments.replace("RUN", str(unet_run)).split()) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("segjax: ")
        assert said in line
        assert not (tmp_path / "out").exists()
