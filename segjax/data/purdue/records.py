"""The pickle interpreter for data sets, which hands over each image record once it is read.

Long lists of small ints are parsed a whole run at a time, and lists of text begin with their first
ints in one go; every other byte goes through the interpreter. Records leave at once, so pixels
never pile up as Python objects.
"""

import itertools
import re
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from segjax.data.purdue.nodes import LONG_STRING, NAMES, Array, Blob, Dict, Dtype, List, new_tuple
from segjax.data.purdue.stream import BadStreamError, Stream, refuse_if
from segjax.data.purdue.unpickle import INSTRUCTIONS, MAX_MARKS, Machine

_RECORD_PARTS, _COLOURS = 5, 3  # R, G, B, mask, boxes
_WINDOW = 1 << 15
_BININT1, _APPENDS = b"K"[0], b"e"[0]
_NEW_LIST = re.compile(rb"lp(\d{1,19})\n((?:I(?:\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])\na){0,9})")
# By value: an int spelled behind another, as the last of eight bytes; its digits above one; the
# bits in front of that spelling. And what three digits in the bytes of a number are worth.
_SPELLED = np.frombuffer(b"".join((b"\naI%d\na" % v).rjust(8, b"\0") for v in range(256)), "<i8")
_LONGER = np.array([len(str(v)) - 1 for v in range(256)])
_BEFORE = 16 - 8 * _LONGER
_WORTH = 100 << 16 | 10 << 8 | 1


class RecordMachine(Machine):
    """Runs a data set's pickle; ``on_record(parts)`` gets [R, G, B, mask, boxes] nodes.

    ``on_record`` returns the row where it has put the image. ``run`` returns what the pickle
    says, with released ``List`` nodes in the place of images.
    """

    names = NAMES
    new_dict = Dict
    new_tuple = staticmethod(new_tuple)

    def __init__(self, stream: Stream, *, on_record: Callable[[list[Any]], int]) -> None:
        super().__init__(stream)
        self._on_record, self._held = on_record, 0
        self._runs = dict[int, tuple[bytes, int]]()  # read ahead, by offset

    def set_items(self, items: list[Any]) -> None:
        """Set keys and values, in turn, in the dict on top of the stack."""
        target = self.top()
        if type(target) is not Dict or len(items) % 2:
            raise BadStreamError("an entry is set in what is not a dict")
        for at in range(0, len(items), 2):
            target.set(items[at], items[at + 1])

    def push_string(self, value: str | bytes) -> None:
        """Put a string on the stack; a long one is pixels."""
        long = len(value) >= LONG_STRING
        self._hold(len(value) if long else 0)
        self.stack.append(Blob(value) if long else value)

    def mark(self) -> None:
        """Remember how high the stack is; take small ints for a list, or to begin it, in one go."""
        stream, target = self.stream, self.stack[-1] if self.stack else None
        if new := _NEW_LIST.match(stream.buf, stream.pos):
            # Counted as its instructions are one by one, which is how they come near a limit.
            ints = new[2].translate(None, b"Ia").split()
            done, height = self.done + 2 + 2 * len(ints), len(self.stack) + 2
            room = height <= stream.limits.stack and len(self.marks) < MAX_MARKS
            if room and done <= stream.budget:
                self.done, stream.pos = done, new.end()
                self.memo[int(new[1])] = target = List(bytearray(map(int, ints)))
                self.stack.append(target)
                self._take_text_run(target, _COLOURS)
                return
        elif type(target) is List and target.small is not None and not target.closed:
            values, stream.pos = binary_run(stream.buf, stream.pos)
            if values:
                self._extend(target, values)
                return
        super().mark()

    def push_list(self, items: list[Any]) -> None:
        """Push a list of ``items``."""
        self.stack.append(List())
        self.append_all(items)

    def append(self) -> None:
        """Append the topmost value to the list below."""
        self._take_text_run(self.append_all([self.pop()]))

    def append_all(self, items: list[Any]) -> List:
        """Append ``items`` to the list on top of the stack, and return that."""
        target = self.top()
        refuse_if(type(target) is not List, "something is appended to what is not a list")
        for item in items:
            target.append(item)
        if len(target.items) == _RECORD_PARTS and type(target.items[3]) is Array:
            # An image: its pixels need not wait any longer.
            target.row, target.items, target.closed = self._on_record(target.items), [], True
            self._held = 0
        return target

    def build(self, state: Any) -> None:
        """Set the state of the array or dtype on top of the stack."""
        plain = [None, None, None, -1, -1, 0]
        match self.top(), state:
            case Array() as target, (1, shape, dtype, fortran, data):
                target.fill(dtype, shape, data, "F" if fortran else "C")
            case Array(), (_, _, _, _, _):
                raise BadStreamError("it has an array of an unknown version")
            case Dtype(), (version, _, *end) if version not in (3, 4) and end[:6] == plain:
                raise BadStreamError("it has a dtype of an unknown version")
            case Dtype() as dtype, (_, "|" | "<" | ">" | "=" as order, *end) if end[:6] == plain:
                dtype.check_open()
                dtype.numpy = np.dtype(dtype.numpy.str[1:]).newbyteorder(order)
            case _:
                raise BadStreamError("it sets a state that is not that of a plain array or dtype")

    def _take_text_run(self, target: List, lists: int = 1) -> None:
        # The text protocols have nothing shorter for long lists.
        if target.small is not None and len(target.small) > 8:
            stream, at = self.stream, self.stream.offset
            if at not in self._runs:
                runs = text_runs(stream.buf, stream.pos, lists)
                self._runs = {at + start - stream.pos: run for start, run in runs.items()}
            values, size = self._runs.get(at, (b"", 0))
            stream.pos += size
            self._extend(target, values)

    def _extend(self, target: List, values: bytes) -> None:
        self._hold(len(values))
        target.extend_small(values)

    def _hold(self, size: int) -> None:
        self._held, most = self._held + size, self.stream.limits.held_bytes
        if self._held > most:
            raise BadStreamError(f"more than {most:,} bytes of it are not part of any image")

    instructions: ClassVar = {
        **INSTRUCTIONS,
        b"]": lambda m: m.push_list([]),
        b"l": lambda m: m.push_list(m.pop_mark()),
        b"a": append,
        b"e": lambda m: m.append_all(m.pop_mark()),
        b"b": lambda m: m.build(m.pop()),
    }


def binary_run(buf: bytes, pos: int) -> tuple[bytes, int]:
    """Parse ``K\\x01K\\x02...e`` at ``pos``, a batch of small ints appended to a list.

    Returns the values and the position behind them; none and ``pos`` if it is something else.
    """
    if buf[pos : pos + 1] != b"K":
        return b"", pos
    window = np.frombuffer(buf, np.uint8, min(_WINDOW, (len(buf) - pos) & ~1), pos)
    other = np.flatnonzero(window[0::2] != _BININT1)
    # A pair that starts with 'e' ends the batch: its other byte belongs to what follows.
    if not len(other) or window[2 * other[0]] != _APPENDS:
        return b"", pos
    end = 2 * int(other[0])
    return window[1:end:2].tobytes(), pos + end + 1


def text_runs(buf: bytes, pos: int, lists: int) -> dict[int, tuple[bytes, int]]:
    """Parse ``I1\\naI2\\naI3\\na...`` at ``pos``, ints appended to a list, as far as it goes.

    Of other lists of ints that follow at once, up to so many ``lists`` are parsed with it, each
    behind its first ints, which are ``_NEW_LIST``'s: the calls, which they share, are a third of
    the cost. It takes only the plain decimal spelling of 0..255 and leaves the rest, such as I01
    (which is True), to the interpreter. Returns by position the values and how many bytes they are.
    """
    parts: dict[int, bytes] = {}
    while len(parts) < lists and buf[pos : pos + 1] == b"I":
        end = buf.find(b"(", pos, pos + _WINDOW)  # no int has one, and one follows most lists
        end = buf.rfind(b"\na", pos, end if end > 0 else pos + _WINDOW) + 2
        if end < pos + 4:
            break
        parts[pos] = buf[pos:end]
        new = _NEW_LIST.match(buf, end + 2)  # behind a and (
        pos = new.end() if new else len(buf)
    if not parts:
        return {}
    # As if the lists were one, and another int were in front.
    data = b"    \na" + b"".join(parts.values())
    text = np.frombuffer(data, np.uint8)
    newline = text == 10
    ends = newline[:-1] & (text[1:] == 97)
    # Most ints are 0: look for "\naI0\na" everywhere, by its last newline ...
    zero = (text[4:-3] == 73) & (text[5:-2] == 48)
    zero &= ends[2:-4]
    zero &= ends[6:]
    # ... and at the other newlines for the spelling of any int, in eight bytes as a number.
    # Both begin with the end of the int in front, so nothing lies between two that pass.
    [other] = (newline[6:-1] > zero).nonzero()
    spelled = np.ndarray(len(data) - 7, "<i8", data, strides=(1,))[other]
    places = spelled >> 24
    digits = places & 0x0F0F0F & (places >> 4 & 0x010101) * 15  # neither "I" nor "a" has that bit
    values = digits * _WORTH >> 16 & 255
    good = (spelled ^ _SPELLED.take(values)) >> _BEFORE.take(values) == 0
    end = len(data) - 6
    if np.count_nonzero(good) < len(good):
        bad = int(good.argmin())
        end = data.rfind(b"\n", 0, 6 + int(other[bad])) - 4
        other, values = other[:bad], values[:bad]
    longer = np.zeros(len(other) + 1, np.intp)  # than four bytes an int
    _LONGER.take(values).cumsum(out=longer[1:])
    edges = np.minimum([0, *itertools.accumulate(map(len, parts.values()))], end)
    rows = ((edges - longer[other.searchsorted(edges)]) >> 2).tolist()
    found = np.zeros(rows[-1], np.uint8)
    found[(other - 2 - longer[1:]) >> 2] = values
    spans = zip(parts, itertools.pairwise(rows), np.diff(edges).tolist(), strict=True)
    return {start: (found[a:b].tobytes(), size) for start, (a, b), size in spans if size}
