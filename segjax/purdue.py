"""What is special about PurdueShapes5MultiObject: its mask values, and how DLStudio reads them."""

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
