"""--profile: a trace that a browser opens, of the steps asked for."""

import gzip
import json

import pytest

from segjax.training import run as runner
from segjax.training.profile import StepTrace
from tests.small_net import SMALL


@pytest.fixture
def small(tiny):
    return tiny.replace(val_images=0, test=False, **SMALL)


def test_the_trace_holds_the_steps_asked_for(small):
    lines = []
    config = small.replace(profile=3)
    result = runner.run(config, say=lines.append)
    (told,) = [line for line in lines if line.startswith("profile of steps")]
    assert told.startswith("profile of steps 6 to 8: open ")
    (file,) = (result.folder / "profile").glob("plugins/profile/*/perfetto_trace.json.gz")
    assert str(file) in told
    assert list(file.parent.glob("*.xplane.pb"))
    with gzip.open(file) as text:
        events = json.load(text)["traceEvents"]
    calls = [event for event in events if event.get("name") == "PjitFunction(one)"]
    # How many events a call leaves is the profiler's business.
    assert calls
    assert len(calls) % 3 == 0
    assert len(calls) < 5 * 3


def test_a_run_that_ends_within_its_warm_up_says_so(small):
    lines = []
    runner.run(small.replace(val_images=6, epochs=1, profile=3), say=lines.append)
    assert any(line.startswith("--profile: nothing to trace") for line in lines)
    assert not any(line.startswith("profile of steps") for line in lines)


def test_chunks_end_where_the_trace_does(tmp_path):
    trace = StepTrace(tmp_path, steps=4, after=10, say=print)
    assert [trace.steps_to_event(step) for step in (0, 9, 10, 13)] == [10, 1, 4, 1]
    assert StepTrace(tmp_path, steps=0, after=10, say=print).steps_to_event(0) is None
