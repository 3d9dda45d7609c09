"""docs/training.md: its commands work and its table is the code's."""

import re
import shlex

import jax
import pytest

from segjax.config import Config
from segjax.main import main
from segjax.training.augment import AUGMENTATIONS, make_augment
from segjax.training.optim import make_optimizer
from tests.docs import pages
from tests.small_net import SMALL

PAGE = pages.read("docs/training.md")
COMMANDS = pages.commands(PAGE)


def arguments(command):
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "segjax.main"]
    return words[3:]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_understood(command):
    config = pages.config_of(arguments(command))
    make_optimizer(config, 1000).init({"kernel": jax.numpy.zeros((3, 3, 1, 1))})
    how = {"interpolation": config.augment_interpolation, "outside": config.augment_outside}
    make_augment(config.augment, **how)


@pytest.mark.parametrize("instead", [SMALL, pytest.param({}, marks=pytest.mark.slow)], ids=len)
def test_the_first_command_runs(tmp_path, instead):
    given = [*arguments(COMMANDS[0]), *(f"--{name}={value}" for name, value in instead.items())]
    assert main([*given, f"--run_dir={tmp_path}/run", "--progress=off"]) == 0
    assert {"results.json", "metrics.csv"} <= {file.name for file in (tmp_path / "run").iterdir()}


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
# Processes of --multihost wait for each other; tests/training/test_processes.py starts two.
@pytest.mark.parametrize("command", [c for c in COMMANDS[1:] if "--multihost" not in c])
def test_the_other_commands_run_on_tiny_data(tmp_path, command):
    if "tensorboard" in command:
        pytest.importorskip("tensorboardX")
    tiny = ["--data=synthetic", "--synthetic_train=12", "--synthetic_test=4", "--val_images=4"]
    tiny += ["--epochs=2", "--progress=off", f"--run_dir={tmp_path / 'run'}"]
    small = {} if "unet" in command else SMALL | {"upsampling": Config.upsampling}
    tiny += [f"--{name}={value}" for name, value in small.items()]
    tiny += [f"--cache_dir={tmp_path / 'compiled'}"] if "--cache_dir" in command else []
    tiny += ["--batch_size=4"] if "--devices" in command else []
    tiny += ["--warmup_steps=2"] if "--warmup_steps" in command else []
    assert main([*arguments(command), *tiny]) == 0


def test_every_knob_has_its_words_and_the_table_of_augmentations_is_the_codes():
    knobs = (
        "optimizer learning_rate momentum weight_decay schedule warmup_steps clip_norm "
        "accumulate_steps ema_decay dtype val_images early_stop_epochs loss_class_weights augment "
        "augment_interpolation augment_outside composed_scenes tensorboard seeds seeds_at_once "
        "synthetic_seed devices multihost coordinator num_processes process_id profile cache_dir"
    )
    assert not [knob for knob in knobs.split() if f"--{knob}" not in PAGE]
    rows = []
    for row in AUGMENTATIONS.values():
        setting = "none" if row.default is None else f"{row.unit}, {row.default:g}"
        rows.append(f"| `{row.name}` | {setting} | {row.summary} |")
    (table,) = re.findall(r"<!-- table: augmentations -->\n(.*?)<!-- end -->", PAGE, re.S)
    assert table.splitlines()[2:] == rows
