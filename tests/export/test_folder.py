"""Export: files that run without segjax, at any batch size, and say how close they are."""

import json
import re
import subprocess
import sys

import jax
import numpy as np
import pytest

from segjax.config import Config
from segjax.errors import CheckpointError, ConfigError
from segjax.export import formats
from segjax.export.__main__ import main
from segjax.export.folder import export_one, export_run, make_reference
from segjax.networks.build import make_network
from segjax.predict.predictor import Predictor
from segjax.predict.trained import Trained, load_trained
from segjax.show import main as show
from segjax.training.objective import make_objective

WITHOUT_SEGJAX = "import sys; sys.modules['segjax'] = None\n"
PACKAGES = {"onnx": "onnxruntime", "safetensors": "safetensors", "dlstudio": "torch"}


def untrained(tmp_path, *, loss="bce", depth=8, **settings):
    """A network whose every block runs, with weights and statistics away from their start."""
    config = Config(loss=loss, depth=depth, **settings)
    objective = make_objective(loss, class_values=(50, 100, 150), targets=config.targets)
    model = make_network(config, num_classes=objective.num_outputs)
    images = jax.ShapeDtypeStruct((1, 16, 16, 3), np.float32)
    shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), images)
    random = np.random.default_rng(1)

    def draw(path, leaf):
        if path[-1].key in ("var", "scale"):
            return random.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        spread = 0.1 if leaf.ndim == 1 else 1 / np.sqrt(np.prod(leaf.shape[:-1]))
        return random.normal(0, spread, leaf.shape).astype(np.float32)

    variables = jax.tree_util.tree_map_with_path(draw, shapes)
    names = ("one", "two", "three")
    return Trained(tmp_path, config, model, objective, variables, names, (16, 16), 0)


@pytest.fixture(scope="session")
def exported(faithful_run, tmp_path_factory):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("safetensors")
    out = tmp_path_factory.mktemp("exported") / "out"
    names = "--format=jax,onnx,safetensors,dlstudio"
    assert main([str(faithful_run), str(out), names, "--size=32x40"]) == 0
    return out


def test_the_folder_says_what_is_in_it(exported):
    about = json.loads((exported / "export.json").read_text())
    assert about["image_size"] == [32, 40]
    assert about["classes"][-1] == "star"
    assert list(about["formats"]) == ["jax", "onnx", "safetensors", "dlstudio"]
    for check in about["formats"].values():
        assert (exported / check["file"]).stat().st_size == check["bytes"]
        assert list(check["largest_difference_by_batch_size"]) == ["1", "2", "5"]
    for name in ("safetensors", "dlstudio"):
        differences = about["formats"][name]["largest_difference_by_batch_size"]
        assert set(differences.values()) == {0.0}


@pytest.mark.parametrize("name", ["jax", "onnx", "safetensors", "dlstudio"])
def test_the_readme_runs_without_segjax(exported, name):
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name])
    text = (exported / "README.md").read_text().split(f"## {formats.FORMATS[name].file}")[1]
    code = re.search(r"```python\n(.*?)```", text, re.S)[1]
    code += "print(labels.shape, scores.shape)" if name in ("jax", "onnx") else ""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SEGJAX + code],
        cwd=exported,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    if name in ("jax", "onnx"):
        assert done.stdout == "(3, 32, 40) (3, 32, 40, 5)\n"


def test_exported_programs_agree_with_the_predictor(exported, faithful_run):
    image = np.random.default_rng(4).integers(0, 256, (32, 40, 3), np.uint8)
    wanted = Predictor.load(faithful_run)(image)
    trained = load_trained(faithful_run)
    for name in ("jax", "onnx"):
        form = formats.FORMATS[name]
        scores, labels = form.read(trained, exported / form.file)(image[None])
        np.testing.assert_allclose(scores[0], wanted.scores, rtol=1e-4, atol=1e-4)
        assert (labels[0] != wanted.labels).mean() < 1e-3


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "bce", "head": "dense", "input_range": "unit"},
        {"loss": "ce", "head": "dense", "upsampling": "dense", "skip_connections": False},
        {"loss": "mse", "head": "dlstudio", "targets": "unit"},
        {"network": "unet", "head": "dense", "depth": 16, "unet_widths": "4,6,8", "unet_blocks": 2},
    ],
    ids=["sigmoid", "softmax", "unit", "unet"],
)
def test_onnx_has_every_block_head_and_meaning(tmp_path, settings):
    pytest.importorskip("onnxruntime")
    trained = untrained(tmp_path, **settings)
    reference = make_reference(trained, (24, 16))
    found = export_one(formats.FORMATS["onnx"], trained, tmp_path, (24, 16), reference)
    assert found["largest_score"] > 0.1, "a network that says something"
    run = formats.FORMATS["onnx"].read(trained, tmp_path / "network.onnx")
    assert run(np.zeros((1, 40, 32, 3), np.uint8))[1].shape == (1, 40, 32)


def test_a_unet_run_is_predicted_exported_and_summarised(unet_run, tmp_path, capsys):
    image = np.random.default_rng(4).integers(0, 256, (32, 40, 3), np.uint8)
    wanted = Predictor.load(unet_run)(image)
    assert wanted.scores.shape == (32, 40, 5)
    export_run(unet_run, tmp_path / "out", size=(32, 40), say=lambda _: None)
    form = formats.FORMATS["jax"]
    scores, _ = form.read(load_trained(unet_run), tmp_path / "out" / form.file)(image[None])
    np.testing.assert_allclose(scores[0], wanted.scores, rtol=1e-5, atol=1e-5)
    assert "unet 4,8, patch 4" in (tmp_path / "out" / "README.md").read_text()
    with pytest.raises(ConfigError, match="network=unet"):
        export_run(unet_run, tmp_path / "dlstudio", formats=["dlstudio"])
    assert show([str(unet_run), "--summary"]) == 0
    assert "double0" in capsys.readouterr().out
    assert show(["--summary", "--network=unet", "--head=dense", "--unet_widths=8,16"]) == 0
    assert "16x16x16" in capsys.readouterr().out


def test_a_wrong_export_is_caught(tmp_path):
    trained = untrained(tmp_path, depth=2, head="dense")
    reference = make_reference(trained, (8, 8))
    form = formats.FORMATS["jax"]
    reference.scores[2] = reference.scores[2].copy()
    reference.scores[2][0, 0, 0, 0] += 1e-3
    with pytest.raises(CheckpointError, match=r"differ by 0\.001 at batch size 2"):
        export_one(form, trained, tmp_path, (8, 8), reference)


def test_nothing_is_left_of_an_export_that_fails(dense_run, tmp_path, monkeypatch):
    def fail(*_):
        raise CheckpointError("no")

    monkeypatch.setattr("segjax.export.folder.export_one", fail)
    with pytest.raises(CheckpointError):
        export_run(dense_run, tmp_path / "out", say=print)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["absent", "out"], "holds no run"),
        (["RUN", "out", "--format=tflite"], "--format=tflite"),
        (["RUN", "out", "--format=dlstudio"], "head=dense"),
        (["RUN", "out", "--size=30x32"], "--size=30x32"),
        (["RUN", "out", "--which=last"], "--which=last"),
        (["RUN", "used"], "exists already"),
    ],
)
def test_a_mistake_is_a_line_and_exit_code_2(
    dense_run, tmp_path, monkeypatch, capsys, arguments, said
):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").write_text("mine")
    monkeypatch.chdir(tmp_path)
    assert main([str(dense_run) if word == "RUN" else word for word in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("segjax: ")
    assert error.count("\n") == 1
    assert said in error
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_named(dense_run, tmp_path, monkeypatch):
    import importlib.metadata

    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(formats.importlib.metadata, "version", absent)
    with pytest.raises(ConfigError, match=r"pip install 'segjax\[onnx\]'"):
        export_run(dense_run, tmp_path / "out", formats=["onnx"])


def test_help_needs_no_jax():
    code = (
        "import sys; from segjax.export.__main__ import main; assert main(['--help']) == 0;"
        "assert not {'jax', 'flax', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
