"""Settings: checked on construction, written and read back, compared on resume."""

import pytest

from segjax.config import Config, as_choice, flag_fields, settings_that_differ
from segjax.errors import ConfigError


def test_defaults_are_dlstudios_recipe():
    config = Config()
    recipe = (config.depth, config.optimizer, config.learning_rate, config.momentum)
    assert recipe == (16, "sgd", 1e-4, 0.9)
    assert (config.batch_size, config.epochs, config.seed, config.head) == (4, 6, 1234, "dlstudio")
    assert (config.input_range, config.targets, config.val_images) == ("raw", "values", 0)
    assert all(field.metadata["help"].endswith(".") for field in flag_fields())


def test_a_wrong_value_is_one_clear_line():
    for changes, said in (
        ({"depth": 1}, "--depth=1: must be at least 2"),
        ({"depth": 65}, "--depth=65: must be at most 64"),
        ({"head": "sparse"}, "--head=sparse: choose one of dlstudio, dense"),
        ({"batch_size": 0}, "--batch_size=0: must be at least 1"),
        ({"batch_size": 2.5}, "--batch_size=2.5: must be a int"),
        ({"warmup_steps": 2**31}, "--warmup_steps=2147483648: must be at most 2147483647"),
        ({"seeds": 10_001}, "--seeds=10001: must be at most 10000"),
        ({"unet_blocks": 65}, "--unet_blocks=65: must be at most 64"),
        ({"synthetic_test": 10**30}, "000: must be at most 10000000"),
        ({"learning_rate": float("nan")}, "--learning_rate=nan: must be a finite number"),
        ({"loss": "dics"}, "unknown loss 'dics'"),
        ({"loss": "mse", "loss_params": {"dice_scale": 3.0}}, "loss mse has no such setting"),
        ({"image_size": 70}, "--image_size=70: must be a multiple of 8"),
        ({"image_size": 72, "data": "synthetic"}, "multiple of 64"),
        ({"resume": True, "overwrite": True}, "exclude each other"),
        ({"early_stop_epochs": 2}, "set --val_images"),
        ({"augment": "flipp"}, "flipp"),
        ({"coordinator": "host:1"}, "need --multihost"),
        ({"process_id": 0}, "need --multihost"),
        ({"multihost": True, "seeds_at_once": "on"}, "one after another"),
        ({"schedule": "onecycle", "warmup_steps": 5}, "_steps=5: onecycle rises by itself"),
        ({"optimizer": "adam", "weight_decay": 0.1}, "--weight_decay=0.1: adam has none; use"),
        ({"optimizer": "rmsprop", "weight_decay": 0.1}, "=0.1: rmsprop has none; use adamw"),
        (
            {"loss": "bce", "loss_params": {"loss_class_weights": "blanced"}},
            "such as 1,1,2.5, or one of balanced, median",
        ),
    ):
        with pytest.raises(ConfigError) as raised:
            Config(**changes)
        assert said in str(raised.value)
        assert "\n" not in str(raised.value)


def test_json_round_trip_and_a_damaged_config_file_is_named():
    config = Config(loss="combo", loss_params={"dice_scale": 400.0}, depth=4, augment="flip")
    assert Config.from_json(config.to_json()) == config
    # Whole numbers do for fractions.
    assert config.replace(learning_rate=1, loss_params={"dice_scale": 400}).learning_rate == 1
    for text, said in (
        ("{", "not JSON"),
        ("[]", "holds a list"),
        ('{"dept": 4}', "did you mean 'depth'"),
        ('{"depth": 400}', "--depth=400"),
        ('{"depth": [16]}', "must be a int"),
        ('{"loss_params": 3}', ""),
        ('{"loss_params": ["dice_scale"]}', ""),
        ('{"learning_rate": ' + "9" * 400 + "}", ""),
        ("[" * 100_000, "not JSON"),
    ):
        with pytest.raises(ConfigError, match=rf"there\.json.*{said}"):
            Config.from_json(text, source="there.json")


def test_resume_may_change_what_does_not_change_the_training():
    old = Config()
    assert settings_that_differ(old, old.replace(epochs=9, progress="off", run_dir="x")) == []
    assert settings_that_differ(old, old.replace(depth=8)) == ["--depth was 16, is 8"]
    changed = old.replace(loss="combo", loss_params={"dice_scale": 1.0})
    assert len(settings_that_differ(old, changed)) == 2


def test_a_class_whose_name_holds_a_comma_stands_in_quotes():
    chosen = Config(classes='cat, "bow (ribbon, tied)",dog').class_choice()
    assert chosen == ("cat", "bow (ribbon, tied)", "dog")
    odd = ("a, b", 'c"d', "e")
    assert Config(classes=as_choice(odd)).class_choice() == odd
    assert Config().class_choice() == Config(classes=" ,").class_choice() == ()
