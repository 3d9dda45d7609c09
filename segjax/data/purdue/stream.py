"""The bytes of a pickle, unpacked from gzip ahead of their reader, under the caps of ``Limits``."""

import collections
import dataclasses
import hashlib
import os
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

_PACKED = 1 << 16
_PIECE = 1 << 20
_AHEAD = 4
_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW_BITS = 31  # zlib's way to say: gzip header and trailer, whose CRC-32 it checks
_LOOKAHEAD = 1 << 16
_MAX_LINE = 1 << 28
_BYTES_PER_OPCODE = 16


class BadStreamError(Exception):
    """Why the content of a file cannot be read; the caller adds the file's name."""


def refuse_if(wrong: object, why: str) -> None:
    """Raise BadStreamError that says ``why`` if something is ``wrong``."""
    if wrong:
        raise BadStreamError(why)


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a file may cost to read, whatever it says itself.

    Attributes:
      unpacked_bytes: bytes after gunzip; the real training file has 1.33e9.
      opcodes: pickle instructions, a run of ints counting as one; the real one has 1.3e6.
      opcodes_base: how many of them a file may have whatever its size; of a larger one, one more
        for each 16 bytes.
      held_bytes: pixels and strings that are read but not yet part of a finished image.
      stack: values at hand at a time; binary protocols push 1,000 pairs before they set them.
    """

    unpacked_bytes: int = 8 << 30
    opcodes: int = 20_000_000
    opcodes_base: int = 200_000
    held_bytes: int = 512 << 20
    stack: int = 10_000


class Gunzip:
    """A forward-only reader of a gzip file, ``packed_bytes`` of ``size`` bytes into it.

    ``digest`` is the SHA-256 of the packed bytes read so far; in the end, of the whole file.
    """

    def __init__(self, file: BinaryIO, *, max_unpacked_bytes: int) -> None:
        self._file, self._max_unpacked_bytes = file, max_unpacked_bytes
        self.digest = hashlib.sha256()
        self.size = os.fstat(file.fileno()).st_size
        self.packed_bytes = 0
        self._packed = self._read(_PACKED)
        refuse_if(not self._packed, "the file is empty")
        refuse_if(not self._packed.startswith(_MAGIC), "it is not a gzip file")

    def pieces(self) -> Iterator[bytes]:
        """Yield the unpacked bytes, at most 1 MiB at a time; BadStreamError if they are damaged."""
        packed, unpacked_bytes = self._packed, 0
        while packed:
            member = zlib.decompressobj(_GZIP_WINDOW_BITS)
            while not member.eof:
                try:
                    piece = member.decompress(packed, _PIECE)
                except zlib.error as error:
                    raise BadStreamError(f"the gzip data is damaged ({error})") from None
                # zlib may still hold output after its last input byte: only silence is the end.
                silent = not packed and not piece and not member.eof
                refuse_if(silent, "the gzip data ends early; the file is truncated")
                packed = member.unconsumed_tail or member.unused_data or self._read(_PACKED)
                unpacked_bytes += len(piece)
                refuse_if(
                    unpacked_bytes > self._max_unpacked_bytes,
                    f"it unpacks to more than {self._max_unpacked_bytes:,} bytes"
                    " (raise max_unpacked_bytes if you trust it)",
                )
                if piece:
                    yield piece
            # Zero bytes between members are padding.
            while packed and not (packed := packed.lstrip(b"\0")):
                packed = self._read(_PACKED)
            if len(packed) == 1:
                packed += self._read(1)
            other = packed and not packed.startswith(_MAGIC)
            refuse_if(other, "there is something else behind the gzip data")

    def _read(self, size: int) -> bytes:
        packed = self._file.read(size)
        self.packed_bytes += len(packed)
        self.digest.update(packed)
        return packed


def read_ahead(
    source: Gunzip, *, on_progress: Callable[[int, int], None] | None = None
) -> Generator[bytes]:
    """Yield the pieces of ``source``, unpacked on a thread of its own, a few ahead of the reader.

    zlib works without Python's lock, so unpacking runs beside parsing. ``on_progress(done, total)``
    hears packed bytes, on the reader's thread.
    """
    pieces = source.pieces()
    with ThreadPoolExecutor(1, "segjax-gunzip") as thread:
        ahead = collections.deque(thread.submit(next, pieces, b"") for _ in range(_AHEAD))
        while True:
            piece = ahead.popleft().result()
            if on_progress is not None:
                on_progress(source.packed_bytes, source.size)
            if not piece:
                return
            ahead.append(thread.submit(next, pieces, b""))
            yield piece


class Stream:
    """A buffer over ``pieces`` that holds at least ``_LOOKAHEAD`` bytes when a loop starts.

    Attributes:
      buf, pos: the buffer and where in it the next byte is; ``byte`` refills at ``refill_at``.
      budget: how many instructions a file may have by now.
    """

    def __init__(self, pieces: Iterable[bytes], *, limits: Limits) -> None:
        self._pieces, self.limits = iter(pieces), limits
        self.buf, self.pos, self.budget = b"", 0, 0
        self._unpacked_bytes, self.refill_at, self._at_end = 0, 0, False

    @property
    def offset(self) -> int:
        """Position in the unpacked bytes, for messages and for what a file may ask for."""
        return self._unpacked_bytes - len(self.buf) + self.pos

    def byte(self) -> int:
        """Return the next byte, an instruction."""
        if self.pos >= self.refill_at and not self._at_end:
            self._refill()
        if self.pos >= len(self.buf):
            raise BadStreamError("the pickle ends early")
        self.pos += 1
        return self.buf[self.pos - 1]

    def ended(self) -> bool:
        """Tell whether nothing is left."""
        return self.pos >= len(self.buf) and not next(self._pieces, b"")

    def _refill(self, need: int = 0) -> None:
        """Drop what was read and take more: at least ``need`` bytes, if there are so many."""
        parts = [self.buf[self.pos :]]
        # Doubling keeps a very long line from being copied once per piece.
        wanted = max(_PIECE, need - len(parts[0]), len(parts[0]))
        while wanted > 0 and (piece := next(self._pieces, b"")):
            parts.append(piece)
            wanted -= len(piece)
        self._at_end = len(parts) == 1
        self._unpacked_bytes += sum(map(len, parts[1:]))
        self.buf, self.pos = b"".join(parts), 0
        self.refill_at = max(0, len(self.buf) - _LOOKAHEAD)
        earned = self.limits.opcodes_base + self._unpacked_bytes // _BYTES_PER_OPCODE
        self.budget = min(self.limits.opcodes, earned)

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes."""
        if size > _MAX_LINE:
            raise BadStreamError(f"a string claims {size:,} bytes")
        while len(self.buf) - self.pos < size:
            refuse_if(self._at_end, "the pickle ends early")
            self._refill(size)
        self.pos += size
        return self.buf[self.pos - size : self.pos]

    def integer(self, size: int) -> int:
        """Return the unsigned int in the next ``size`` bytes, low byte first."""
        return int.from_bytes(self.take(size), "little")

    def line(self) -> bytes:
        """Return the bytes up to the next newline, which is skipped."""
        while (end := self.buf.find(b"\n", self.pos)) < 0:
            refuse_if(self._at_end, "the pickle ends early")
            held = len(self.buf) - self.pos
            refuse_if(held > _MAX_LINE, f"a line is longer than {_MAX_LINE:,} bytes")
            self._refill()
        start, self.pos = self.pos, end + 1
        return self.buf[start:end]

    def short_line(self) -> bytes:
        """Return a line that holds a number or a name."""
        line = self.line()
        refuse_if(len(line) > 100, "a number or name is longer than 100 bytes")
        return line
