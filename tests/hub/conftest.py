from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.client_process import Commands, Person
from tests.hub.server import LocalHub, User, local_hub

TOKEN = "hf_zQrecognisableTokenOfAdazQ"  # noqa: S105 - of the local server


@pytest.fixture(scope="session")
def running_hub() -> Iterator[LocalHub]:
    """One server for all tests: the Hub's library reads its address once."""
    with local_hub() as started:
        yield started


@pytest.fixture
def hub(running_hub: LocalHub) -> LocalHub:
    """An empty Hub with a user `ada`, who may write in the organization `lab` too, and whose token is `TOKEN`."""
    running_hub.forget()
    running_hub.repositories.clear()
    running_hub.renamed.clear()
    running_hub.users = {TOKEN: User("ada", ("lab",))}
    return running_hub


@pytest.fixture(scope="session")
def commands(running_hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """A process that forks `minchange-eval`."""
    started = Commands(tmp_path_factory.mktemp("commands"), running_hub.endpoint)
    yield started
    started.close()


@pytest.fixture
def ada(hub: LocalHub, commands: Commands, tmp_path: Path) -> Person:
    """Ada at her machine: `ada.run("push", "records", …)`."""
    return Person(commands, hub, tmp_path, TOKEN)
