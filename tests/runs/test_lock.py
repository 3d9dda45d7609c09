"""A live run's hold on its folder."""

import errno
import os
import signal
import socket
import subprocess
import sys

import pytest

from segjax.runs import lock
from segjax.runs.lock import InUseError, held

HOLD = """
import sys, time
from pathlib import Path
from segjax.runs.lock import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_process_holds_a_folder_and_a_killed_one_no_more(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        said = f"{tmp_path} is in use by process {other.pid} on {socket.gethostname()} since 20"
        with pytest.raises(InUseError, match=said), held(tmp_path):
            pass
        other.send_signal(signal.SIGKILL)
    with held(tmp_path):
        assert [tmp_path] == lock.HELD
        said = f"process {os.getpid()} on"
        with pytest.raises(InUseError, match=said), held(tmp_path):
            pass
        (tmp_path / lock.HOLDER_FILE).write_text("[]")
        with pytest.raises(InUseError, match="in use by another process"), held(tmp_path):
            pass
    assert not lock.HELD
    assert [path.name for path in tmp_path.iterdir()] == [lock.LOCK_FILE]


def test_a_file_system_without_locks_is_named_and_others_errors_raised(tmp_path, monkeypatch):
    lines = []

    def refuse(_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "_lock", refuse)
    with held(tmp_path, notify=lines.append):
        assert (tmp_path / lock.HOLDER_FILE).exists()
    assert lines == [f"{tmp_path}: its file system has no locks; do not start a second run in it"]
    with pytest.raises(OSError, match="No such file"), held(tmp_path / "gone"):
        pass
