"""A pickle interpreter that builds data and nothing else.

It is a stack machine like pickle's own, for protocols 0 to 5. Instructions and names are looked
up in tables; nothing is imported, and only what a table holds can be called. Each reader has
tables of its own and says what containers and calls give.
"""

import codecs
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from operator import methodcaller
from typing import Any, ClassVar

from segjax.data.purdue.stream import BadStreamError, Stream, refuse_if

MAX_MARKS = 100
_STOP = b"."[0]


@dataclass(frozen=True, slots=True)
class Name:
    """What a name in a pickle stands for: a role and, if it may be called, a function.

    The function gets the arguments; it returns None if they are not those of this name.
    """

    role: str
    call: Callable[[tuple[Any, ...]], Any] | None = None


class Machine:
    """Runs one pickle; every defect is a ``BadStreamError``.

    Each reader says what the allowed ``instructions`` do, what ``names``, by module and name,
    stand for, and what makes an empty dict, and a tuple of a list.
    """

    instructions: ClassVar[Mapping[bytes, Callable[[Any], None]]]
    names: ClassVar[Mapping[tuple[str, ...], Name]]
    new_dict: ClassVar[Any] = dict
    new_tuple: ClassVar[Any] = tuple

    def __init__(self, stream: Stream) -> None:
        self.stream, self.memo = stream, dict[int, Any]()
        self.stack, self.marks, self.done = list[Any](), list[int](), 0

    def run(self) -> Any:
        """Interpret the whole stream and return its one object."""
        table = [self.instructions.get(bytes([code])) for code in range(256)]
        stream, stack, most = self.stream, self.stack, self.stream.limits.stack
        while True:
            if (pos := stream.pos) < stream.refill_at:  # as byte() does, for most of them
                code, stream.pos = stream.buf[pos], pos + 1
            else:
                code = stream.byte()
            self.done += 1
            if self.done > stream.budget:
                raise BadStreamError(f"more than {stream.budget:,} pickle instructions by here")
            if code == _STOP:
                break
            instruction = table[code]
            if instruction is None:
                raise self.no_instruction(bytes([code]))
            instruction(self)
            if len(stack) > most:
                raise BadStreamError(f"the pickle stack is higher than {most:,}")
        result = self.pop()
        refuse_if(stack or self.marks, "the pickle ends with more than one object")
        refuse_if(not stream.ended(), "there are more bytes behind the end of the pickle")
        return result

    def set_items(self, items: list[Any]) -> None:
        """Set keys and values, in turn, in the dict on top of the stack."""
        raise NotImplementedError

    def push_string(self, value: str | bytes) -> None:
        """Put a string on the stack."""
        self.stack.append(value)

    def no_instruction(self, code: bytes) -> Exception:
        """Return what is raised at an instruction that is not in the table."""
        return BadStreamError(f"pickle instruction {code!r} is not allowed")

    def no_name(self, *path: str) -> Exception:
        """Return what is raised at a name, (module, name), that is not in the table."""
        shown = ".".join(path)[:80]
        return BadStreamError(f"it asks for the name {shown!r}, which no data file needs")

    def pop(self) -> Any:
        """Take off the topmost value and return it."""
        self.top()
        return self.stack.pop()

    def top(self, count: int = 1) -> Any:
        """Return the topmost value; BadStreamError if there are not ``count`` above the mark."""
        if len(self.stack) - count < (self.marks[-1] if self.marks else 0):
            raise BadStreamError("the pickle takes more from its stack than it has put there")
        return self.stack[-1]

    def pop_many(self, count: int) -> list[Any]:
        """Take off the topmost ``count`` values and return them, the topmost last."""
        self.top(count)
        items, self.stack[-count:] = self.stack[-count:], []
        return items

    def mark(self) -> None:
        """Remember how high the stack is."""
        self.marks.append(len(self.stack))
        if len(self.marks) > MAX_MARKS:
            raise BadStreamError(f"more than {MAX_MARKS} marks are open")

    def pop_mark(self) -> list[Any]:
        """Forget the last mark, take off what lies above it and return that."""
        refuse_if(not self.marks, "the pickle uses a mark that it has not set")
        mark = self.marks.pop()
        items, self.stack[mark:] = self.stack[mark:], []
        return items

    def _put(self, index: int) -> None:
        if index < 0:
            raise BadStreamError("a memo index is negative")
        self.memo[index] = self.top()

    def _get(self, index: int) -> None:
        refuse_if(index not in self.memo, f"the pickle refers to memo {index}, which is not set")
        self.stack.append(self.memo[index])

    def _push_dict(self, items: list[Any]) -> None:
        self.stack.append(self.new_dict())
        self.set_items(items)

    def _push_name(self, module: Any, name: Any) -> None:
        path = (module, name) if type(module) is type(name) is str else ("?",)
        if path not in self.names:
            raise self.no_name(*path)
        self.stack.append(self.names[path])

    def _reduce(self, name: Any, args: Any) -> None:
        odd = type(name) is not Name or type(args) is not tuple
        refuse_if(odd, "it calls what is not a function of the allowed ones")
        refuse_if(name.call is None, f"it calls {name.role}, which no data file does")
        result = name.call(args)
        refuse_if(result is None, f"it calls {name.role} with wrong arguments")
        self.stack.append(result)


def _sized(width: int) -> Callable[[Stream], bytes]:
    return lambda stream: stream.take(stream.integer(width))


def _long_int(stream: Stream) -> bytes:
    size = stream.integer(1)
    refuse_if(size > 8, "an int is longer than 8 bytes")
    return stream.take(size)


def _decimal(line: bytes) -> int:
    digits = line.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > 19:
        raise BadStreamError("an int is not a plain number of at most 19 digits")
    return int(line)


def _unquoted(line: bytes) -> str:
    quoted = len(line) > 1 and line[0] == line[-1] and line[:1] in (b"'", b'"')
    refuse_if(not quoted, "a string has no closing quote")
    return bytes(codecs.escape_decode(memoryview(line)[1:-1])[0]).decode("latin1")


_unsigned = partial(int.from_bytes, byteorder="little")
_signed = partial(int.from_bytes, byteorder="little", signed=True)
_utf8 = methodcaller("decode", "utf-8", "surrogatepass")
# Python 2 had one type for text and bytes; read as latin-1, it can become either.
_latin1 = methodcaller("decode", "latin1")
_escaped = methodcaller("decode", "raw-unicode-escape")

# Numbers and strings: where their bytes end, what these mean, and what is wrong if nothing.
_LITERALS: dict[bytes, tuple[Callable[[Stream], bytes], Callable[[bytes], Any], str]] = {
    b"I": (Stream.short_line, lambda n: n == b"01" if n in (b"00", b"01") else _decimal(n), ""),
    b"L": (Stream.short_line, lambda line: _decimal(line.removesuffix(b"L")), ""),
    b"J": (methodcaller("take", 4), _signed, ""),
    b"K": (methodcaller("take", 1), _unsigned, ""),
    b"M": (methodcaller("take", 2), _unsigned, ""),
    b"\x8a": (_long_int, _signed, ""),
    b"F": (Stream.short_line, float, "a number is not a number"),
    b"G": (methodcaller("take", 8), lambda data: struct.unpack(">d", data)[0], ""),
    b"S": (Stream.line, _unquoted, "a string holds a wrong escape"),
    b"T": (_sized(4), _latin1, ""),
    b"U": (_sized(1), _latin1, ""),
    b"V": (Stream.line, _escaped, "a string holds a wrong escape"),
    b"X": (_sized(4), _utf8, "a string is not UTF-8"),
    b"\x8c": (_sized(1), _utf8, "a string is not UTF-8"),
    b"\x8d": (_sized(8), _utf8, "a string is not UTF-8"),
    b"B": (_sized(4), bytes, ""),
    b"C": (_sized(1), bytes, ""),
    b"\x8e": (_sized(8), bytes, ""),
    b"\x96": (_sized(8), bytes, ""),
}


def _literal(
    read: Callable[[Stream], bytes], meaning: Callable[[bytes], Any], defect: str
) -> Callable[[Machine], None]:
    def push_literal(machine: Machine) -> None:
        data = read(machine.stream)
        try:
            value = meaning(data)
        except (ValueError, Warning):
            raise BadStreamError(defect) from None
        if type(value) in (str, bytes):
            machine.push_string(value)
        else:
            machine.stack.append(value)

    return push_literal


# Left out on purpose: POP, DUP, INST, OBJ, NEWOBJ, EXT, PERSID, sets and out-of-band buffers,
# which no data file has. What lists, BUILD and BINPERSID mean is up to each reader.
INSTRUCTIONS: dict[bytes, Callable[[Any], None]] = {
    **{code: _literal(*row) for code, row in _LITERALS.items()},
    b"N": lambda m: m.stack.append(None),
    b"\x88": lambda m: m.stack.append(True),
    b"\x89": lambda m: m.stack.append(False),
    b"(": lambda m: m.mark(),
    b")": lambda m: m.stack.append(()),
    b"t": lambda m: m.stack.append(m.new_tuple(m.pop_mark())),
    b"\x85": lambda m: m.stack.append(m.new_tuple(m.pop_many(1))),
    b"\x86": lambda m: m.stack.append(m.new_tuple(m.pop_many(2))),
    b"\x87": lambda m: m.stack.append(m.new_tuple(m.pop_many(3))),
    b"}": lambda m: m._push_dict([]),
    b"d": lambda m: m._push_dict(m.pop_mark()),
    b"s": lambda m: m.set_items(m.pop_many(2)),
    b"u": lambda m: m.set_items(m.pop_mark()),
    b"p": lambda m: m._put(_decimal(m.stream.short_line())),
    b"q": lambda m: m._put(m.stream.integer(1)),
    b"r": lambda m: m._put(m.stream.integer(4)),
    b"\x94": lambda m: m._put(len(m.memo)),
    b"g": lambda m: m._get(_decimal(m.stream.short_line())),
    b"h": lambda m: m._get(m.stream.integer(1)),
    b"j": lambda m: m._get(m.stream.integer(4)),
    b"c": lambda m: m._push_name(*(_latin1(m.stream.short_line()) for _ in range(2))),
    b"\x93": lambda m: m._push_name(*m.pop_many(2)),
    b"R": lambda m: m._reduce(*m.pop_many(2)),
    b"\x80": lambda m: refuse_if(m.stream.integer(1) > 5, "its pickle protocol is newer than 5"),
    b"\x95": lambda m: m.stream.take(8),
}
