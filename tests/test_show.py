"""Summary against the network and XLA; runs side by side."""

import json
import re

import jax
import jax.numpy as jnp
import pytest
from PIL import Image

from segjax.config import Config
from segjax.networks import layers
from segjax.networks.munet import MUnet, count_parameters
from segjax.networks.summary import flops_of, layers_of
from segjax.show import differences, main, short_names


@pytest.mark.parametrize(("depth", "head"), [(2, "dense"), (8, "dlstudio")])
def test_the_layers_are_the_networks(depth, head):
    model = MUnet(depth=depth, head=head)
    rows = layers_of(model, size=(32, 16))
    images = jax.ShapeDtypeStruct((1, 32, 16, 3), jnp.float32)
    shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), images)
    assert sum(row.parameters for row in rows) == count_parameters(shapes["params"])
    assert rows[0].name == "conv_in"
    assert rows[-1].output == (32, 16, 5)
    twice = [row for row in rows if row.name == "skip128UP_arr_0/convoT1"]
    assert [bool(row.parameters) for row in twice] == ([True, False] if depth == 8 else [])


def test_flops_are_those_that_xla_counts():
    for layer, channels in (
        (layers.Conv(12), 7),
        *((layer(6), 6) for layer in (layers.Downsample, layers.Upsample)),
        *((layer(5), 8) for layer in (layers.DLStudioHead, layers.DenseHead)),
    ):
        x = jnp.zeros((1, 12, 16, channels))
        variables = layer.init(jax.random.key(0), x)
        counted = jax.jit(layer.apply).lower(variables, x).cost_analysis()["flops"]
        out = jax.eval_shape(layer.apply, variables, x)
        ours = flops_of(layer, x.shape[1:], out.shape[1:], padding=False)
        # XLA does not count a bias that it only writes; a dot may move numbers without arithmetic.
        assert ours == pytest.approx(counted, rel=0.02), layer


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
    for key, value in (
        *(("test", value) for value in ([], {"half": 3}, {"half": {"mean": {"iou": "high"}}})),
        *(("steps", [1]), ("parameters", "many"), ("train_seconds", {}), ("environment", "here")),
    ):
        (tmp_path / "results.json").write_text(json.dumps({**good, key: value}))
        assert main([str(tmp_path)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{tmp_path}/results.json: is not what a run writes" in line


def test_a_mistake_is_a_line_and_exit_code_2(faithful_run, capsys):
    for arguments, said in (
        ([], "name at least one run"),
        (["absent"], "absent: holds no run"),
        (["--summary", "--depth=1"], "--depth=1"),
        (["--summary", "--size=30"], "--size=30"),
        (["--summary", "--outputs=0"], "--outputs=0"),
        ([str(faithful_run), "--summary", "--depth=4"], "--depth and a run"),
    ):
        assert main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("segjax: ")
        assert said in line
