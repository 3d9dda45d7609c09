"""Reading a gzip file piece by piece, with a cap on what it may unpack to."""

from __future__ import annotations

import hashlib
import queue
import threading
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

    ``sha256`` is the digest of the packed
    bytes read so far: of the whole file once ``read`` has returned nothing.
    """

    def __init__(self, path: Path, *, max_unpacked_bytes: int) -> None:
        self._file = path.open("rb")
        self.size = path.stat().st_size
        self._max_unpacked_bytes = max_unpacked_bytes
        self._digest = hashlib.sha256()
        self._packed = b""
        self.packed_bytes = 0
        self._member = zlib.decompressobj(_GZIP_WINDOW_BITS)
        self._in_member = True
        self.unpacked_bytes = 0

    def __enter__(self) -> GzipSource:
        try:
            if self.size == 0:
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
        return b"".join(parts)

    def _fill(self) -> bool:
        self._packed = self._file.read(_PACKED_CHUNK)
        self.packed_bytes += len(self._packed)
        self._digest.update(self._packed)
        return bool(self._packed)

    def _start_member(self) -> bool:
        """Begins the next gzip member; zero bytes between members are padding."""
        self._packed = self._packed.lstrip(b"\0")
        if not self._packed:
            return False
        if len(self._packed) == 1 and (rest := self._file.read(1)):
            self._packed += rest
            self.packed_bytes += 1
            self._digest.update(rest)
        if not self._packed.startswith(_MAGIC):
            raise BadStreamError("there is something else behind the gzip data")
        self._member = zlib.decompressobj(_GZIP_WINDOW_BITS)
        self._in_member = True
        return True


class ReadAhead:
    """Unpacks a ``GzipSource`` on a thread of its own, a few pieces ahead of its reader.

    zlib works without Python's lock, so unpacking, a third of the work, runs beside parsing.
    ``on_progress(done, total)`` hears packed bytes, on the reader's thread.
    """

    _PIECE = 1 << 20
    _AHEAD = 4

    def __init__(
        self, source: GzipSource, *, on_progress: Callable[[int, int], None] | None = None
    ) -> None:
        self._source = source
        self._on_progress = on_progress
        self._pieces: queue.Queue[tuple[bytes, int] | BadStreamError | OSError | MemoryError]
        self._pieces = queue.Queue(self._AHEAD)
        self._stopped = threading.Event()
        self._at_end = False
        self._thread = threading.Thread(target=self._unpack, daemon=True, name="segjax-gunzip")
        self.unpacked_bytes = 0

    def __enter__(self) -> ReadAhead:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def read(self, size: int) -> bytes:
        """Returns at least ``size`` unpacked bytes, less only at the end.

        Raises:
          BadStreamError, OSError: what the source raised at this place.
        """
        parts: list[bytes] = []
        while size > 0 and not self._at_end:
            got = self._pieces.get()
            if not isinstance(got, tuple):
                raise got
            part, packed_bytes = got
            self._at_end = not part
            size -= len(part)
            self.unpacked_bytes += len(part)
            parts.append(part)
            if self._on_progress is not None:
                self._on_progress(packed_bytes, self._source.size)
        return b"".join(parts)

    def _unpack(self) -> None:
        try:
            while not self._stopped.is_set():
                part = self._source.read(self._PIECE)
                self._put((part, self._source.packed_bytes))
                if not part:
                    return
        except (BadStreamError, OSError, MemoryError) as error:
            self._put(error)

    def _put(self, item: tuple[bytes, int] | BadStreamError | OSError | MemoryError) -> None:
        while not self._stopped.is_set():
            try:
                self._pieces.put(item, timeout=0.05)
                return
            except queue.Full:
                continue
