"""Embeddings on disk, so that a run that was killed goes on where it was and a second run encodes nothing.

A log is a folder named after everything that an embedding depends on beside its content. Each process appends to a
segment of its own, so two runs never write one file; all segments are read. A line is one finished batch:
`<CRC-32, 8 hexadecimal digits> <JSON>`. A line whose checksum does not fit (torn by a kill, or damaged) is left out,
and its rows are encoded again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import time
import uuid
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minchange_eval.core.errors import ModelError
from minchange_eval.core.home import home

FORMAT = 1
SYNC_EVERY_S = 1.0  # what a power failure may cost; a killed process loses nothing that was appended


def log_folder(settings: Mapping[str, Any]) -> Path:
    """The folder of the log for one set of settings, whether it exists or not.

    Args:
        settings: plain JSON values; everything beside the content that an embedding depends on.
    """
    key = json.dumps({"format": FORMAT, **settings}, sort_keys=True, allow_nan=False)
    return home() / "embeddings" / hashlib.sha256(key.encode()).hexdigest()[:32]


def text_key(caption: str) -> str:
    """The key under which a caption is logged."""
    return hashlib.sha256(caption.encode("utf-8", "surrogatepass")).hexdigest()


class EmbeddingLog:
    """Append-only log of embeddings in one folder.

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

    def read(self, kind: str, wanted: Collection[str]) -> dict[str, tuple[NDArray[np.float32], bool]]:
        """Those of the wanted rows that were logged: key -> embedding [width] and whether the text was truncated."""
        found: dict[str, tuple[NDArray[np.float32], bool]] = {}
        if not wanted or not self._folder.is_dir():
            return found
        keys = wanted if isinstance(wanted, (set, frozenset, dict)) else set(wanted)
        for segment in sorted(self._folder.glob("*.jsonl")):
            for batch in _batches(segment, kind):
                vectors = _vectors(batch)
                for row, key in enumerate(batch["keys"]):
                    if key in keys:
                        found.setdefault(key, (vectors[row], bool(batch["truncated"][row])))
        return found

    def append(self, kind: str, keys: Sequence[str], vectors: NDArray[np.float32], truncated: Sequence[bool]) -> None:
        """Append one finished batch.

        Args:
            kind: `image` or `text`.
            keys: one a row.
            vectors: [rows, width].
            truncated: one a row.

        Raises:
            ModelError: the line could not be written, for example because the disk is full; what was there stays whole.
        """
        little_endian = np.ascontiguousarray(vectors, dtype="<f4")
        batch = {
            "kind": kind,
            "keys": list(keys),
            "truncated": [int(cut) for cut in truncated],
            "vectors": base64.b64encode(little_endian.tobytes()).decode("ascii"),
        }
        body = json.dumps(batch, separators=(",", ":")).encode("ascii")
        line = b"%08x %s\n" % (zlib.crc32(body), body)
        try:
            self._write(line)
        except OSError as error:
            raise ModelError(
                f"embedding log {self._path}: cannot append {len(line):,} bytes ({error.strerror}); "
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
            raise ModelError(f"embedding log {self._path}: cannot be brought to the disk ({error.strerror})") from error
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


def _batches(segment: Path, kind: str) -> Iterator[dict[str, Any]]:
    marker = f'{{"kind":"{kind}"'.encode("ascii")
    with segment.open("rb") as lines:
        for line in lines:
            checksum, _, body = line.rstrip(b"\n").partition(b" ")
            if body.startswith(marker) and line.endswith(b"\n") and b"%08x" % zlib.crc32(body) == checksum:
                yield json.loads(body)


def _vectors(batch: Mapping[str, Any]) -> NDArray[np.float32]:
    flat = np.frombuffer(binascii.a2b_base64(batch["vectors"]), dtype="<f4")
    return flat.reshape(len(batch["keys"]), -1).astype(np.float32, copy=False)
