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
    end = buf.find(b"aa", pos, pos + _WINDOW)  # of the list, which is appended to another
    end = end + 1 if end > 0 else buf.rfind(b"\na", pos, pos + _WINDOW) + 2
    text = np.frombuffer(buf, np.uint8, max(0, end - pos), pos)
    # Tokens "I" digits "\n" "a"; each ends with its "a".
    newline = np.flatnonzero(text == 10)
    begin = np.zeros_like(newline)
    np.add(newline[:-1], 2, out=begin[1:])
    digits = newline - begin - 1
    good = (text[begin] == 73) & (text[newline + 1] == 97) & (digits > 0)
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
