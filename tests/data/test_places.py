"""Where data lives, by each system's own custom."""

import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from segjax.data.places import cache_folder, data_folder, expanded
from segjax.errors import ConfigError


def test_folders_follow_each_system(monkeypatch, tmp_path):
    for name in ("SEGJAX_CACHE", "SEGJAX_DATAROOT", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
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


def test_a_home_that_is_not_there_is_told(monkeypatch):
    monkeypatch.delenv("SEGJAX_CACHE", raising=False)
    told = "home.*; set HOME, or SEGJAX_CACHE and SEGJAX_DATAROOT to folders$"
    for look in (lambda: expanded("~nobody-of-this-name/data"), cache_folder):
        with pytest.raises(ConfigError, match=told):
            look()
        no_home = Mock(side_effect=RuntimeError("no home directory."))
        monkeypatch.setattr(Path, "expanduser", no_home)
