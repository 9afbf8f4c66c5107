from __future__ import annotations

from pathlib import Path

import pytest

from tests.model_adapters.checkpoints import open_clip_folder


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has a log of its own, and no network."""
    monkeypatch.setenv("MINCHANGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "home"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random open_clip model that runs in milliseconds."""
    return open_clip_folder(tmp_path_factory.mktemp("tiny") / "model")
