from __future__ import annotations

import pytest

from minchange_eval.core.errors import UsageError
from minchange_eval.hub.address import HubAddress, is_address, new_repository, parse_address


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("ada/clip", HubAddress("ada", "clip")),
        ("hub:ada/clip", HubAddress("ada", "clip")),
        ("hub:ada/clip@v1.0", HubAddress("ada", "clip", "v1.0")),
        ("hub:ada/clip@refs/pr/3", HubAddress("ada", "clip", "refs/pr/3")),
        ("hub:ada/clip/records/a b.jsonl", HubAddress("ada", "clip", None, "records/a b.jsonl")),
        ("hub:ada/clip@refs/pr/3/records/a.jsonl", HubAddress("ada", "clip", "refs/pr/3", "records/a.jsonl")),
    ],
)
def test_an_address_is_read_and_written_as_it_is(text: str, read: HubAddress) -> None:
    assert parse_address(text) == read
    assert str(read) == f"hub:{text.removeprefix('hub:')}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "clip",
        "ada/",
        "/clip",
        "ada/clip@",
        "a--b/clip",
        "ada/clip..b",
        "ada/clip.git",
        "ada/cl ip",
        "../clip",
        "ada/clip@..",
        "ada/clip@.",
        "ada/clip@refs/pr/..",
        "ada/clip@a..b",
    ],
)
def test_what_is_no_name_on_the_hub_is_refused_before_anything_is_sent(text: str) -> None:
    with pytest.raises(UsageError):
        parse_address(text)


def test_a_push_goes_to_a_repository_and_to_no_revision_or_file_of_it() -> None:
    for text in ("ada/clip@v1", "ada/clip/README.md"):
        with pytest.raises(UsageError):
            new_repository(text)


def test_files_are_no_addresses() -> None:
    assert not is_address("runs/hub:record.jsonl")
