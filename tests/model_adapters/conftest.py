from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.model_adapters.chat_checkpoints import write_checkpoint
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


@pytest.fixture(scope="session")
def chat_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`chat_checkpoint(family, **changes)`: the folder of a tiny random chat model, written once a session."""
    folders: dict[str, Path] = {}

    def folder(family: str, **changes: Any) -> Path:
        key = repr((family, sorted(changes.items())))
        if key not in folders:
            folders[key] = write_checkpoint(family, tmp_path_factory.mktemp(family) / "model", **changes)
        return folders[key]

    return folder
