"""Summaries and runs side by side, as the command shows them."""

import json
import re

from PIL import Image

from segjax.config import Config
from segjax.show import differences, main, short_names


def test_the_summary_of_a_bare_network_and_of_runs(faithful_run, unet_run, capsys):
    assert main(["--summary", "--depth=2", "--head=dense", "--size=32"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:3] == ["conv_in", "Conv", "32x32x64"]
    assert lines[1].split()[3:] == ["1,792", f"{(2 * 9 * 3 + 1) * 64 * 32 * 32 / 1e6:.2f}"]
    assert lines[-2].startswith("total")
    for arguments, said in (
        ([str(faithful_run)], "64x64x5"),
        ([str(unet_run)], "double0"),
        (["--network=unet", "--head=dense", "--unet_widths=8,16"], "16x16x16"),
    ):
        assert main(["--summary", *arguments]) == 0
        assert said in capsys.readouterr().out


def test_runs_side_by_side(unet_run, faithful_run, tmp_path, capsys):
    figure = tmp_path / "both.png"
    assert main([str(unet_run), str(faithful_run), f"--figure={figure}"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    named = {row[0]: row[1:] for row in rows}
    assert named["--head"] == ["dense", "dlstudio"]
    assert not {"--batch_size", "--run_dir"} & set(named)
    assert named["unet"][0] == "bce"
    assert 0 <= float(named["unet"][1]) <= 1
    with Image.open(figure) as picture:
        assert picture.width == 900
    # One that has not ended.
    for name in ("config.json", "metrics.jsonl"):
        (tmp_path / name).write_bytes((faithful_run / name).read_bytes())
    assert main([str(tmp_path)]) == 0
    assert re.search("(?s)default.*\\(not ended\\)", capsys.readouterr().out)


def test_a_folder_of_runs_and_names_that_tell_them_apart(
    faithful_run, unet_run, monkeypatch, tmp_path, capsys
):
    for run in (faithful_run, unet_run):
        (tmp_path / run.name).symlink_to(run)
    monkeypatch.chdir(tmp_path)
    assert main(["."]) == 0
    assert "curves: runs.png" in capsys.readouterr().out
    paths = [tmp_path / "a" / "run", tmp_path / "b" / "run"]
    assert short_names(paths) == ["a/run", "b/run"]
    config = Config(depth=4)
    assert differences(["a", "b"], [config, config]) == ["the settings are all the same"]


def test_results_that_no_run_writes_are_a_line(faithful_run, tmp_path, capsys):
    good = json.loads((faithful_run / "results.json").read_text())
    (tmp_path / "config.json").write_text((faithful_run / "config.json").read_text())
    changes = [{"test": value} for value in ([], {"half": 3}, {"half": {"mean": {"iou": "high"}}})]
    changes += [{"steps": [1]}, {"parameters": "many"}, {"train_seconds": {}}, {"environment": "x"}]
    for text, said in (
        *((json.dumps({**good, **change}), "is not what a run writes") for change in changes),
        *((text, "cannot be read") for text in ("", "{", json.dumps(good)[:-9])),
    ):
        (tmp_path / "results.json").write_text(text)
        assert main([str(tmp_path)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{tmp_path}/results.json: {said}" in line


def test_a_mistake_is_a_line_and_exit_code_2(faithful_run, capsys):
    for arguments, said in (
        ([], "name at least one run"),
        (["absent"], "absent: holds no run"),
        (["--summary", "--depth=1"], "--depth=1"),
        (["--summary", "--size=30"], "--size=30"),
        (["--summary", f"--size={2**63}"], "must be at most 65536"),
        (["--summary", "--outputs=0"], "--outputs=0"),
        ([str(faithful_run), "--summary", "--depth=4"], "--depth and a run"),
    ):
        assert main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("segjax: ")
        assert said in line
