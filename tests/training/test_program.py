"""When something is due in a run."""

from segjax.training.program import Schedule


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
