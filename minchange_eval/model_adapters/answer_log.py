"""Answers of chat models on disk, so that a run that was killed, or whose server failed, loses none of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from minchange_eval.core.prompts import Part
from minchange_eval.model_adapters import segments

FORMAT = 1


def log_folder(settings: Mapping[str, Any]) -> Path:
    """The folder of the log for one set of settings, whether it exists or not.

    Args:
        settings: plain JSON values; everything beside the prompt that an answer depends on.
    """
    return segments.log_folder("answers", {"format": FORMAT, **settings})


def answer_key(parts: Sequence[Part], settings: Mapping[str, Any]) -> str:
    """The key of one prompt: its words and the content of its images, in their order, and what is asked of them.

    Args:
        parts: the prompt as it is sent.
        settings: plain JSON values that belong to this prompt alone (candidates, length of the reply).
    """
    content = [part if isinstance(part, str) else {"image": part.sha256} for part in parts]
    return hashlib.sha256(json.dumps([content, settings], sort_keys=True).encode()).hexdigest()


class AnswerLog:
    """Append-only log of answers in one folder; see `segments`."""

    def __init__(self, folder: Path, settings: Mapping[str, Any] | None = None) -> None:
        self._segments = segments.Segments(folder, settings)

    def read(self, wanted: Collection[str]) -> dict[str, str]:
        """Those of the wanted answers that were logged, by key."""
        keys = set(wanted)
        found: dict[str, str] = {}
        for line in self._segments.lines() if keys else ():
            for key, answer in line["answers"].items():
                if key in keys:
                    found.setdefault(key, answer)
        return found

    def append(self, answers: Mapping[str, str]) -> None:
        """Append finished answers.

        Raises:
            ModelError: they could not be written, for example because the disk is full; what was there stays whole.
        """
        self._segments.append({"answers": dict(answers)})

    def close(self) -> None:
        """Bring everything to the disk.

        Raises:
            ModelError: the disk refuses it.
        """
        self._segments.close()
