"""Where data lives, by each system's own custom."""

import sys
from pathlib import Path

from segjax.data.places import cache_folder, data_folder


def test_folders_follow_each_system(monkeypatch, tmp_path):
    for name in ("SEGJAX_CACHE", "SEGJAX_DATAROOT", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_folder() == tmp_path / ".cache" / "segjax"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == tmp_path / ".cache" / "segjax"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "segjax"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == tmp_path / "Library" / "Caches" / "segjax"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache_folder() == tmp_path / "local" / "segjax" / "cache"
    monkeypatch.setenv("SEGJAX_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    assert data_folder() == tmp_path / "mine" / "data"
    monkeypatch.setenv("SEGJAX_DATAROOT", str(tmp_path / "data"))
    assert data_folder() == tmp_path / "data"
