"""The bytes of a pickle, as they come out of gunzip, under the caps of ``Limits``."""

from __future__ import annotations

import dataclasses

from segjax.data.purdue.gunzip import BadStreamError, ReadAhead

_CHUNK = 1 << 20
_LOOKAHEAD = 1 << 16
_MAX_LINE = 1 << 28


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a file may cost to read, whatever it says itself.

    Attributes:
      unpacked_bytes: bytes after gunzip; the real training file has 1.33e9.
      opcodes: pickle instructions, a run of ints counting as one; the real one has 1.3e6.
      opcodes_base: how many of them a file may have whatever its size.
      bytes_per_opcode: a file longer than that may hold one more per this many bytes.
      held_bytes: pixels and strings that are read but not yet part of a finished image.
    """

    unpacked_bytes: int = 8 << 30
    opcodes: int = 20_000_000
    opcodes_base: int = 200_000
    bytes_per_opcode: int = 16
    held_bytes: int = 512 << 20


class PickleInput:
    """A buffer over ``source`` that holds at least ``_LOOKAHEAD`` bytes when a loop starts.

    Attributes:
      buf, pos: the buffer and where in it the next byte is.
      budget: how many instructions a file may have by now.
    """

    def __init__(self, source: ReadAhead, *, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self.buf = b""
        self.pos = 0
        self.budget = 0
        self._refill_at = 0
        self._at_end = False

    @property
    def offset(self) -> int:
        """Position in the unpacked bytes, for messages and for what a file may ask for."""
        return self._source.unpacked_bytes - len(self.buf) + self.pos

    def byte(self) -> int:
        """Returns the next byte, an instruction."""
        if self.pos >= self._refill_at and not self._at_end:
            self._refill()
        if self.pos >= len(self.buf):
            raise BadStreamError("the pickle ends early")
        self.pos += 1
        return self.buf[self.pos - 1]

    def ended(self) -> bool:
        """Tells whether nothing is left."""
        return self.pos >= len(self.buf) and not self._source.read(1)

    def _refill(self, need: int = 0) -> None:
        """Drops what was read and unpacks more: at least ``need`` bytes, if there are so many."""
        rest = self.buf[self.pos :]
        # Doubling keeps a very long line from being copied once per chunk.
        chunk = self._source.read(max(_CHUNK, need - len(rest), len(rest)))
        self._at_end = not chunk
        self.buf = rest + chunk
        self.pos = 0
        self._refill_at = max(0, len(self.buf) - _LOOKAHEAD)
        self.budget = min(
            self._limits.opcodes,
            self._limits.opcodes_base
            + self._source.unpacked_bytes // self._limits.bytes_per_opcode,
        )

    def take(self, size: int) -> bytes:
        """Returns the next ``size`` bytes."""
        if size > _MAX_LINE:
            raise BadStreamError(f"a string claims {size:,} bytes")
        while len(self.buf) - self.pos < size:
            if self._at_end:
                raise BadStreamError("the pickle ends early")
            self._refill(size)
        data = self.buf[self.pos : self.pos + size]
        self.pos += size
        return data

    def line(self) -> bytes:
        """Returns the bytes up to the next newline, which is skipped."""
        end = self.buf.find(b"\n", self.pos)
        while end < 0:
            if self._at_end:
                raise BadStreamError("the pickle ends early")
            if len(self.buf) - self.pos > _MAX_LINE:
                raise BadStreamError(f"a line is longer than {_MAX_LINE:,} bytes")
            self._refill()
            end = self.buf.find(b"\n", self.pos)
        line = self.buf[self.pos : end]
        self.pos = end + 1
        return line

    def short_line(self) -> bytes:
        """Returns a line that holds a number or a name."""
        line = self.line()
        if len(line) > 100:
            raise BadStreamError("a number or name is longer than 100 bytes")
        return line
