"""What lies in a repository of the Hub at one commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minchange_eval.hub.address import HubAddress
from minchange_eval.hub.client import Hub

_OF_THE_HUB = frozenset({".gitattributes"})  # put there when a repository is made


@dataclass(frozen=True)
class Entry:
    """A file on the Hub.

    Attributes:
        size: in bytes.
        name: of its content: SHA-256 of a large file, git's SHA-1 of a small one.
    """

    size: int
    name: str


def files_at(hub: Hub, address: HubAddress, repository_type: str, commit: str) -> Mapping[str, Entry]:
    """By path, all files but what the Hub itself put there."""

    def tree() -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        entries: Any = hub.api.list_repo_tree(
            address.repo_id, recursive=True, revision=commit, repo_type=repository_type
        )
        for entry in entries:
            if hasattr(entry, "blob_id") and entry.path not in _OF_THE_HUB:  # a folder has none
                found[entry.path] = Entry(entry.size, entry.lfs.sha256 if entry.lfs else entry.blob_id)
        return found

    return hub.ask(address, tree)
