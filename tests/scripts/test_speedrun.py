"""The recipes build, and scripts/speedrun.py reads times and scores as runs wrote them."""

import functools
import importlib
import json

import jax
import numpy as np
import pytest

from scripts import speedrun
from scripts.docs.markdown import write_part
from segjax.errors import ConfigError
from segjax.networks.build import make_network
from segjax.runs.folder import RunFolder


@pytest.mark.parametrize("name", ["quick", "speedrun", "best"])
def test_the_recipes_build_a_network_that_writes_every_pixel(name):
    config = importlib.import_module(f"configs.{name}").get_config()
    assert (config.head, config.val_images) == ("dense", 1000)
    images = jax.ShapeDtypeStruct((2, 64, 64, 3), np.uint8)
    init = functools.partial(make_network(config, num_classes=5).init_with_output, train=False)
    outputs, _ = jax.eval_shape(init, jax.random.key(0), images)
    assert outputs.shape == (2, 64, 64, 5)


RECORDS = [
    {"kind": "train", "step": 50, "mean_over": 50, "seconds": 17.0},
    {"kind": "train", "step": 80, "mean_over": 30, "seconds": 23.0},
    {"kind": "validation", "step": 100, "val_miou": 0.9, "seconds": 28.0},
    {"kind": "validation", "step": 200, "val_miou": 0.96, "seconds": 49.0},
]


def write(folder, seed, miou=0.95, seconds=100.0, records=RECORDS, device="one", **config):
    """A run's results and log."""
    scores = {"mean": {"iou": miou}, "per_class": {"iou": [miou - 0.1, miou + 0.1]}}
    results = {
        "config": {"seed": seed, "run_dir": f"r{seed}", "batch_size": 32, **config},
        "train_seconds": seconds,
        "classes": ["rectangle", "star"],
        "test": {"images": 1000, "half": scores},
        "environment": {"device": device, "cpu_cores": 2, "commit": f"c{seed}"}
        | {"versions": {"jax": "1", "python": "3"}},
        **dict.fromkeys(("train_images", "steps", "parameters"), 200),
    }
    folder /= f"seed-{seed}"
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in records))
    return RunFolder(folder)


def test_runs_that_differ_in_their_seed_only_become_mean_and_spread(tmp_path, monkeypatch):
    monkeypatch.setattr(speedrun, "recoloured_iou", lambda folder: [0.5, 0.7])
    first = write(tmp_path, 1)
    found = speedrun.summarise([first, write(tmp_path, 2, 0.97, 110.0, RECORDS[:3])], goal=0.95)
    assert found["test_miou"] == pytest.approx([0.95, 0.97])
    assert found["test_class_iou"]["star"] == pytest.approx([1.05, 1.07])
    assert found["seconds_to_goal_on_validation"] == [49.0, None]
    # 30 steps took 6 s, so of the 17 s of the first 50 steps 10 were steps.
    assert found["compile_seconds"] == pytest.approx([7.0, 7.0])
    assert (found["n"], found["commits"]) == (2, ["c1", "c2"])
    text = speedrun.text_of(found, "speedrun")
    assert "| as drawn | **0.960 ± 0.014** | 0.950 | 0.860 ± 0.014 |" in text
    assert "| in new colours | **0.600 ± 0.000** | 0.600 | 0.500 ± 0.000 |" in text
    assert "training took 105 ± 7 s, of them 7 ± 0 s compiling" in text
    assert "1 of 2 seeds had 0.95" in text
    for seed, other, told in (
        (3, {"batch_size": 16}, "more than their seed"),
        (4, {"device": "another"}, "different devices"),
    ):
        with pytest.raises(ConfigError, match=told):
            speedrun.summarise([first, write(tmp_path, seed, **other)], goal=0.95)


def test_the_table_replaces_itself_and_nothing_else(tmp_path):
    page, part = tmp_path / "page.md", "<!-- best: scripts/x.py -->\nold\n<!-- end of best -->\n"
    page.write_text(text := f"# Page\n{part}between\n{part.replace('best', 'fast')}after\n")
    for new in ("first", "second"):
        write_part(page, "best", "scripts/x.py", new)
    assert page.read_text() == text.replace("old", "second", 1)
    with pytest.raises(SystemExit, match=r"no line <!-- best: scripts/y\.py"):
        write_part(page, "best", "scripts/y.py", "third")
