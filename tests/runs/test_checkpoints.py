"""What is saved comes back, and the last k and the best are kept, whatever happens in between."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.errors import CheckpointError
from segjax.runs.checkpoints import Checkpoints, load_params
from tests.runs.checkpoint_states import META, assert_same, flip_a_bit, make_state


def state(step):
    return {"w": np.full((3,), step, np.float32)}


def folders(checkpoints):
    return sorted(path.name for path in checkpoints.folder.iterdir())


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_training_state_comes_back_bitwise(tmp_path, dtype):
    state, other = make_state(3, dtype=dtype), make_state(4, dtype=dtype)
    folder = tmp_path / "new" / "folder"
    Checkpoints(folder).save(3, state, META, best_score=0.5)
    restored, meta, step = Checkpoints(folder).restore(other)
    assert_same(restored, state)
    assert (meta, step) == (META, 3)
    abstract = Checkpoints(folder).restore(jax.eval_shape(lambda: state)).state
    assert_same(abstract, state)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(abstract))
    assert np.copysign(1, meta["loss_sums"][2]) == -1
    # The key is a key again and draws the same numbers, by a program that is not traced again.
    traces = []
    draw = jax.jit(lambda state: traces.append(1) or (state, jax.random.bits(state.key)))
    assert draw(state)[1] == draw(restored)[1]
    assert len(traces) == 1


def test_params_alone_without_an_optimizer(tmp_path):
    state, checkpoints = make_state(4), Checkpoints(tmp_path)
    checkpoints.save(1, state, {"epoch": 1}, best_score=0.9)
    checkpoints.save(2, make_state(5), {"epoch": 2}, best_score=0.1)
    params, batch_stats, meta = load_params(tmp_path)
    assert_same((params, batch_stats), jax.tree.map(np.asarray, (state.params, state.batch_stats)))
    newest, first = (load_params(tmp_path, which=which)[2] for which in ("newest", 1))
    assert [meta, newest, first] == [{"epoch": epoch} for epoch in (1, 2, 1)]
    assert load_params(tmp_path / "step_00000002")[2] == {"epoch": 2}
    spoil_manifest(tmp_path / "step_00000002")
    lines = []
    assert load_params(tmp_path, which="newest", notify=lines.append)[2] == {"epoch": 1}
    assert "step_00000002 is damaged" in lines[0]
    other = Checkpoints(tmp_path / "other")
    other.save(0, {"w": np.ones(1)}, {})
    with pytest.raises(CheckpointError, match="no params"):
        load_params(tmp_path / "other")
    # The network of a run with an average is the average.
    networks = {name: {"conv": {"kernel": np.full(3, name)}} for name in (1.0, 2.0)}
    other.save(1, {"params": networks[1.0], "ema": networks[2.0]}, {})
    assert_same(load_params(tmp_path / "other")[:2], (networks[2.0], {}))


def test_last_two_and_best_are_kept(tmp_path):
    scores = [0.1, 0.7, 0.3, None, 0.7, float("nan"), 0.2]
    for step, score in enumerate(scores):
        # A new object each time: best is on the disk, not in memory.
        Checkpoints(tmp_path).save(step, state(step), {"epoch": step}, best_score=score)
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.steps() == [1, 5, 6]
    assert_same(tuple(checkpoints.restore(state(0), which="best")), (state(1), {"epoch": 1}, 1))
    checkpoints.save(7, state(7), {}, best_score=0.8)
    assert checkpoints.steps() == [6, 7]
    assert checkpoints.restore(state(0), which="best").step == 7


@pytest.mark.parametrize("keep", [1, 3])
def test_keep_without_scores_and_a_step_saved_again(tmp_path, keep):
    checkpoints = Checkpoints(tmp_path, keep=keep)
    assert checkpoints.steps() == []
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "step_one").mkdir()
    for step in range(5):
        checkpoints.save(step, state(step), {})
    assert checkpoints.steps() == list(range(5))[-keep:]
    assert checkpoints.restore(state(0), which="best").step == 4
    # Other files in the folder are left alone.
    assert folders(checkpoints)[:: keep + 1] == ["notes.txt", "step_one"]
    checkpoints.save(4, state(4), {"try": 1}, best_score=0.5)
    checkpoints.save(5, state(5), {})
    for attempt in (2, 3):
        checkpoints.save(4, state(10 * attempt), {"try": attempt})
    assert_same(tuple(checkpoints.restore(state(0), which=4)), (state(30), {"try": 3}, 4))
    assert len(folders(checkpoints)) == 2 + max(keep, 2)
    # Saved again without a score, as a signal handler does, it is still the best.
    assert checkpoints.restore(state(0), which="best").step == 4


def spoil_manifest(path):
    (path / "manifest.json").write_text("{}")


@pytest.mark.parametrize("spoil", [spoil_manifest, flip_a_bit])
def test_damaged_steps_do_not_count_and_go_once_named(tmp_path, spoil):
    lines = []
    checkpoints = Checkpoints(tmp_path, notify=lines.append)
    checkpoints.save(10, state(10), {})
    path = checkpoints.save(20, state(20), {}, best_score=1.0)
    spoil(path)
    if spoil is spoil_manifest:
        checkpoints.save(5, state(5), {})
        # Not named yet, so not deleted; and neither does it push out a good one.
        assert folders(checkpoints) == ["step_00000005", "step_00000010", "step_00000020"]
        assert checkpoints.steps() == [5, 10]
    else:
        assert checkpoints.steps() == [10, 20]
    for which in ("newest", "best"):
        assert checkpoints.restore(state(0), which=which).step == 10
        assert "step_00000020 is damaged" in lines[0]
        assert len(lines) == 2
        lines.clear()
        assert checkpoints.steps()[-1] == 10
    checkpoints.save(15, state(15), {})
    assert folders(checkpoints) == ["step_00000010", "step_00000015"]
    assert checkpoints.restore(state(0), which="best").step == 15
    # A damaged step is replaced by a new save of it.
    spoil(tmp_path / "step_00000015")
    assert checkpoints.restore(state(0)).step == 10
    checkpoints.save(15, state(16), {}, best_score=0.9)
    restored, _, step = Checkpoints(tmp_path).restore(state(0))
    assert_same((step, restored), (15, state(16)))
    assert len(folders(checkpoints)) == 2
    # The best of a step before the newest, too.
    checkpoints.save(16, state(16), {}, best_score=0.5)
    spoil(next(tmp_path.glob("step_00000015*")))
    lines.clear()
    assert checkpoints.restore(state(0), which="best").step == 16
    assert spoil is spoil_manifest or "is damaged" in lines[0]
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"cannot save checkpoint step 3 in .*file"):
        Checkpoints(tmp_path / "file").save(3, state(3), {})
