"""What a run says of itself before it starts."""

from segjax.data.splits import load_splits
from segjax.networks.munet import count_parameters
from segjax.runs.folder import RunFolder
from segjax.training.program import make_program
from segjax.training.trainer import Trainer
from tests.small_net import MUNET, silent


def test_dlstudios_network_is_announced_with_what_is_odd_about_it(tiny, tmp_path):
    config, lines = tiny.replace(**MUNET), []
    splits = load_splits(config, say=silent)
    program = make_program(config, splits)
    state = program.initial_state(config, splits.train.images.shape[1:])
    trainer = Trainer(config, splits, program, RunFolder(tmp_path), say=lines.append)
    trainer.announce(state)
    (counted,) = [line for line in lines if "DLStudio counts" in line]
    runs, counts = (int(part.split()[-1].replace(",", "")) for part in (
        counted.split(" parameters")[0], counted.split("counts ")[1].split(":")[0]
    ))  # fmt: skip
    assert runs == count_parameters(state.params) < counts
    assert counted.endswith("never calls.")
    assert any("computes one output pixel in four" in line for line in lines)
    assert lines[-1] == f"results go to {tmp_path}"
