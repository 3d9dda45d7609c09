"""What a run says of itself before it starts."""

from segjax.networks.munet import count_parameters
from tests.small_net import MUNET, built


def test_dlstudios_network_is_announced_with_what_is_odd_about_it(tiny):
    lines = []
    trainer, state = built(tiny.replace(**MUNET), say=lines.append)
    trainer.announce(state)
    (counted,) = [line for line in lines if "DLStudio counts" in line]
    runs, counts = (int(part.split()[-1].replace(",", "")) for part in (
        counted.split(" parameters")[0], counted.split("counts ")[1].split(":")[0]
    ))  # fmt: skip
    assert runs == count_parameters(state.params) < counts
    assert counted.endswith("never calls.")
    assert any("computes one output pixel in four" in line for line in lines)
    assert lines[-1] == f"results go to {tiny.run_dir}"
