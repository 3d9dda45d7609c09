"""The command line: flags to settings, one line per mistake, quick help."""

import pytest

from segjax.config import Config, flag_fields
from segjax.errors import ConfigError
from segjax.loss_table import PARAMETERS
from segjax.main import load_config, main
from tests.docs.pages import config_of


def test_flags_win_over_the_config_file_which_wins_over_defaults(tmp_path):
    assert config_of([]) == Config()
    config = config_of(["--loss=combo", "--dice_scale=400"])
    assert (config.loss, config.loss_params) == ("combo", {"dice_scale": 400.0})
    file = tmp_path / "mine.py"
    file.write_text(
        "from segjax.config import Config\n"
        "def get_config():\n"
        "    return Config(depth=4, epochs=2, loss='combo', loss_params={'dice_scale': 7.0})\n"
    )
    config = config_of([f"--config={file}", "--epochs=3"])
    assert (config.depth, config.epochs, config.batch_size) == (4, 3, 4)
    assert config.loss_params == {"dice_scale": 7.0}
    # Another loss leaves the settings of the first behind.
    assert config_of([f"--config={file}", "--loss=mse"]).loss_params == {}


def test_a_wrong_config_file_is_named(tmp_path):
    file, own = tmp_path / "wrong.py", "from segjax.config import Config\ndef get_config(): return "
    for content, said in (
        (None, "no such file"),
        ("x = 1", r"needs a get_config\(\)"),
        ("def get_config(): return 3", "gave a int"),
        ("raise ValueError('broken')", "ValueError: broken"),
        (own + "Config(depth=1)", "--depth=1"),
    ):
        if content is not None:
            file.write_text(content)
        with pytest.raises(ConfigError, match=rf"wrong\.py.*{said}"):
            load_config(str(file))


def test_a_mistake_is_one_line_and_exit_code_2(capsys, monkeypatch, tmp_path, pytestconfig):
    losses = pytestconfig.rootpath / "tests/goldens/losses.json"
    monkeypatch.chdir(tmp_path)
    for arguments, said in (
        (["--dpeth=4"], "dpeth"),
        (["--depth=four"], "--depth=four: must be a whole number, not 'four'"),
        (["--depth=1"], "--depth=1"),
        (["--head=other"], "head"),
        (["--loss=nothing"], "unknown loss"),
        (["--dice_scale=3"], "--dice_scale: loss mse has no such setting"),
        (["train"], "'train' is not a flag; flags look like --loss=combo"),
        (["quick"], "flags look like --config=quick"),
        ([f"--config={losses}"], "losses.json: is no preset and no .py file"),
        (["--config=absent.py"], "absent.py"),
        (["--data=mnist"], "mnist"),
        (["--fit=crop"], "--fit=crop: --data=purdue has no such setting; own data have it"),
        (["--train_file=absent.gz"], "absent.gz"),
        (["--resume", "--run_dir=absent"], "absent holds no run"),
        ([*["--data=synthetic", "--loss=topk_ce", "--topk_fraction=0"]], "fraction=0.0: must be"),
    ):
        assert main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("segjax: ")
        assert said in line
        assert not list(tmp_path.iterdir()), "a mistake leaves no files behind"


def test_help_names_every_setting(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name in [*(field.name for field in flag_fields()), *PARAMETERS]:
        assert f"--{name}\n" in text
