"""Embeddings on disk, so that a run that was killed goes on where it was and a second run encodes nothing."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minchange_eval.model_adapters import segments

FORMAT = 1


def log_folder(settings: Mapping[str, Any]) -> Path:
    """The folder of the log for one set of settings, whether it exists or not.

    Args:
        settings: plain JSON values; everything beside the content that an embedding depends on.
    """
    return segments.log_folder("embeddings", {"format": FORMAT, **settings})


def text_key(caption: str) -> str:
    """The key under which a caption is logged."""
    return hashlib.sha256(caption.encode("utf-8", "surrogatepass")).hexdigest()


class EmbeddingLog:
    """Append-only log of embeddings in one folder; see `segments`."""

    def __init__(self, folder: Path, settings: Mapping[str, Any] | None = None) -> None:
        self._segments = segments.Segments(folder, settings)

    def read(self, kind: str, wanted: Collection[str]) -> dict[str, tuple[NDArray[np.float32], bool]]:
        """Those of the wanted rows that were logged: key -> embedding [width] and whether the text was truncated."""
        found: dict[str, tuple[NDArray[np.float32], bool]] = {}
        if not wanted:
            return found
        keys = wanted if isinstance(wanted, (set, frozenset, dict)) else set(wanted)
        for batch in self._segments.lines(f'{{"kind":"{kind}"'.encode("ascii")):
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
        self._segments.append(
            {
                "kind": kind,
                "keys": list(keys),
                "truncated": [int(cut) for cut in truncated],
                "vectors": base64.b64encode(little_endian.tobytes()).decode("ascii"),
            }
        )

    def close(self) -> None:
        """Bring everything to the disk.

        Raises:
            ModelError: the disk refuses it.
        """
        self._segments.close()


def _vectors(batch: Mapping[str, Any]) -> NDArray[np.float32]:
    flat = np.frombuffer(binascii.a2b_base64(batch["vectors"]), dtype="<f4")
    return flat.reshape(len(batch["keys"]), -1).astype(np.float32, copy=False)
