"""When something is due in a run."""

import pytest

from segjax.config import Config
from segjax.errors import ConfigError
from segjax.training.program import Schedule, make_schedule
from tests.small_net import built, small_run


def test_the_loop_looks_up_where_something_is_due():
    every = {"log_steps": 4, "checkpoint_steps": 7, "chunk_steps": 3}
    schedule = Schedule(steps_per_epoch=10, total_steps=25, warm_up_steps=1, **every)
    at, looks = 0, []
    while at < schedule.total_steps:
        at += schedule.steps_to_next(at)
        looks.append(at)
    assert looks == [3, 4, 7, 8, 10, 13, 14, 17, 18, 20, 21, 24, 25]
    assert [step for step in looks if schedule.logs(step)] == [4, 8, 10, 14, 18, 20, 24, 25]
    assert [step for step in looks if schedule.saves(step)] == [7, 10, 14, 20, 21, 25]
    assert [step for step in looks if schedule.ends_epoch(step)] == [10, 20, 25]


def test_a_run_too_short_for_its_settings_is_refused():
    def schedule(**settings):
        return make_schedule(Config(epochs=2, batch_size=4, **settings), 13)

    assert schedule(accumulate_steps=6).total_steps == 6
    assert schedule(warmup_steps=2, accumulate_steps=4).total_steps == 6
    assert schedule(warmup_steps=5, max_steps=5).total_steps == 5
    for settings, told in (
        ({"accumulate_steps": 7}, "--accumulate_steps=7: the run has 6 steps"),
        ({"warmup_steps": 3, "accumulate_steps": 4}, "--warmup_steps=3: the run has 2 updates"),
        ({"warmup_steps": 6, "max_steps": 5}, "--warmup_steps=6: the run has 5 updates"),
        ({"batch_size": 14, "epochs": 1}, "--batch_size=14: more than the 13 training images"),
    ):
        with pytest.raises(ConfigError, match=told):
            make_schedule(Config(**{"epochs": 2, "batch_size": 4} | settings), 13)


def test_a_setting_that_the_loss_refuses_is_named_as_its_flag(tmp_path):
    config = small_run(tmp_path, loss="bce", loss_params={"bce_fn": -1.0})
    with pytest.raises(ConfigError, match=r"^--loss=bce: bce_fn=-1\.0: must be"):
        built(config)
