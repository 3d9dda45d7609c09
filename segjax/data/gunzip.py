"""Reading a gzip file piece by piece, with a cap on what it may unpack to."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

_PACKED_CHUNK = 1 << 16
_GZIP_WINDOW_BITS = 31  # zlib's way to say: gzip header and trailer, whose CRC-32 it checks
_MAGIC = b"\x1f\x8b"


class BadStreamError(Exception):
    """Why the content of a file cannot be read; the caller adds the file's name."""


class GzipSource:
    """A forward-only reader of a gzip file that never unpacks more than it is asked for.

    ``on_progress(done, total)`` hears packed bytes. ``sha256`` is the digest of the packed
    bytes read so far: of the whole file once ``read`` has returned nothing.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_unpacked_bytes: int,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._file = path.open("rb")
        self._size = path.stat().st_size
        self._max_unpacked_bytes = max_unpacked_bytes
        self._on_progress = on_progress
        self._digest = hashlib.sha256()
        self._packed = b""
        self._packed_bytes = 0
        self._member = zlib.decompressobj(_GZIP_WINDOW_BITS)
        self._in_member = True
        self.unpacked_bytes = 0

    def __enter__(self) -> GzipSource:
        try:
            if self._size == 0:
                raise BadStreamError("the file is empty")
            self._fill()
            if not self._packed.startswith(_MAGIC):
                raise BadStreamError("it is not a gzip file")
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the packed bytes read so far."""
        return self._digest.hexdigest()

    def read(self, size: int) -> bytes:
        """Returns up to ``size`` unpacked bytes, nothing at the end.

        Raises:
          BadStreamError: if the file is truncated, damaged, or unpacks to more than the cap.
        """
        parts: list[bytes] = []
        wanted = size
        while wanted > 0:
            at_end = not self._packed and not self._fill()
            if at_end and not self._in_member:
                break
            if not self._in_member and not self._start_member():
                continue
            try:
                part = self._member.decompress(self._packed, wanted)
            except zlib.error as error:
                raise BadStreamError(f"the gzip data is damaged ({error})") from None
            # zlib may still hold output after its last input byte, so only silence is the end.
            if at_end and not part and not self._member.eof:
                raise BadStreamError("the gzip data ends early; the file is truncated")
            self._packed = self._member.unconsumed_tail
            if self._member.eof:
                self._packed = self._member.unused_data
                self._in_member = False
            wanted -= len(part)
            self.unpacked_bytes += len(part)
            parts.append(part)
            if self.unpacked_bytes > self._max_unpacked_bytes:
                raise BadStreamError(
                    f"it unpacks to more than {self._max_unpacked_bytes:,} bytes"
                    " (raise max_unpacked_bytes if you trust it)"
                )
        if self._on_progress is not None:
            self._on_progress(self._packed_bytes, self._size)
        return b"".join(parts)

    def _fill(self) -> bool:
        self._packed = self._file.read(_PACKED_CHUNK)
        self._packed_bytes += len(self._packed)
        self._digest.update(self._packed)
        return bool(self._packed)

    def _start_member(self) -> bool:
        """Begins the next gzip member; zero bytes between members are padding."""
        self._packed = self._packed.lstrip(b"\0")
        if not self._packed:
            return False
        if len(self._packed) == 1 and (rest := self._file.read(1)):
            self._packed += rest
            self._packed_bytes += 1
            self._digest.update(rest)
        if not self._packed.startswith(_MAGIC):
            raise BadStreamError("there is something else behind the gzip data")
        self._member = zlib.decompressobj(_GZIP_WINDOW_BITS)
        self._in_member = True
        return True
