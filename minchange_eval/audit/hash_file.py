"""Perceptual hashes that outlive a run: one SQLite file, keyed by the SHA-256 of the image's bytes."""

from __future__ import annotations

import logging
import sqlite3
import threading
from pathlib import Path
from types import TracebackType

from minchange_eval.audit.image_hash import METHOD, ImageHash
from minchange_eval.core.home import home

_WRITE_EVERY = 200  # images whose hashes a kill may cost; the file is locked while they are written, and only then
_SIGN = 1 << 63  # SQLite's integers are signed, hashes are not
_log = logging.getLogger(__name__)

Known = tuple[int | None, bytes, tuple[int, int]]


def hash_file_path() -> Path:
    """`$MINCHANGE_HOME/image_hashes/<method>.sqlite`; another method never reads these."""
    return home() / "image_hashes" / f"{METHOD}.sqlite"


class HashFile:
    """Hashes by content, shared by threads and by processes.

    A file that cannot be made, written or read costs time only: it is said once in the log, and hashes are computed.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or hash_file_path()
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._unwritten: dict[str, ImageHash] = {}

    def __enter__(self) -> HashFile:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self._path, timeout=30, check_same_thread=False)
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS hashes "
                "(sha256 BLOB PRIMARY KEY, perceptual INTEGER, colours BLOB, width INTEGER, height INTEGER) "
                "WITHOUT ROWID"
            )
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:  # what was computed before a Ctrl-C is kept too
            self._write()
        self._close()

    def get(self, sha256: str) -> Known | None:
        """Hash and size of an image that was hashed before; None where it was not."""
        with self._lock:
            if self._connection is None:
                return None
            if (waiting := self._unwritten.get(sha256)) is not None:
                return waiting.perceptual, waiting.colours, waiting.size_px
            try:
                row = self._connection.execute(
                    "SELECT perceptual, colours, width, height FROM hashes WHERE sha256 = ?", (bytes.fromhex(sha256),)
                ).fetchone()
            except sqlite3.Error as error:
                self._give_up(error)
                return None
        if row is None:
            return None
        perceptual, colours, width, height = row
        return (None if perceptual is None else perceptual + _SIGN), colours, (width, height)

    def put(self, image: ImageHash) -> None:
        """Keep the hash of an image."""
        with self._lock:
            if self._connection is None:
                return
            self._unwritten[image.sha256] = image
            if len(self._unwritten) >= _WRITE_EVERY:
                self._write()

    def _write(self) -> None:
        rows = [_row(image) for image in self._unwritten.values()]
        self._unwritten.clear()
        if self._connection is None or not rows:
            return
        try:
            with self._connection:
                self._connection.executemany("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        _log.warning("%s: image hashes are not kept (%s); they are computed in every run", self._path, error)
        self._close()

    def _close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()


def _row(image: ImageHash) -> tuple[bytes, int | None, bytes, int, int]:
    signed = None if image.perceptual is None else image.perceptual - _SIGN
    return bytes.fromhex(image.sha256), signed, image.colours, *image.size_px
