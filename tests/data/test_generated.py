from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from minchange_eval.core.items import BytesImage, CandidateSet
from minchange_eval.data import prepare as preparing
from minchange_eval.data.release import Release
from tests.data.official_layouts import picture_bytes


def drawn(version: int) -> Release:
    """A generated data set whose pixels depend on its version."""

    def read(_: Path | None) -> Iterator[CandidateSet]:
        images = tuple(BytesImage(f"{i}.png", picture_bytes((version, i), kind="PNG")) for i in (0, 1))
        yield CandidateSet("drawn/0", "count", images, ("one dog", "two dogs"))

    return Release(
        "drawn", "sets", "Drawn", "Apache-2.0", {"count": 2}, read, revision=f"version {version}", synthetic=True
    )


def test_data_drawn_by_another_version_of_the_generator_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "find_release", lambda name: drawn(1))
    first = preparing.open_or_prepare("drawn").card
    assert preparing.open_or_prepare("drawn").card.created == first.created
    monkeypatch.setattr(preparing, "find_release", lambda name: drawn(2))
    second = preparing.open_or_prepare("drawn").card
    assert second.revision == "version 2"
    assert second.fingerprint != first.fingerprint
