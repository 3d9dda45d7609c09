"""Where data lives on this machine, by each system's own custom."""

import os
import sys
from pathlib import Path

CACHE_VARIABLE = "SEGJAX_CACHE"
DATAROOT_VARIABLE = "SEGJAX_DATAROOT"


def cache_folder() -> Path:
    """Return the per-user folder for what can be made again; ``SEGJAX_CACHE`` overrides it."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return Path(base or Path.home() / "AppData" / "Local") / "segjax" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "segjax"
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG rules say that a relative path is to be ignored.
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "segjax"


def data_folder() -> Path:
    """Return where fetched data files go; ``SEGJAX_DATAROOT`` overrides it."""
    if chosen := os.environ.get(DATAROOT_VARIABLE):
        return Path(chosen).expanduser()
    return cache_folder() / "data"
