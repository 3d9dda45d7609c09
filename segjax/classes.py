"""Classes: PurdueShapes5MultiObject's, and the palette that all share.

A class has the same colour in figures, predicted masks and contact sheets.
"""

import math

# Class name -> mask value, in channel order: the channel of a class is its value // 50 - 1.
PURDUE_SHAPES_LABELS = {"rectangle": 50, "triangle": 100, "disk": 150, "oval": 200, "star": 250}

# DLStudio 2.3.6 (run_code_for_testing_semantic_segmentation) turns a pixel of a class on where
# its output lies strictly inside the window of that class.
DLSTUDIO_WINDOWS = {
    50: (25, 85),
    100: (65, 135),
    150: (115, 185),
    200: (165, 230),
    250: (210, math.inf),
}

# Okabe & Ito (2008), without black: on these pictures black is the background.
_OKABE_ITO = (
    (213, 94, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
    (0, 114, 178),
    (230, 159, 0),
)
_TURNS = ((0.0, 1.0), (0.45, 0.55), (0.0, 0.55))  # as they are, tints, shades


def class_colour(channel: int) -> tuple[float, float, float]:
    """Return the colour of a channel's class as red, green, blue in 0..1.

    The first seven are Okabe and Ito's; the next fourteen are tints and shades of them; then they
    come again.
    """
    low, share = _TURNS[channel // 7 % 3]
    red, green, blue = (low + share * (level / 255) for level in _OKABE_ITO[channel % 7])
    return red, green, blue


def class_rgb(channel: int) -> tuple[int, int, int]:
    """Return the colour of a channel's class as red, green, blue in 0..255."""
    red, green, blue = (round(255 * level) for level in class_colour(channel))
    return red, green, blue
