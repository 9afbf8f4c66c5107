"""A trained checkpoint as it goes to the Hub: weights, configs, tokenizer, the training record, the run records.

What stays at home: states of an unfinished training and TensorBoard's files, whose names hold the machine's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from minchange_eval.core.errors import DataError, UsageError
from minchange_eval.core.record import RunRecord, read_record, record_bytes
from minchange_eval.data.store_card import StoreCard
from minchange_eval.hub.address import HubAddress
from minchange_eval.hub.file_names import require_known, require_safe
from minchange_eval.hub.licences import Inherited, inherited, sources_of
from minchange_eval.hub.manifest import CARD, MANIFEST
from minchange_eval.hub.records import public_record, without_folders

TRAINING = "training.json"
BEFORE, AFTER = "records/before.jsonl", "records/after.jsonl"
OPEN_CLIP_CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "model.safetensors")
_AT_HOME = frozenset({"tensorboard"})


class Source(BaseModel):
    """What a checkpoint was trained on: one entry under `data` in training.json."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    kind: str = ""
    fingerprint: str = ""
    licence: str = ""
    items: int = 0
    synthetic: bool = False


class Benchmark(BaseModel):
    """An evaluated data set, and how much of it was found among the training data, by kind of overlap."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    fingerprint: str = ""
    items: int = 0
    overlaps: dict[str, int] = {}


class Overlap(BaseModel):
    """One thing that was trained on and is evaluated."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: str = ""
    training: str = ""
    benchmark: str = ""
    item: str = ""
    shown: str = ""


class Guard(BaseModel):
    """What the contamination guard found before the first step; without benchmarks it compared nothing."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    images: int = 0
    benchmarks: tuple[Benchmark, ...] = ()
    first: tuple[Overlap, ...] = ()
    allowed: bool = False


class Training(BaseModel):
    """training.json, as far as a card tells of it.

    Attributes:
        config: settings of the training.
        base_model: adapter, name and weights digest of the model before.
        weights_sha256: digest of the trained weights.
        data: what was trained on.
        overlap: what the contamination guard found.
        steps, planned_steps: done and asked for.
        epochs: how often each candidate set was seen.
        images: that went through the model.
        stopped: why it ended early; empty where it did not.
        first_losses, last_losses: at the beginning and at the end, by part.
        processes, device, seconds, packages: how it was done.
        layouts: which libraries can load it, and why one cannot.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: int = 1
    config: dict[str, JsonValue] = {}
    base_model: dict[str, JsonValue] = {}
    weights_sha256: str = ""
    data: tuple[Source, ...]
    overlap: Guard = Guard()
    steps: int = 0
    planned_steps: int = 0
    epochs: float | None = None
    images: int = 0
    stopped: str = ""
    first_losses: dict[str, float] = {}
    last_losses: dict[str, float] = {}
    evaluations: dict[str, dict[str, float]] = {}
    processes: int = 1
    device: str = ""
    seconds: float = 0.0
    packages: dict[str, str] = {}
    layouts: dict[str, JsonValue] = {}

    def licence(self) -> Inherited:
        """The strictest licence of what it was trained on.

        Raises:
            UsageError: two licences that cannot both be kept.
        """
        stated: dict[str, str] = {}
        for source in self.data:
            stated |= sources_of(StoreCard(name=source.name, licence=source.licence))
        return inherited(stated)


@dataclass(frozen=True)
class Checkpoint:
    """A folder that a training has finished.

    Attributes:
        folder: where it is.
        training: what it was trained with and on.
        content: what goes to the Hub, by path.
        before, after: the runs before and after the training; None where nothing was evaluated.
    """

    folder: Path
    training: Training
    content: dict[str, Path | bytes]
    before: RunRecord | None
    after: RunRecord | None

    def content_at(self, address: HubAddress) -> dict[str, Path | bytes]:
        """What goes to that address: open_clip looks for the tokenizer where its config names it, there on the Hub.

        In a folder it takes the folder's own, whatever the config says (open_clip 3.3, `get_tokenizer`).
        """
        path = self.folder / OPEN_CLIP_CONFIG
        if OPEN_CLIP_CONFIG not in self.content or "tokenizer_config.json" not in self.content:
            return self.content
        try:
            config = json.loads(path.read_bytes())
            if "hf_tokenizer_name" not in config["model_cfg"]["text_cfg"]:
                return self.content
            config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = address.repo_id
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: no config of open_clip ({error}); train again") from error
        return {**self.content, OPEN_CLIP_CONFIG: json.dumps(config, indent=2).encode() + b"\n"}


def read_checkpoint(folder: Path) -> Checkpoint:
    """A checkpoint folder, checked.

    Raises:
        UsageError: it is no folder, or no training has finished in it.
        DataError: it has no weights, a broken record, or a file that is no part of a checkpoint or could run code.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: expected the folder of a checkpoint, as minchange-eval train writes it")
    told = _public_training(folder)
    training = _training(folder / TRAINING, told)
    files = dict(_files(folder))
    require_safe(folder, files)
    require_known(folder, files, "checkpoint")
    if not any(name in files for name in WEIGHTS):
        raise DataError(f"{folder}: has no weights; expected {' or '.join(WEIGHTS)}; copy or train it again")
    content: dict[str, Path | bytes] = dict(files)
    records: dict[str, RunRecord] = {}
    for name in sorted(files):
        if name.startswith("records/"):
            records[name] = public_record(read_record(files[name]))
            content[name] = record_bytes(records[name], compressed=name.endswith(".gz"))
    content[TRAINING] = told
    return Checkpoint(folder, training, content, records.get(BEFORE), records.get(AFTER))


def _public_training(folder: Path) -> bytes:
    """training.json, with the last part of a folder's name in place of where it lay."""
    path = folder / TRAINING
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UsageError(
            f"{folder}: has no {TRAINING}, so no training has finished in it and a card would have nothing to tell; "
            "finish it with minchange-eval train, or push a model of your own with: hf upload"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected JSON ({error}); train again") from error
    return json.dumps(without_folders(content), indent=2, ensure_ascii=False).encode() + b"\n"


def _training(path: Path, content: bytes) -> Training:
    try:
        return Training.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{path}: no training record ({'.'.join(map(str, first['loc']))}: {first['msg']})") from error


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        name = "/".join(parts)
        if any(part.startswith(".") for part in parts) or parts[0] in _AT_HOME or name in (CARD, MANIFEST):
            continue
        if path.is_symlink():
            raise DataError(f"{path}: is a link; a checkpoint is pushed from plain files only, copy what it points to")
        if not path.is_dir():
            yield name, path
