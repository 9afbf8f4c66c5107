from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hub.server import LocalHub, User, local_hub

TOKEN = "hf_zQrecognisableTokenOfAdazQ"  # noqa: S105 - of the local server


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    """An empty Hub with a user `ada`, who may write in the organization `lab` too, and whose token is `TOKEN`."""
    with local_hub() as started:
        started.users[TOKEN] = User("ada", ("lab",))
        yield started
