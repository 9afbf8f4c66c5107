"""Names of files on the Hub that may lie in a folder here, and the kinds of files that belong to what was pushed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import PurePosixPath

from minchange_eval.core.errors import DataError, printable
from minchange_eval.hub.manifest import KIND_NAMES, Kind

MOST_FILES = 20_000
_LONGEST_PATH = 400
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-+ ()=,]{0,199}")
# None of these runs anything when it is read, as `.bin`, `.pt` or `.py` can; what else there may be is not known.
_ENDINGS: Mapping[Kind, frozenset[str]] = {
    "checkpoint": frozenset({".json", ".jsonl", ".safetensors", ".txt", ".model", ".gz", ".md"}),
    "dataset": frozenset({".json", ".parquet", ".png", ".md"}),
    "records": frozenset({".json", ".jsonl", ".gz", ".md"}),
}


def require_safe(where: object, paths: Collection[str]) -> None:
    """No name leads out of a folder, hides in it, or is another one's where capitals do not count.

    Args:
        where: they lie, for the message.

    Raises:
        DataError: one does, or there are too many.
    """
    if len(paths) > MOST_FILES:
        raise DataError(f"{where}: expected at most {MOST_FILES:,} files, got {len(paths):,}")
    seen: dict[str, str] = {}
    for path in paths:
        if len(path) > _LONGEST_PATH or not all(_PART.fullmatch(part) for part in path.split("/")):
            raise DataError(
                f"{where}: has a file named {printable(path[:80])!r}, which could lie outside of a folder or be hidden "
                "in it; expected letters, digits, blanks and . _ - + = , ( ) only"
            )
        other = seen.setdefault(path.casefold(), path)
        if other != path:
            raise DataError(f"{where}: {other} and {path} are one file on many disks; rename one of them")


def require_known(where: object, paths: Iterable[str], kind: Kind) -> None:
    """Every file is of a kind that belongs to what is pushed; what could run code when it is read is of none.

    Raises:
        DataError: one is not.
    """
    for path in paths:
        if PurePosixPath(path).suffix.lower() not in _ENDINGS[kind]:
            raise DataError(
                f"{where}: {path} is no part of {KIND_NAMES[kind]} and may run code when it is read; expected "
                f"{', '.join(sorted(_ENDINGS[kind]))}"
            )
