from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from minchange_eval.data.prepare import prepare
from tests.cli.runs import Runner


@pytest.fixture(autouse=True)
def store_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty `$MINCHANGE_HOME` for every test."""
    home = tmp_path / "home"
    monkeypatch.setenv("MINCHANGE_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """One process with everything imported, for all modules."""
    started = Runner(tmp_path_factory.mktemp("runs"))
    yield started
    started.close()


@pytest.fixture(scope="session")
def chat_suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with `med_mini` and `vismin_mini`, prepared once; to be copied by those who write more into it."""
    folder = tmp_path_factory.mktemp("chat_suite")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINCHANGE_HOME", str(folder))
        prepare("med_mini")
        prepare("vismin_mini")
    return folder
