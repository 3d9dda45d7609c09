"""Files that appear whole or not at all, and the SHA-256 of a file."""

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a name beside ``path`` to write to; what is written there then replaces ``path``.

    A reader, or a crash, sees the old file or the new one, never half: the new one is flushed to
    the disk before it gets its name. When the block raises, the old file stays as it is.

    Raises OSError if the file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with naming(path):
        try:
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):  # nor could it be written, perhaps
                temporary.unlink()


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``path`` to fill, which takes its name whole or not at all.

    Raises OSError, with the name ``path``, if it cannot be written, or is there and not empty.
    """
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{path.name[:16]}-", dir=path.parent))
        try:
            yield work
            work.chmod(0o755)
            if path.exists():
                path.rmdir()
            work.rename(path)
        finally:
            shutil.rmtree(work, ignore_errors=True)


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Have an OSError within name the file, which one of a write or a flush does not."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:  # else it is not the system's, and has its own words
            error.filename = os.fspath(path)
        raise


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file whole or not at all; see ``replacing``."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 file with the line ends as they are, whole or not at all; see ``replacing``."""
    write_bytes(path, text.encode())


def regular(path: str | os.PathLike[str]) -> Path:
    """Return the path of an ordinary file, which others may have put there.

    Raises OSError if it is none: a pipe or a device could be read for ever.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
    return Path(path)


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's content in hexadecimal.

    Raises OSError if it cannot be read, or is no ordinary file.
    """
    with regular(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
