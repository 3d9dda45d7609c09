"""A live run's hold on its folder: one run at a time, and gone with its process.

The lock is the operating system's, on the file ``.lock``, so a run that was killed leaves none. On
a network's file system it reaches as far as that system's own locks: NFS passes them to its server
(Linux since 2.6.12), some cluster file systems keep them to one machine, and where there are none
a line says so and the run goes on unguarded.
"""

import contextlib
import datetime
import errno
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from segjax.errors import ConfigError, Say, to_stderr
from segjax.files import write_text

LOCK_FILE = ".lock"
HOLDER_FILE = ".holder.json"  # who holds the lock, for those who do not get it
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

# What live runs of this process hold.
HELD: list[Path] = []


class InUseError(ConfigError):
    """A run folder is held by a run that is still going."""


@contextlib.contextmanager
def held(folder: Path, *, notify: Say = to_stderr) -> Iterator[None]:
    """Hold a folder, which has to be there, while the context lasts.

    Raises InUseError if another run holds it, naming its machine and process, and OSError if the
    folder cannot be written.
    """
    with locked(folder / LOCK_FILE, notify=notify) as mine:
        if not mine:
            raise InUseError(f"{folder} is in use by {_holder(folder)}")
        here = {"host": socket.gethostname(), "process": os.getpid()}
        since = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
        write_text(folder / HOLDER_FILE, json.dumps({**here, "since": since}) + "\n")
        HELD.append(folder)
        try:
            yield
        finally:
            HELD.remove(folder)
            (folder / HOLDER_FILE).unlink(missing_ok=True)


@contextlib.contextmanager
def locked(file: Path, *, notify: Say = to_stderr) -> Iterator[bool]:
    """Lock a file, made if it is not there, while the context lasts; yield False if others have it.

    Raises OSError if the file cannot be written.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        mine = True
        try:
            _lock(descriptor)
        except OSError as error:
            if mine := error.errno in _NO_LOCKS:
                told = "its file system has no locks; do not start a second run in it"
                notify(f"{file.parent}: {told}")
        yield mine
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Take the lock on an open file; OSError if another has it."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(folder: Path) -> str:
    try:
        found = json.loads((folder / HOLDER_FILE).read_text(encoding="utf-8"))
        return f"process {found['process']} on {found['host']} since {found['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
