"""Which commit a git clone is at, read from its files; git itself need not be installed.

It tells what was cloned, not that its files are still what they were.
"""

from __future__ import annotations

import re
from pathlib import Path

_REF = re.compile(r"ref: (refs(?:/(?!\.)[\w.-]+)+)")  # no part begins with a dot: `..` would leave `.git`
_COMMIT = re.compile(r"[0-9a-f]{40}")


def commit_of(source: Path, known: str) -> str:
    """The checked-out commit of the clone that a source is part of; empty where that cannot be told.

    Args:
        source: file or folder.
        known: path in the clone that the authors' repository has and that the source holds, is or lies below. Some
            other repository that a copy was put into lacks it, and its commit says nothing of the copy.
    """
    source = source.resolve()
    for root in (source, *source.parents):
        if (root / ".git" / "HEAD").is_file():
            there = root / known
            theirs = there.exists() and (there.is_relative_to(source) or source.is_relative_to(there))
            return _commit(root / ".git") if theirs else ""
    return ""


def _commit(git: Path) -> str:
    head = _text(git / "HEAD").strip()
    if ref := _REF.fullmatch(head):
        name = ref[1]
        packed = (line.partition(" ") for line in _text(git / "packed-refs").splitlines())
        head = _text(git / name).strip() or next((commit for commit, _, of in packed if of == name), "")
    return head if _COMMIT.fullmatch(head) else ""


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
