"""The last k and the best are kept, whatever happens in between."""

import numpy as np
import pytest

from segjax.errors import CheckpointError
from segjax.runs.checkpoints import Checkpoints
from tests.runs.checkpoint_states import assert_same


def state(step):
    return {"w": np.full((3,), step, np.float32)}


def folders(checkpoints):
    return sorted(path.name for path in checkpoints.folder.iterdir())


def test_last_two_and_best_are_kept(tmp_path):
    scores = [0.1, 0.7, 0.3, None, 0.7, float("nan"), 0.2]
    for step, score in enumerate(scores):
        # A new object each time: best is on the disk, not in memory.
        Checkpoints(tmp_path).save(step, state(step), {"epoch": step}, best_score=score)
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.steps() == [1, 5, 6]
    assert checkpoints.best() == (1, 0.7)
    restored, meta, step = checkpoints.restore(state(0), which="best")
    assert (step, meta) == (1, {"epoch": 1})
    assert_same(restored, state(1))
    checkpoints.save(7, state(7), {}, best_score=0.8)
    assert checkpoints.steps() == [6, 7]
    assert checkpoints.best() == (7, 0.8)


@pytest.mark.parametrize("keep", [1, 3])
def test_keep_without_scores(tmp_path, keep):
    checkpoints = Checkpoints(tmp_path, keep=keep)
    assert checkpoints.steps() == []
    assert checkpoints.best() is None
    for step in range(5):
        checkpoints.save(step, state(step), {})
    assert checkpoints.steps() == list(range(5))[-keep:]
    assert checkpoints.best() is None
    assert checkpoints.restore(state(0), which="best").step == 4


def test_saving_a_step_again_replaces_it(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state(1), {"try": 1}, best_score=0.5)
    checkpoints.save(2, state(2), {"try": 1})
    for attempt in (2, 3):
        checkpoints.save(1, state(10 * attempt), {"try": attempt})
    restored, meta, _ = checkpoints.restore(state(0), which=1)
    assert meta == {"try": 3}
    assert_same(restored, state(30))
    assert len(folders(checkpoints)) == 2
    # Saved again without a score, as a signal handler does, it is still the best.
    assert checkpoints.best() == (1, 0.5)


def test_damaged_steps_do_not_count_and_go_once_named(tmp_path):
    lines = []
    checkpoints = Checkpoints(tmp_path, notify=lines.append)
    checkpoints.save(10, state(10), {})
    path = checkpoints.save(20, state(20), {}, best_score=1.0)
    (path / "manifest.json").write_text("{}")
    checkpoints.save(5, state(5), {})
    # Not named yet, so not deleted; and neither does it push out a good one.
    assert folders(checkpoints) == ["step_00000005", "step_00000010", "step_00000020"]
    assert checkpoints.restore(state(0)).step == 10
    assert len(lines) == 2
    checkpoints.save(15, state(15), {})
    assert folders(checkpoints) == ["step_00000010", "step_00000015"]
    assert checkpoints.best() is None


def test_damaged_step_is_replaced_by_a_new_save(tmp_path):
    checkpoints = Checkpoints(tmp_path, notify=lambda line: None)
    checkpoints.save(10, state(10), {})
    path = checkpoints.save(20, state(20), {})
    (path / "manifest.json").write_text("{}")
    assert checkpoints.restore(state(0)).step == 10
    checkpoints.save(20, state(21), {})
    restored = Checkpoints(tmp_path).restore(state(0))
    assert restored.step == 20
    assert_same(restored.state, state(21))
    assert len(folders(checkpoints)) == 2


def test_a_step_with_a_flipped_bit_pushes_out_no_good_one(tmp_path):
    """Only a full read finds it, as its files have the right sizes; the next saves know of it."""
    checkpoints = Checkpoints(tmp_path, notify=lambda line: None)
    checkpoints.save(10, state(10), {})
    path = checkpoints.save(20, state(20), {}, best_score=1.0)
    data = max(path.rglob("d/*"), key=lambda p: p.stat().st_size)
    data.write_bytes(bytes([data.read_bytes()[0] ^ 1]) + data.read_bytes()[1:])
    assert checkpoints.steps() == [10, 20]
    assert checkpoints.restore(state(0)).step == 10
    assert checkpoints.steps() == [10]
    assert checkpoints.best() is None
    checkpoints.save(15, state(15), {})
    assert folders(checkpoints) == ["step_00000010", "step_00000015"]


def test_best_falls_back_when_damaged(tmp_path):
    lines = []
    checkpoints = Checkpoints(tmp_path, notify=lines.append)
    checkpoints.save(1, state(1), {}, best_score=0.9)
    checkpoints.save(2, state(2), {}, best_score=0.5)
    data = max((tmp_path / "step_00000001").rglob("d/*"), key=lambda p: p.stat().st_size)
    data.write_bytes(bytes(reversed(data.read_bytes())))
    assert checkpoints.restore(state(0), which="best").step == 2
    assert "step_00000001 is damaged" in lines[0]


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"cannot save checkpoint step 3 in .*file"):
        Checkpoints(tmp_path / "file").save(3, state(3), {})


def test_other_files_in_the_folder_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "step_one").mkdir()
    checkpoints = Checkpoints(tmp_path, keep=1)
    for step in range(3):
        checkpoints.save(step, state(step), {})
    assert folders(checkpoints) == ["notes.txt", "step_00000002", "step_one"]
