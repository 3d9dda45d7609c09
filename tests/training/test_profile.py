"""--profile: a trace that a browser opens, of the steps asked for."""

import gzip
import json

import pytest

from segjax.training.profile import StepTrace
from segjax.training.run import run


@pytest.mark.slow
def test_the_trace_holds_the_steps_asked_for(tiny, no_figures):
    lines = []
    result = run(tiny.replace(val_images=0, test=False, profile=3), say=lines.append)
    (told,) = [line for line in lines if line.startswith("profile of steps")]
    assert told.startswith("profile of steps 6 to 8: open ")
    (file,) = (result.folder / "profile").glob("plugins/profile/*/perfetto_trace.json.gz")
    assert str(file) in told
    assert list(file.parent.glob("*.xplane.pb"))
    with gzip.open(file) as text:
        events = json.load(text)["traceEvents"]
    calls = [event for event in events if event.get("name") == "PjitFunction(one)"]
    # How many events a call leaves is the profiler's business.
    assert len(calls) in range(3, 5 * 3, 3)


def test_a_run_that_ends_within_its_warm_up_says_so(tmp_path):
    lines = []
    for ended in (8, 10):
        trace = StepTrace(tmp_path / "profile", steps=4, after=10, step=5, say=lines.append)
        assert [trace.steps_to_event(step) for step in (0, 9, 10, 13)] == [10, 1, 4, 1]
        trace.reached(ended, [])
        trace.close()
        said = f"nothing to trace, the run ended at step {ended} with its warm-up"
        assert lines.pop().endswith(said)
    off = StepTrace(tmp_path, steps=0, after=10, say=lines.append)
    assert off.steps_to_event(0) is None
    off.close()
    assert not lines
