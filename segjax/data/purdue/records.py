"""The pickle interpreter for data sets, which hands over each image record once it is read.

Long lists of small ints, which are nearly all of a PurdueShapes file, are parsed a whole run at a
time; every other byte goes through the interpreter. Records leave at once, so pixels never pile
up as Python objects.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from segjax.data.purdue.nodes import LONG_STRING, NAMES, Array, Blob, Dict, Dtype, List, new_tuple
from segjax.data.purdue.stream import BadStreamError, Stream, refuse_if
from segjax.data.purdue.unpickle import INSTRUCTIONS, Machine

_RECORD_PARTS = 5  # R, G, B, mask, boxes
_WINDOW = 1 << 15
_BININT1, _APPENDS = b"K"[0], b"e"[0]


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

    def set_items(self, items: list[Any]) -> None:
        """Set keys and values, in turn, in the dict on top of the stack."""
        target = self.top()
        odd = type(target) is not Dict or len(items) % 2
        refuse_if(odd, "an entry is set in what is not a dict")
        for key, value in zip(items[0::2], items[1::2], strict=True):
            target.set(key, value)

    def push_string(self, value: str | bytes) -> None:
        """Put a string on the stack; a long one is pixels."""
        long = len(value) >= LONG_STRING
        self._hold(len(value) if long else 0)
        self.stack.append(Blob(value) if long else value)

    def mark(self) -> None:
        """Remember how high the stack is; take a batch of small ints for a list in one go."""
        target = self.stack[-1] if self.stack else None
        if type(target) is List and target.small is not None and not target.closed:
            values, self.stream.pos = binary_run(self.stream.buf, self.stream.pos)
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
        target = self.append_all([self.pop()])
        # The text protocols have nothing shorter for long lists.
        if target.small is not None and len(target.small) > 8:
            values, self.stream.pos = text_run(self.stream.buf, self.stream.pos)
            self._extend(target, values)

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

        def plain(rest: list[Any]) -> bool:
            return rest[:6] == [None, None, None, -1, -1, 0]

        match self.top(), state:
            case Array() as target, (1, shape, dtype, fortran, data):
                target.fill(dtype, shape, data, "F" if fortran else "C")
            case Array(), (_, _, _, _, _):
                raise BadStreamError("it has an array of an unknown version")
            case Dtype() as dtype, (3 | 4, "|" | "<" | ">" | "=" as order, *rest) if plain(rest):
                dtype.check_open()
                dtype.numpy = np.dtype(dtype.numpy.str[1:]).newbyteorder(order)
            case Dtype(), (version, _, *rest) if version not in (3, 4) and plain(rest):
                raise BadStreamError("it has a dtype of an unknown version")
            case _:
                raise BadStreamError("it sets a state that is not that of a plain array or dtype")

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


def text_run(buf: bytes, pos: int) -> tuple[bytes, int]:
    """Parse ``I1\\naI2\\naI3\\na...`` at ``pos``, ints appended to a list, as far as it goes.

    It takes only the plain decimal spelling of 0..255 and leaves the rest, such as I01 (which is
    True), to the interpreter. Returns the values and the position behind them.
    """
    if buf[pos : pos + 1] != b"I":
        return b"", pos
    end = buf.find(b"aa", pos, pos + _WINDOW)  # of the list, which is appended to another
    end = end + 1 if end > 0 else buf.rfind(b"\na", pos, pos + _WINDOW) + 2
    text = np.frombuffer(buf, np.uint8, max(0, end - pos), pos)
    # Tokens "I" digits "\n" "a"; each ends with its "a". Without digits, "I" is at the ones' place.
    newline = np.flatnonzero(text == 10)
    begin = np.zeros_like(newline)
    np.add(newline[:-1], 2, out=begin[1:])
    digits = newline - begin - 1
    good = (text[begin] == 73) & (text[newline + 1] == 97)
    ones = text[newline - 1] - np.uint8(48)
    good &= ones <= 9
    values = ones.astype(np.uint16)
    longer = np.flatnonzero(digits > 1)
    for place, worth in ((2, 10), (3, 100)):
        at = longer[digits[longer] >= place]
        digit = text[newline[at] - place] - np.uint8(48)
        good[at] &= digit <= 9
        values[at] += digit * np.uint16(worth)
    # The plain spelling has no zeros in front.
    found = values[longer]
    good[longer] &= (digits[longer] == 1 + (found > 9) + (found > 99)) & (found <= 255)
    count = len(good) if good.all() else int(good.argmin())
    if not count:
        return b"", pos
    return values[:count].astype(np.uint8).tobytes(), pos + int(newline[count - 1]) + 2
