"""Where data lives, by each system's own custom."""

import sys
from pathlib import Path

from segjax.data.places import cache_folder, data_folder


def test_folders_follow_each_system(monkeypatch, tmp_path):
    for name in ("SEGJAX_CACHE", "SEGJAX_DATAROOT", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for system, variable, value, expected in (
        ("linux", "", "", ".cache/segjax"),
        ("linux", "XDG_CACHE_HOME", "relative", ".cache/segjax"),
        ("linux", "XDG_CACHE_HOME", tmp_path / "xdg", "xdg/segjax"),
        ("darwin", "", "", "Library/Caches/segjax"),
        ("win32", "", "", "AppData/Local/segjax/cache"),
        ("win32", "LOCALAPPDATA", tmp_path / "local", "local/segjax/cache"),
        ("win32", "SEGJAX_CACHE", tmp_path / "mine", "mine"),
    ):
        monkeypatch.setattr(sys, "platform", system)
        if variable:
            monkeypatch.setenv(variable, str(value))
        assert cache_folder() == tmp_path / expected
    assert data_folder() == tmp_path / "mine" / "data"
    monkeypatch.setenv("SEGJAX_DATAROOT", str(tmp_path / "data"))
    assert data_folder() == tmp_path / "data"
