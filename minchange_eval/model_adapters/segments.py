"""Append-only files that survive any kill: what adapters log of finished work.

A log is a folder named after everything that a result depends on beside its content. Each process appends to a segment
of its own, so two runs never write one file; all segments are read. A line is one finished batch:
`<CRC-32, 8 hexadecimal digits> <JSON>`. A line whose checksum does not fit (torn by a kill, or damaged) is left out,
and its work is done again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from minchange_eval.core.errors import ModelError
from minchange_eval.core.home import home

SYNC_EVERY_S = 1.0  # what a power failure may cost; a killed process loses nothing that was appended


def log_folder(place: str, settings: Mapping[str, Any]) -> Path:
    """The folder of the log for one set of settings, whether it exists or not.

    Args:
        place: the folder of all logs of one sort, below the home.
        settings: plain JSON values; everything beside the content that a result depends on.
    """
    key = json.dumps(settings, sort_keys=True, allow_nan=False)
    return home() / place / hashlib.sha256(key.encode()).hexdigest()[:32]


class Segments:
    """The segments of one log.

    Args:
        folder: see `log_folder`; made on the first append.
        settings: written beside the segments, for the reader of the folder.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any] | None = None) -> None:
        self._folder = folder
        self._settings = settings or {}
        self._segment: int | None = None
        self._path = folder / f"{time.strftime('%Y%m%dT%H%M%S')}-{uuid.uuid4().hex[:12]}.jsonl"
        self._size = 0
        self._synced_at = 0.0

    def lines(self, starting: bytes = b"") -> Iterator[dict[str, Any]]:
        """What was logged, by anybody, oldest segment first.

        Args:
            starting: only lines whose JSON begins like this are read at all.
        """
        if not self._folder.is_dir():
            return
        for segment in sorted(self._folder.glob("*.jsonl")):
            with segment.open("rb") as lines:
                for line in lines:
                    checksum, _, body = line.rstrip(b"\n").partition(b" ")
                    whole = line.endswith(b"\n") and body.startswith(starting)
                    if whole and b"%08x" % zlib.crc32(body) == checksum:
                        yield json.loads(body)

    def append(self, content: Mapping[str, Any]) -> None:
        """Append one finished batch, as plain JSON values.

        Raises:
            ModelError: the line could not be written, for example because the disk is full; what was there stays whole.
        """
        body = json.dumps(content, separators=(",", ":")).encode("ascii")
        line = b"%08x %s\n" % (zlib.crc32(body), body)
        try:
            self._write(line)
        except OSError as error:
            raise ModelError(
                f"log {self._path}: cannot append {len(line):,} bytes ({error.strerror}); "
                "free some space, set MINCHANGE_HOME to another disk, or run with log=false"
            ) from error

    def close(self) -> None:
        """Bring everything to the disk.

        Raises:
            ModelError: the disk refuses it.
        """
        if self._segment is None:
            return
        segment, self._segment = self._segment, None
        try:
            os.fsync(segment)
        except OSError as error:
            raise ModelError(f"log {self._path}: cannot be brought to the disk ({error.strerror})") from error
        finally:
            os.close(segment)

    def _write(self, line: bytes) -> None:
        segment = self._opened()
        left = memoryview(line)
        try:
            while left:
                left = left[os.write(segment, left) :]
        except OSError:
            os.ftruncate(segment, self._size)
            os.lseek(segment, self._size, os.SEEK_SET)
            raise
        self._size += len(line)
        if time.monotonic() - self._synced_at >= SYNC_EVERY_S:
            os.fsync(segment)
            self._synced_at = time.monotonic()

    def _opened(self) -> int:
        if self._segment is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            described = self._folder / "settings.json"
            if not described.exists():
                draft = described.with_suffix(f".{self._path.stem}")
                draft.write_text(json.dumps(self._settings, indent=1, sort_keys=True), encoding="utf-8")
                draft.replace(described)
            self._segment = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        return self._segment
