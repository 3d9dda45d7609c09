"""Runs of small ints in a pickle, parsed with NumPy: nearly all of a PurdueShapes file."""

from __future__ import annotations

import numpy as np

_WINDOW = 1 << 15
_BININT1, _APPENDS = b"K"[0], b"e"[0]


def binary_run(buf: bytes, pos: int) -> tuple[bytes, int]:
    """Parse ``K\\x01K\\x02...e`` at ``pos``, a batch of small ints appended to a list.

    Returns:
      The values and the position behind them; none and ``pos`` if it is something else.
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
    True), to the interpreter.

    Returns:
      The values and the position behind them.
    """
    if buf[pos : pos + 1] != b"I":
        return b"", pos
    end = buf.find(b"aa", pos, pos + _WINDOW)
    end = min(len(buf), pos + _WINDOW) if end < 0 else end + 1
    text = np.frombuffer(buf, np.uint8, end - pos, pos)
    # Tokens "I" digits "\n" "a"; each ends with its "a".
    newline = np.flatnonzero(text == 10)
    newline = newline[newline + 1 < len(text)]
    if not len(newline):
        return b"", pos
    begin = np.empty_like(newline)
    begin[0] = 0
    np.add(newline[:-1], 2, out=begin[1:])
    digits = newline - begin - 1
    good = (text[begin] == 73) & (text[newline + 1] == 97) & (digits > 0) & (digits < 4)
    ones = text[newline - 1] - np.uint8(48)
    good &= ones <= 9
    values = ones.astype(np.uint16)
    longer = np.flatnonzero(good & (digits > 1))
    if len(longer):
        at = newline[longer]
        tens = text[at - 2] - np.uint8(48)
        three = digits[longer] == 3
        hundreds = np.where(three, text[at - 3] - np.uint8(48), np.uint8(0))
        leading = np.where(three, hundreds, tens)
        number = values[longer] + 10 * tens.astype(np.uint16) + 100 * hundreds.astype(np.uint16)
        good[longer] = (tens <= 9) & (hundreds <= 2) & (leading > 0) & (number <= 255)
        values[longer] = number
    count = len(good) if good.all() else int(good.argmin())
    if not count:
        return b"", pos
    return values[:count].astype(np.uint8).tobytes(), pos + int(newline[count - 1]) + 2
