"""A streaming pickle reader that can build data and nothing else.

It is a stack machine like pickle's own, for protocols 0 to 5, but names are looked up in a table
of eleven entries, what it builds are inert nodes, and bytes, opcodes, memory and depth are capped.
Long lists of small ints, which are nearly all of a PurdueShapes file, are parsed a whole run at a
time with NumPy; every other byte goes through the interpreter. A list that has become one image
record is handed to ``on_record`` at once, so pixels never pile up as Python objects.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from typing import Any

from segjax.data.purdue import nodes as nodes
from segjax.data.purdue.calls import CALLS, LONG_STRING, text_of
from segjax.data.purdue.gunzip import BadStreamError, ReadAhead
from segjax.data.purdue.input import Limits, PickleInput
from segjax.data.purdue.runs import binary_run, text_run

_MAX_STACK = 10_000  # binary protocols push 1,000 pairs before they set them
_RECORD_PARTS = 5  # R, G, B, mask, boxes


class PickleMachine:
    """Runs one pickle from ``source``; ``on_record(parts)`` gets [R, G, B, mask, boxes] nodes.

    ``on_record`` returns the row where it has put the image. ``run`` returns what the pickle
    says, with released ``List`` nodes in the place of images. Every defect is a ``BadStreamError``.
    """

    def __init__(
        self, source: ReadAhead, *, on_record: Callable[[list[Any]], int], limits: Limits
    ) -> None:
        self._input = PickleInput(source, limits=limits)
        self._on_record = on_record
        self._limits = limits
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._held = 0
        self._globals = {key: nodes.Global(role) for key, role in nodes.ALLOWED_GLOBALS.items()}

    @property
    def offset(self) -> int:
        """Position in the unpacked bytes, for messages and for what a file may ask for."""
        return self._input.offset

    def run(self) -> Any:
        """Interprets the whole file and returns its one object."""
        done = 0
        table = _HANDLERS
        while True:
            op = self._input.byte()
            done += 1
            if done > self._input.budget:
                raise BadStreamError(
                    f"more than {self._input.budget:,} pickle instructions by here"
                )
            if op == _STOP:
                return self._finish()
            handler = table[op]
            if handler is None:
                raise BadStreamError(f"pickle instruction {bytes([op])!r} is not allowed")
            handler(self)
            if len(self._stack) > _MAX_STACK:
                raise BadStreamError(f"the pickle stack is higher than {_MAX_STACK:,}")

    # Stack ------------------------------------------------------------------------------------

    def _pop(self) -> Any:
        floor = self._marks[-1] if self._marks else 0
        if len(self._stack) <= floor:
            raise BadStreamError("the pickle takes more from its stack than it has put there")
        return self._stack.pop()

    def _top(self) -> Any:
        floor = self._marks[-1] if self._marks else 0
        if len(self._stack) <= floor:
            raise BadStreamError("the pickle takes more from its stack than it has put there")
        return self._stack[-1]

    def _pop_mark(self) -> list[Any]:
        if not self._marks:
            raise BadStreamError("the pickle uses a mark that it has not set")
        mark = self._marks.pop()
        items = self._stack[mark:]
        del self._stack[mark:]
        return items

    def _hold(self, size: int) -> None:
        self._held += size
        if self._held > self._limits.held_bytes:
            raise BadStreamError(
                f"more than {self._limits.held_bytes:,} bytes of it are not part of any image"
            )

    def _finish(self) -> Any:
        result = self._pop()
        if self._stack or self._marks:
            raise BadStreamError("the pickle ends with more than one object")
        if not self._input.ended():
            raise BadStreamError("there are more bytes behind the end of the pickle")
        return result

    # Ints -------------------------------------------------------------------------------------

    def _int_line(self) -> None:
        line = self._input.short_line()
        if line == b"00" or line == b"01":
            self._stack.append(line == b"01")
        else:
            self._stack.append(_decimal(line))

    def _long_line(self) -> None:
        self._stack.append(_decimal(self._input.short_line().removesuffix(b"L")))

    def _fixed_int(self, size: int, *, signed: bool) -> None:
        self._stack.append(int.from_bytes(self._input.take(size), "little", signed=signed))

    def _long1(self) -> None:
        size = self._input.take(1)[0]
        if size > 8:
            raise BadStreamError("an int is longer than 8 bytes")
        self._fixed_int(size, signed=True)

    def _float_line(self) -> None:
        try:
            self._stack.append(float(self._input.short_line()))
        except ValueError:
            raise BadStreamError("a number is not a number") from None

    # Strings ----------------------------------------------------------------------------------

    def _push_string(self, data: bytes | str) -> None:
        if len(data) < LONG_STRING:
            self._stack.append(data)
        else:
            self._hold(len(data))
            self._stack.append(nodes.Blob(data))

    def _push_python2_string(self, data: bytes) -> None:
        # Python 2 had one type for text and bytes; short ones are names here, long ones pixels.
        self._push_string(data.decode("latin1") if len(data) < LONG_STRING else data)

    def _string_line(self) -> None:
        line = self._input.line()
        if len(line) < 2 or line[0] != line[-1] or line[:1] not in (b"'", b'"'):
            raise BadStreamError("a string has no closing quote")
        try:
            data, _ = codecs.escape_decode(line[1:-1])
        except (ValueError, Warning):
            raise BadStreamError("a string holds a wrong escape") from None
        assert isinstance(data, bytes)
        self._push_python2_string(data)

    def _unicode_line(self) -> None:
        try:
            self._push_string(self._input.line().decode("raw-unicode-escape"))
        except (ValueError, Warning):
            raise BadStreamError("a string holds a wrong escape") from None

    def _sized(self, width: int) -> bytes:
        return self._input.take(int.from_bytes(self._input.take(width), "little"))

    def _unicode(self, width: int) -> None:
        try:
            self._push_string(self._sized(width).decode("utf-8", "surrogatepass"))
        except UnicodeDecodeError:
            raise BadStreamError("a string is not UTF-8") from None

    # Containers -------------------------------------------------------------------------------

    def _mark(self) -> None:
        self._marks.append(len(self._stack))
        if len(self._marks) > 100:
            raise BadStreamError("more than 100 marks are open")
        if self._input.pos < len(self._input.buf) and self._input.buf[self._input.pos] == _BININT1:
            self._binary_run()

    def _binary_run(self) -> None:
        """Handles a batch of small ints appended to a list in one go."""
        target = self._stack[-1] if self._stack else None
        if type(target) is not nodes.List or target.small is None or target.closed:
            return
        found = binary_run(self._input.buf, self._input.pos)
        if found is None:
            return
        self._marks.pop()
        self._hold(len(found[0]))
        target.extend_small(found[0])
        self._input.pos = found[1]

    def _append(self) -> None:
        value = self._pop()
        target = self._top()
        if type(target) is not nodes.List:
            raise BadStreamError("something is appended to what is not a list")
        # Text protocol: from the ninth item on, "I7\na" repeated is parsed as a run.
        if (
            target.small is not None
            and len(target.small) >= 8
            and type(value) is int
            and self._input.buf[self._input.pos : self._input.pos + 1] == b"I"
        ):
            target.append(value)
            if target.small is not None:  # the value may have been above 255
                values, self._input.pos = text_run(self._input.buf, self._input.pos)
                self._hold(len(values))
                target.extend_small(values)
            return
        target.append(value)
        if len(target.items) == _RECORD_PARTS:
            self._maybe_record(target)

    def _appends(self) -> None:
        items = self._pop_mark()
        target = self._top()
        if type(target) is not nodes.List:
            raise BadStreamError("something is appended to what is not a list")
        for item in items:
            target.append(item)
        self._maybe_record(target)

    def _maybe_record(self, target: nodes.List) -> None:
        """Hands a list over as soon as it is an image: its pixels need not wait any longer."""
        if target.small is not None or len(target.items) != _RECORD_PARTS:
            return
        parts = target.items
        if type(parts[3]) is not nodes.Array:
            return
        target.row = self._on_record(parts)
        target.items = []
        target.closed = True
        self._held = 0

    def _list_of_mark(self) -> None:
        made = nodes.List()
        items = self._pop_mark()
        for item in items:
            made.append(item)
        self._stack.append(made)
        self._maybe_record(made)

    def _dict_of_mark(self) -> None:
        made = nodes.Dict()
        self._set_pairs(made, self._pop_mark())
        self._stack.append(made)

    def _set_items(self) -> None:
        items = self._pop_mark()
        self._set_pairs(self._top(), items)

    def _set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._set_pairs(self._top(), [key, value])

    def _set_pairs(self, target: Any, items: list[Any]) -> None:
        if type(target) is not nodes.Dict or len(items) % 2:
            raise BadStreamError("an entry is set in what is not a dict")
        for key, value in zip(items[0::2], items[1::2], strict=True):
            target.set(key, value)

    def _tuple(self, size: int) -> None:
        items = [self._pop() for _ in range(size)][::-1]
        self._stack.append(nodes.make_tuple(items))

    # Memo -------------------------------------------------------------------------------------

    def _put(self, index: int) -> None:
        if index < 0:
            raise BadStreamError("a memo index is negative")
        self._memo[index] = self._top()

    def _get(self, index: int) -> None:
        try:
            self._stack.append(self._memo[index])
        except KeyError:
            raise BadStreamError(f"the pickle refers to memo {index}, which is not set") from None

    # Names and what they do -------------------------------------------------------------------

    def _push_global(self, module: Any, name: Any) -> None:
        found = None
        if type(module) is str and type(name) is str:
            found = self._globals.get((module, name))
        if found is None:
            shown = f"{module}.{name}" if type(module) is str and type(name) is str else "?"
            raise BadStreamError(f"it asks for the name {shown[:80]!r}, which no data file needs")
        self._stack.append(found)

    def _global_line(self) -> None:
        module = self._input.short_line().decode("latin1")
        self._push_global(module, self._input.short_line().decode("latin1"))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        self._push_global(module, name)

    def _reduce(self) -> None:
        args, func = self._pop(), self._pop()
        if type(func) is not nodes.Global or type(args) is not tuple:
            raise BadStreamError("it calls what is not a function of the allowed ones")
        call = CALLS.get(func.role)
        if call is None:
            raise BadStreamError(f"it calls {func.role}, which no data file does")
        result = call(args)
        if result is None:
            raise BadStreamError(f"it calls {func.role} with wrong arguments")
        self._stack.append(result)

    def _build(self) -> None:
        state, target = self._pop(), self._top()
        if type(target) is nodes.Array and type(state) is tuple and len(state) == 5:
            version, shape, dtype, fortran, data = state
            if version != 1:
                raise BadStreamError("it has an array of an unknown version")
            target.fill(dtype, shape, data, fortran=bool(fortran))
            return
        # NumPy's dtype state: version, byte order, and nothing for a plain dtype.
        plain = (None, None, None, -1, -1, 0)
        if type(target) is nodes.Dtype and type(state) is tuple and state[2:8] == plain:
            if state[0] not in (3, 4):
                raise BadStreamError("it has a dtype of an unknown version")
            target.check_open()
            order = text_of(state[1])
            if order in ("|", "<", ">", "="):
                target.order = order
                return
        raise BadStreamError("it sets a state that is not that of a plain array or dtype")

    def _proto(self) -> None:
        if self._input.take(1)[0] > 5:
            raise BadStreamError("its pickle protocol is newer than 5")

    def _frame(self) -> None:
        self._input.take(8)


def _decimal(text: bytes) -> int:
    digits = text.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > 19:
        raise BadStreamError("an int is not a plain number of at most 19 digits")
    return int(text)


_STOP, _BININT1, _APPENDS = b"."[0], b"K"[0], b"e"[0]

# Left out on purpose: POP, DUP, INST, OBJ, NEWOBJ, EXT, PERSID, sets and out-of-band buffers,
# which no file of this format has.
_Handler = Callable[[PickleMachine], None]
_M = PickleMachine
_OPCODES: dict[bytes, _Handler] = {
    b"(": _M._mark,
    b"F": _M._float_line,
    b"G": lambda m: m._stack.append(struct.unpack(">d", m._input.take(8))[0]),
    b"I": _M._int_line,
    b"J": lambda m: m._fixed_int(4, signed=True),
    b"K": lambda m: m._fixed_int(1, signed=False),
    b"L": _M._long_line,
    b"M": lambda m: m._fixed_int(2, signed=False),
    b"N": lambda m: m._stack.append(None),
    b"R": _M._reduce,
    b"S": _M._string_line,
    b"T": lambda m: m._push_python2_string(m._sized(4)),
    b"U": lambda m: m._push_python2_string(m._sized(1)),
    b"V": _M._unicode_line,
    b"X": lambda m: m._unicode(4),
    b"B": lambda m: m._push_string(m._sized(4)),
    b"C": lambda m: m._push_string(m._sized(1)),
    b"a": _M._append,
    b"b": _M._build,
    b"c": _M._global_line,
    b"d": _M._dict_of_mark,
    b"e": _M._appends,
    b"g": lambda m: m._get(_decimal(m._input.short_line())),
    b"h": lambda m: m._get(m._input.take(1)[0]),
    b"j": lambda m: m._get(int.from_bytes(m._input.take(4), "little")),
    b"l": _M._list_of_mark,
    b"p": lambda m: m._put(_decimal(m._input.short_line())),
    b"q": lambda m: m._put(m._input.take(1)[0]),
    b"r": lambda m: m._put(int.from_bytes(m._input.take(4), "little")),
    b"s": _M._set_item,
    b"t": lambda m: m._stack.append(nodes.make_tuple(m._pop_mark())),
    b"u": _M._set_items,
    b"]": lambda m: m._stack.append(nodes.List()),
    b"}": lambda m: m._stack.append(nodes.Dict()),
    b")": lambda m: m._stack.append(()),
    b"\x80": _M._proto,
    b"\x85": lambda m: m._tuple(1),
    b"\x86": lambda m: m._tuple(2),
    b"\x87": lambda m: m._tuple(3),
    b"\x88": lambda m: m._stack.append(True),
    b"\x89": lambda m: m._stack.append(False),
    b"\x8a": _M._long1,
    b"\x8c": lambda m: m._unicode(1),
    b"\x8d": lambda m: m._unicode(8),
    b"\x8e": lambda m: m._push_string(m._sized(8)),
    b"\x93": _M._stack_global,
    b"\x94": lambda m: m._put(len(m._memo)),
    b"\x95": _M._frame,
    b"\x96": lambda m: m._push_string(m._sized(8)),
}
_HANDLERS: list[_Handler | None] = [_OPCODES.get(bytes([code])) for code in range(256)]
