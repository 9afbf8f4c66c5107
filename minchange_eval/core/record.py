"""The run record: what was asked of which model, and everything it answered.

JSON Lines, so that a record is read and compared line by line: the header first, then one line per query, sorted by
task and query, without the fields that have their default. What may differ between two runs of the same thing (host,
times, work done) stands in the header's `run` part and nowhere else; the rest has the same bytes after any kill and on
any number of ranks.
No NaN is ever written: a missing number is null, and a number that is not finite is an error.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator, model_validator

from minchange_eval.core.errors import DataError, IncompleteError, MinchangeError
from minchange_eval.core.metrics import Kind, MetricValue, Protocol, summarize
from minchange_eval.core.outcomes import QueryOutcome, outcome_of
from minchange_eval.core.readings import published_hit
from minchange_eval.core.resting_collector import resting_collector
from minchange_eval.core.whole_files import write_whole

__all__ = [
    "SCHEMA_VERSION",
    "ModelDescription",
    "QueryOutcome",
    "RunPart",
    "RunRecord",
    "TaskRecord",
    "UnfinishedRecordError",
    "comparable_bytes",
    "digest",
    "make_record",
    "outcome_of",
    "read_record",
    "record_bytes",
    "write_record",
]

SCHEMA_VERSION = 3


class UnfinishedRecordError(IncompleteError, DataError):
    """A record that broke off, lacks lines, or holds NaN: bad data, and above all an incomplete result."""


class _Model(BaseModel):
    """Frozen, of known fields only, and without numbers that JSON does not have."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelDescription(_Model):
    """What an adapter says of its model: everything that may change an answer.

    Attributes:
        adapter: `open_clip`, `hf_dual_encoder`, …
        name: the model's name or folder, as a reader would look for it.
        weights_sha256: digest of the weights; None where they cannot be seen (a server).
        settings: dtype, activation, processor, …; plain JSON values. A chat adapter's `scoring` is among them.
        packages: versions that matter to the answers.
    """

    adapter: str
    name: str
    weights_sha256: str | None = None
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    packages: dict[str, str] = Field(default_factory=dict)

    @property
    def scoring(self) -> str | None:
        """How a chat adapter asks for answers; None for models that read no prompt, and for those that do not say."""
        said = self.settings.get("scoring")
        return said if isinstance(said, str) else None


class TaskRecord(_Model):
    """What one task asked, as far as it decides whether two results may be compared.

    Attributes:
        name: the task, `spec_count`.
        kind: `sets`, `questions` or `statements`.
        variant: how this differs from the data set's own task (`cyclic`, `swapped`, `blank`, `otherpair`, `raw`,
            `templates`); empty for that task itself.
        dataset: name of the prepared data, `spec`.
        subsets: the subsets asked for, by name.
        fingerprint: of the prepared data.
        synthetic: drawn by this project's generators, no official benchmark.
        protocol: whose published reading stands beside ours; `ours` where there is none.
        prompt_sha256: digest of all templates that the task may use; None where none is read, as with dual encoders.
        prompt_source: whose words they are: `published`, `rebuilt` (the parts of the published prompt in our words),
            `ours`, `released` (the data's own questions) or `released and published`; empty without a prompt.
        generation_kwargs: how words were decoded; empty where the answers are scores.
        limit, offset: as given; None and 0 for all.
        items: sets or questions that were asked.
        items_in_full: how many the subsets hold as prepared, less those that are left out.
        items_released: how many they hold in a complete release; None where that is not known.
        rows_skipped: rows of the release that `prepare --skip-broken` left out.
        left_out: items that this variant cannot ask (words that cannot be exchanged).
        queries: lines of this task in the record.
    """

    name: str
    kind: Kind
    variant: str = ""
    dataset: str
    subsets: tuple[str, ...]
    fingerprint: str
    synthetic: bool = False
    protocol: Protocol = "ours"
    prompt_sha256: str | None = None
    prompt_source: str = ""
    generation_kwargs: dict[str, JsonValue] = Field(default_factory=dict)
    limit: float | None = None
    offset: int = 0
    items: int
    items_in_full: int
    items_released: int | None = None
    rows_skipped: int = 0
    left_out: int = 0
    queries: int


class RunPart(_Model):
    """What may differ between two runs of the same thing.

    Attributes:
        host: name of the machine.
        started: UTC, ISO 8601.
        seconds: from start to record.
        work: what the adapter counted: `images_encoded`, `texts_from_log`, …
    """

    host: str = ""
    started: str = ""
    seconds: float | None = None
    work: dict[str, JsonValue] = Field(default_factory=dict)


class RunRecord(_Model):
    """A run, whole: what `report`, `compare`, `gate` and the model card read.

    Attributes:
        schema_version: of this format.
        tasks: by name.
        groups: group name to the names of its tasks; a group's metrics are over its tasks' outcomes together.
        model: as the adapter describes it.
        packages: versions of what took part.
        metrics: by task or group, this project's reading.
        published: by task or group, the paper's reading of the same answers, where it has one.
        alternatives: by name of other scores of the same answers (`sum` over tokens where the mean is judged), then by
            task or group: this project's reading of those, where every scored query has them.
        slim_of: digest of the whole record that this is the slim form of (`core.slim_records`); empty for a whole one.
        run: host, times and work; left out of every comparison.
        outcomes: by task, each sorted by query, each query once.
    """

    schema_version: int = SCHEMA_VERSION
    tasks: tuple[TaskRecord, ...]
    groups: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    model: ModelDescription
    packages: dict[str, str] = Field(default_factory=dict)
    metrics: dict[str, tuple[MetricValue, ...]]
    published: dict[str, tuple[MetricValue, ...]] = Field(default_factory=dict)
    alternatives: dict[str, dict[str, tuple[MetricValue, ...]]] = Field(default_factory=dict)
    slim_of: str = ""
    run: RunPart = RunPart()
    outcomes: dict[str, tuple[QueryOutcome, ...]]

    @field_validator("tasks")
    @classmethod
    def _by_name(cls, tasks: tuple[TaskRecord, ...]) -> tuple[TaskRecord, ...]:
        return tuple(sorted(tasks, key=lambda task: task.name))

    @field_validator("outcomes")
    @classmethod
    def _each_query_once(cls, outcomes: dict[str, tuple[QueryOutcome, ...]]) -> dict[str, tuple[QueryOutcome, ...]]:
        return {task: once(outcomes[task]) for task in sorted(outcomes)}

    @model_validator(mode="after")
    def _whole(self) -> RunRecord:
        kinds = {task.name: task.kind for task in self.tasks}
        if len(kinds) < len(self.tasks):
            raise ValueError(f"expected each task once, got {', '.join(task.name for task in self.tasks)}")
        for group, members in self.groups.items():
            of_members = {kinds.get(member) for member in members}
            if len(of_members) != 1 or None in of_members:
                raise ValueError(f"group {group}: expected tasks of the record, all of one kind, got {list(members)}")
            if group in kinds and group not in members:
                raise ValueError(f"group {group}: expected the task of that name among its own, got {list(members)}")
        held = {task: len(lines) for task, lines in self.outcomes.items()}
        promised = {task.name: task.queries for task in self.tasks}
        if held != promised:
            raise ValueError(f"expected queries of each task {promised}, got {held}")
        return self


def once(outcomes: Iterable[QueryOutcome]) -> tuple[QueryOutcome, ...]:
    """Outcomes sorted by query, each query once.

    Raises:
        ValueError: a query has two different outcomes.
    """
    kept: dict[str, QueryOutcome] = {}
    for outcome in outcomes:
        if kept.setdefault(outcome.query_id, outcome) != outcome:
            raise ValueError(f"query {outcome.query_id} has two different outcomes")
    return tuple(kept[query_id] for query_id in sorted(kept))


def make_record(
    tasks: Iterable[TaskRecord],
    outcomes: Mapping[str, Iterable[QueryOutcome]],
    model: ModelDescription,
    *,
    groups: Mapping[str, tuple[str, ...]] | None = None,
    packages: Mapping[str, str] | None = None,
    run: RunPart | None = None,
) -> RunRecord:
    """The record of a run with the metrics of its outcomes, so that no record's numbers and lines can disagree.

    Args:
        tasks: each with its own `queries` as counted after queries given twice are taken once.
        outcomes: by task name.
        model: as the adapter describes it.
        groups: group name to the names of its tasks, all of one kind, one data set and one protocol.

    Raises:
        ValueError: a task without outcomes, or a query with two different ones.
        IncompleteError: a set lacks queries.
    """
    by_name = {task.name: task for task in sorted(tasks, key=lambda task: task.name)}
    lines = {name: once(outcomes[name]) for name in by_name}
    together = {name: (name,) for name in by_name} | {name: tuple(sorted(of)) for name, of in (groups or {}).items()}
    metrics: dict[str, tuple[MetricValue, ...]] = {}
    published: dict[str, tuple[MetricValue, ...]] = {}
    alternatives: dict[str, dict[str, tuple[MetricValue, ...]]] = {}
    for name, members in sorted(together.items()):
        first = by_name[members[0]]
        asked = [line for member in members for line in lines[member]]
        metrics[name] = summarize(asked, first.kind)
        if first.protocol != "ours":
            alike = all(published_hit(line, first.protocol) == line.hit for line in asked)
            published[name] = metrics[name] if alike else summarize(asked, first.kind, protocol=first.protocol)
        for other, lines_so in _judged_otherwise(asked).items():
            alternatives.setdefault(other, {})[name] = summarize(lines_so, first.kind)
    return RunRecord(
        tasks=tuple(by_name.values()),
        groups={name: tuple(sorted(of)) for name, of in sorted((groups or {}).items())},
        model=model,
        packages=dict(sorted((packages or {}).items())),
        metrics=metrics,
        published=published,
        alternatives=dict(sorted(alternatives.items())),
        run=run or RunPart(),
        outcomes=lines,
    )


def _judged_otherwise(outcomes: Sequence[QueryOutcome]) -> dict[str, list[QueryOutcome]]:
    """By name of the alternative scores that all scored outcomes have: the outcomes as those scores judge them."""
    scored = [outcome for outcome in outcomes if outcome.scores is not None]
    names = set.intersection(*(set(outcome.alternatives) for outcome in scored)) if scored else set()
    return {
        name: [
            outcome
            if outcome.scores is None
            else outcome.answered(scores=outcome.alternatives[name], scored=outcome.scored, truncated=outcome.truncated)
            for outcome in outcomes
        ]
        for name in sorted(names)
    }


def comparable_bytes(record: RunRecord) -> bytes:
    """The record as written, without its `run` part: equal for two runs of the same thing.

    Raises:
        ValueError: a number is not finite.
    """
    return b"".join(_lines(record, leave_out={"outcomes", "run"}))


def digest(record: RunRecord) -> str:
    """SHA-256 of `comparable_bytes`, 64 hexadecimal digits."""
    return hashlib.sha256(comparable_bytes(record)).hexdigest()


def write_record(record: RunRecord, path: Path) -> None:
    """Write a record whole or not at all: a temporary file beside it, fsync, rename, fsync of the folder.

    A name that ends in `.gz` is written compressed, the same bytes for the same record.

    Raises:
        ValueError: a number is not finite.
        MinchangeError: the file cannot be written (disk full, no permission); what was there before stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        packed = path.suffix == ".gz"
        write_whole(path, [record_bytes(record, compressed=True)] if packed else _lines(record, {"outcomes"}))
    except OSError as error:
        raise MinchangeError(
            f"record {path}: cannot be written ({error.strerror or error}); make room or name another folder and run "
            "again, what was answered is in the log"
        ) from error


def record_bytes(record: RunRecord, *, compressed: bool = False) -> bytes:
    """The record as written; compressed, the same bytes for the same record.

    Raises:
        ValueError: a number is not finite.
    """
    content = b"".join(_lines(record, leave_out={"outcomes"}))
    return gzip.compress(content, mtime=0) if compressed else content


def _lines(record: RunRecord, leave_out: set[str]) -> Iterator[bytes]:
    yield _line(record.model_dump(mode="json", exclude=leave_out))
    for task, outcomes in record.outcomes.items():
        for outcome in outcomes:
            yield _line({"task": task, **outcome.model_dump(mode="json", exclude_defaults=True)})


def _line(content: Mapping[str, Any]) -> bytes:
    # keys sorted, so that the order in which an adapter filled its settings does not show
    return json.dumps(content, allow_nan=False, sort_keys=True, separators=(",", ":")).encode() + b"\n"


@resting_collector()
def read_record(path: Path) -> RunRecord:
    """Read a record of this or any earlier version, compressed or not.

    Raises:
        UnfinishedRecordError: the file breaks off, lines are missing, or a number is NaN or infinite.
        DataError: no such file, a broken line (with its number), or a newer version's record.
    """
    lines = _parsed(path)
    header = next(lines, (1, {}))[1]
    version = header.get("schema_version")
    if not isinstance(version, int) or version < 1:
        raise DataError(f"record {path} line 1: expected a header with schema_version, got none; not a run record")
    if version > SCHEMA_VERSION:
        raise DataError(
            f"record {path} line 1: written with schema {version}, this version reads up to {SCHEMA_VERSION}; "
            "update minchange-eval"
        )
    outcomes: dict[str, list[QueryOutcome]] = {}
    for number, content in lines:
        try:
            task = str(content.pop("task"))
            outcomes.setdefault(task, []).append(QueryOutcome.model_validate(content))
        except (KeyError, ValidationError) as error:
            infinite = isinstance(error, ValidationError) and error.errors()[0]["type"] == "finite_number"  # 1e999
            kind = UnfinishedRecordError if infinite else DataError
            raise kind(f"record {path} line {number}: not the outcome of a query ({_reason(error)})") from error
    _require_all_lines(path, header, outcomes)
    try:
        return RunRecord.model_validate({**header, "outcomes": {task: tuple(of) for task, of in outcomes.items()}})
    except ValidationError as error:
        raise DataError(f"record {path} line 1: does not fit its lines or its format ({_reason(error)})") from error


def _require_all_lines(path: Path, header: Mapping[str, Any], outcomes: dict[str, list[QueryOutcome]]) -> None:
    """Fewer lines than the header counts: the file was cut at the end of a line. A task of none has no lines."""
    tasks = header.get("tasks")
    for task in tasks if isinstance(tasks, list) else ():
        if isinstance(task, dict) and isinstance(name := task.get("name"), str):
            held, promised = len(outcomes.setdefault(name, [])), task.get("queries")
            if isinstance(promised, int) and held < promised:
                raise UnfinishedRecordError(
                    f"record {path} line 1: does not fit its lines ({name}: expected {promised} queries, got {held}); "
                    "the file is not whole, copy it or evaluate the model again"
                )


def _parsed(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                yield number, _parsed_line(path, number, line)
    except EOFError as error:
        raise UnfinishedRecordError(f"record {path}: breaks off ({error}); copy it or evaluate again") from error
    except zlib.error as error:
        raise DataError(f"record {path}: is damaged ({error}); copy it or evaluate again") from error
    except OSError as error:
        raise DataError(f"record {path}: cannot be read ({error.strerror or error})") from error


def _parsed_line(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        content = json.loads(line.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        breaks_off = line.startswith(b'{"') and not line.endswith(b"\n")
        kind = UnfinishedRecordError if breaks_off or isinstance(error, _NotFiniteError) else DataError
        raise kind(f"record {path} line {number}: expected JSON, got {line[:40]!r} ({error})") from error
    if not isinstance(content, dict):
        raise DataError(f"record {path} line {number}: expected an object, got {line[:40]!r}")
    return content


class _NotFiniteError(ValueError):
    """NaN or an infinity stands where a number should."""


def _no_constant(name: str) -> None:
    raise _NotFiniteError(f"{name} is no number that a record may hold")


def _reason(error: KeyError | ValidationError) -> str:
    if isinstance(error, KeyError):
        return f"no {error}"
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    said = str(first["msg"]).removeprefix("Value error, ")
    return f"{place}: {said}" if place else said
