"""``python -m segjax.interop.dlstudio``: the former name of ``python -m segjax.dlstudio``."""

from segjax.dlstudio.__main__ import main
from segjax.errors import leave

if __name__ == "__main__":
    leave(main())
