"""``python -m segjax.interop.dlstudio``: the former name of ``python -m segjax.dlstudio``."""

import sys

from segjax.dlstudio.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
