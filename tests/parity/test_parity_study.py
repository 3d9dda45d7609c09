"""DLStudio's own training in the study: resumed, it goes on as if it had not stopped."""

import numpy as np
import pytest

from scripts.study.plan import SCALES, dlstudio_recipe
from scripts.study.theirs import Training, means_of


class StoppedError(Exception):
    pass


# DLStudio leaves its file of losses open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_stopped_training_goes_on_with_the_same_losses(tmp_path, monkeypatch):
    config = dlstudio_recipe(SCALES["smoke"]).replace(epochs=2)
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    whole = Training(tmp_path / "whole", config)
    whole.run()
    assert len(whole.losses) == 12

    def stop(self):
        save(self)
        if len(self.losses) == 8:  # in the second epoch
            raise StoppedError

    save = Training.save
    monkeypatch.setattr(Training, "save", stop)
    with pytest.raises(StoppedError):
        Training(tmp_path / "stopped", config).run()
    monkeypatch.setattr(Training, "save", save)
    resumed = Training(tmp_path / "stopped", config)
    assert len(resumed.losses) == 8
    resumed.run()
    np.testing.assert_allclose(resumed.losses, whole.losses, rtol=1e-5)
    means = list(means_of(resumed.losses, 2))
    assert [mean["step"] for mean in means] == [2, 4, 6, 8, 10, 12]
    assert means[1]["loss"] == pytest.approx(np.mean(whole.losses[2:4]), rel=1e-5)
