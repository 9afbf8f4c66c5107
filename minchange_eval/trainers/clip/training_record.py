"""training.json: what a checkpoint was trained with and on; its presence says that the training is finished."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from minchange_eval.core.errors import DataError, MinchangeError
from minchange_eval.core.whole_files import write_whole
from minchange_eval.trainers.clip.run_log import LOSSES

if TYPE_CHECKING:
    from minchange_eval.trainers.clip.sources import PairData, SetData

FILE = "training.json"
SCHEMA_VERSION = 1


class TrainedOn(BaseModel):
    """One source of training data.

    Attributes:
        name: a prepared data set, or the address of plain pairs.
        kind: `sets` or `pairs`.
        fingerprint: of what was read.
        licence: as its source states it; empty where it states none.
        items: candidate sets or pairs.
        synthetic: drawn by this project's generators.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: str
    fingerprint: str
    licence: str = ""
    items: int
    synthetic: bool = False


class TrainingRecord(BaseModel):
    """What a checkpoint card says of the training.

    Attributes:
        schema_version: of this format.
        config: settings, without the output folder.
        base_model: adapter, name and weights digest of the model before.
        weights_sha256: digest of the trained weights.
        data: what was trained on.
        overlap: the contamination guard's result.
        steps: done; fewer than planned after an early stop.
        planned_steps: asked for.
        epochs: how often each candidate set was seen; None without sets.
        images: that went through the model.
        stopped: why it ended early; empty where it did not.
        first_losses, last_losses: means over the first and the last tenth of the steps, by part.
        evaluations: what was measured, by step (0: before) and name; fractions.
        processes: how many trained at the end.
        device: where.
        seconds: that the steps took, evaluations apart.
        packages: versions.
        layouts: which libraries' layouts the folder has, and why one is missing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: int = SCHEMA_VERSION
    config: dict[str, JsonValue]
    base_model: dict[str, JsonValue]
    weights_sha256: str
    data: tuple[TrainedOn, ...]
    overlap: dict[str, JsonValue]
    steps: int
    planned_steps: int
    epochs: float | None = None
    images: int
    stopped: str = ""
    first_losses: dict[str, float]
    last_losses: dict[str, float]
    evaluations: dict[int, dict[str, float]] = {}
    processes: int = 1
    device: str = "cpu"
    seconds: float
    packages: dict[str, str]
    layouts: dict[str, JsonValue] = {}


def trained_on(sets: SetData | None, pairs: PairData | None) -> tuple[TrainedOn, ...]:
    """What the record says of the data."""
    from minchange_eval.trainers.clip.sources import StorePairs

    of_sets = [
        TrainedOn(
            name=card.name,
            kind="sets",
            fingerprint=card.fingerprint,
            licence=card.licence,
            items=sum(card.counts.values()),
            synthetic=card.synthetic,
        )
        for card in (sets.cards if sets else ())
    ]
    of_pairs = [
        TrainedOn(
            name=source.name,
            kind="pairs",
            fingerprint=source.fingerprint,
            licence=source.licence,
            items=len(source),
            synthetic=isinstance(source, StorePairs) and source.store.card.synthetic,
        )
        for source in ([pairs] if pairs else [])
    ]
    return (*of_sets, *of_pairs)


def first_and_last_losses(folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Means of the loss and its parts over the first and the last tenth of the steps in losses.jsonl."""
    lines = [json.loads(line) for line in (folder / LOSSES).read_text(encoding="utf-8").splitlines()]
    tenth = max(1, len(lines) // 10)
    return _means(lines[:tenth]), _means(lines[-tenth:])


def _means(lines: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = [name for name in lines[0] if name not in ("step", "learning_rate", "scale")]
    return {name: sum(line.get(name, 0.0) for line in lines) / len(lines) for name in names}


def write_training_record(folder: Path, record: TrainingRecord) -> None:
    """Write it, whole or not at all.

    Raises:
        MinchangeError: it cannot be written.
    """
    try:
        write_whole(folder / FILE, [record.model_dump_json(indent=2).encode(), b"\n"])
    except OSError as error:
        raise MinchangeError(
            f"{folder / FILE}: cannot be written ({error.strerror or error}); make room and run the same command again"
        ) from error


def read_training_record(folder: Path) -> TrainingRecord:
    """The record of a checkpoint folder.

    Raises:
        DataError: there is none, or it is broken.
    """
    path = folder / FILE
    try:
        return TrainingRecord.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); is the training finished?") from error
    except ValidationError as error:
        first: Any = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise DataError(f"{path}: no training record ({place}: {first['msg']})") from error


def is_finished(folder: Path) -> bool:
    """Whether a training ended in this folder."""
    return (folder / FILE).is_file()
