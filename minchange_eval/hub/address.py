"""Addresses of the Hub: `hub:owner/name@revision`, and `hub:owner/name@revision/a/file` for one file of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from minchange_eval.core.errors import UsageError

PREFIX = "hub:"
# the Hub's own rules, so that a wrong name is said before anything is read or sent
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._\-]*[A-Za-z0-9_])?"
_ADDRESS = re.compile(
    rf"(?P<owner>{_PART})/(?P<name>{_PART})(?:@(?P<revision>refs/(?:pr|convert)/[^/@\s]+|[^/@\s]+))?(?:/(?P<path>\S.*))?"
)
_LONGEST = 96


@dataclass(frozen=True)
class HubAddress:
    """A repository of the Hub, at a revision, and perhaps a file in it.

    Attributes:
        owner: user or organization.
        name: of the repository.
        revision: branch, tag or commit; None for the head of `main`.
        path: of a file in it; empty for the whole.
    """

    owner: str
    name: str
    revision: str | None = None
    path: str = ""

    @property
    def repo_id(self) -> str:
        """`owner/name`, as the Hub's library takes it."""
        return f"{self.owner}/{self.name}"

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{PREFIX}{self.repo_id}{revision}{f'/{self.path}' if self.path else ''}"


def is_address(text: str) -> bool:
    """Whether something that may be a file or folder names the Hub instead.

    >>> is_address("hub:ada/records"), is_address("runs/record.jsonl")
    (True, False)
    """
    return text.startswith(PREFIX)


def parse_address(text: str, *, whole: bool = False) -> HubAddress:
    """Read `owner/name`, `owner/name@revision` or `owner/name@revision/file`, each with or without `hub:` before it.

    Args:
        whole: a file in a repository will not do.

    Raises:
        UsageError: it is none of these, or not a name that the Hub allows.

    >>> parse_address("hub:ada/clip-spec@v1/records/after.jsonl")
    HubAddress(owner='ada', name='clip-spec', revision='v1', path='records/after.jsonl')
    """
    found = _ADDRESS.fullmatch(text.removeprefix(PREFIX))
    expected = "expected owner/name or owner/name@revision" + ("" if whole else ", a file of it behind a slash")
    if found is None or (whole and found["path"]):
        raise UsageError(f"{text}: no address on the Hub; {expected}, as in hub:ada/clip-spec@main")
    revision = found["revision"] or ""
    if ".." in revision or revision.strip(".") != revision:  # no name in git, and another address in a URL
        raise UsageError(f"{text}: no branch, tag or commit can be called {revision!r}")
    for part in (found["owner"], found["name"]):
        if len(part) > _LONGEST or "--" in part or ".." in part or part.endswith(".git"):
            raise UsageError(
                f"{text}: the Hub has no name such as {part[:_LONGEST]!r}; at most {_LONGEST} letters, digits, '-', "
                "'_' and '.', without '--', '..' or '.git' at the end"
            )
    return HubAddress(found["owner"], found["name"], revision or None, (found["path"] or "").strip("/"))


def new_repository(text: str) -> HubAddress:
    """The address after `--to`.

    Raises:
        UsageError: not `owner/name`; a push goes to `main`.
    """
    address = parse_address(text, whole=True)
    if address.revision:
        raise UsageError(f"--to {text}: expected owner/name without @{address.revision}; a push goes to main")
    return address
