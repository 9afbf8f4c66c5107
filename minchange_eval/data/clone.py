"""Which commit a git clone is at, read from its files; git itself need not be installed."""

from __future__ import annotations

from pathlib import Path


def commit_of(source: Path) -> str:
    """The checked-out commit of the clone that holds a file or folder; empty where that cannot be told."""
    for folder in (source, *source.resolve().parents):
        head = folder / ".git" / "HEAD"
        if head.is_file():
            return _resolved(head.parent, head.read_text(encoding="utf-8", errors="replace").strip())
    return ""


def _resolved(git: Path, head: str) -> str:
    if not head.startswith("ref: "):
        return head
    name = head.removeprefix("ref: ")
    if (git / name).is_file():
        return (git / name).read_text(encoding="utf-8", errors="replace").strip()
    packed = git / "packed-refs"
    lines = packed.read_text(encoding="utf-8", errors="replace").splitlines() if packed.is_file() else []
    return next((line.split(" ")[0] for line in lines if line.endswith(f" {name}")), "")
