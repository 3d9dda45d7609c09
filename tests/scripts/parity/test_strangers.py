"""Wrong calls end in lines; some, drawn once and for all."""

import pytest

from scripts.parity import strangers


def test_each_flag_and_each_file_has_its_wrong_calls():
    names = [call.name for call in (*strangers.flags(), *strangers.damages())]
    assert len(set(names)) == len(names) > 2000
    for part in ("main --depth=-1", "predict run images --tile=nan", "show run/results.json huge"):
        assert part in names


@pytest.mark.slow
def test_no_traceback_and_no_hang(capsys):
    code = strangers.main(["--count=40", "--seed=1"])
    assert code == 0, capsys.readouterr().out
