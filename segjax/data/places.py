"""Where data lives on this machine, by each system's own custom."""

import os
import sys
from pathlib import Path

from segjax.errors import ConfigError

CACHE_VARIABLE = "SEGJAX_CACHE"
DATAROOT_VARIABLE = "SEGJAX_DATAROOT"


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with ~ and ~user replaced; ConfigError if there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        told = f"set HOME, or {CACHE_VARIABLE} and {DATAROOT_VARIABLE} to folders"
        raise ConfigError(f"{path}: {str(error).rstrip('.')}; {told}") from None


def cache_folder() -> Path:
    """Return the per-user folder for what can be made again; ``SEGJAX_CACHE`` overrides it."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return expanded(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return Path(base or expanded("~") / "AppData" / "Local") / "segjax" / "cache"
    if sys.platform == "darwin":
        return expanded("~") / "Library" / "Caches" / "segjax"
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG rules say that a relative path is to be ignored.
    return (Path(base) if os.path.isabs(base) else expanded("~") / ".cache") / "segjax"


def data_folder() -> Path:
    """Return where fetched data files go; ``SEGJAX_DATAROOT`` overrides it."""
    if chosen := os.environ.get(DATAROOT_VARIABLE):
        return expanded(chosen)
    return cache_folder() / "data"
