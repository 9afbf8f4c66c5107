from __future__ import annotations

from pathlib import Path

import pytest

from minchange_eval.core.record import RunRecord
from tests.reports.pictured_runs import three_runs


@pytest.fixture(scope="session")
def pictured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[RunRecord]]:
    """A store and three runs on it, made once; whoever changes the store makes one of their own."""
    home = tmp_path_factory.mktemp("pictured")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINCHANGE_HOME", str(home))
        return home, three_runs()


@pytest.fixture
def three(pictured: tuple[Path, list[RunRecord]], monkeypatch: pytest.MonkeyPatch) -> list[RunRecord]:
    """The three runs, with their store in place."""
    monkeypatch.setenv("MINCHANGE_HOME", str(pictured[0]))
    return pictured[1]
