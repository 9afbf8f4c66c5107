from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def store_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty `$MINCHANGE_HOME` for every test."""
    home = tmp_path / "home"
    monkeypatch.setenv("MINCHANGE_HOME", str(home))
    return home
