"""Run records on the Hub: one small repository that grows with each push, and that `report` and `gate` read from.

A record says on which machine and when it was made, and perhaps where its model lay; that stays at home.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from pydantic import JsonValue

from minchange_eval.core.errors import NotPreparedError, UsageError, printable
from minchange_eval.core.metrics import MetricValue
from minchange_eval.core.record import RunPart, RunRecord, digest, read_record, record_bytes
from minchange_eval.data.download import is_offline
from minchange_eval.hub.address import HubAddress
from minchange_eval.hub.client import Hub, NoSuchRepositoryError
from minchange_eval.hub.fetch import download
from minchange_eval.hub.file_names import require_safe
from minchange_eval.hub.manifest import MANIFEST, Held, Manifest, read_manifest
from minchange_eval.hub.upload import Push, There

FOLDER = "records"
_ENDINGS = (".jsonl", ".jsonl.gz")
_HEADLINES = ("pair_mean", "group_score", "macro", "accuracy", "i2t_accuracy")
_LARGEST = 2_000_000_000  # bytes of one record that is read from the Hub


def public_record(record: RunRecord) -> RunRecord:
    """The record without what tells of a machine: host, times, and the folders that files lay in.

    What models got, and everything that is compared, stays as it is.
    """
    model = record.model.model_copy(
        update={
            "name": without_folders(record.model.name),
            "settings": {name: without_folders(value) for name, value in record.model.settings.items()},
        }
    )
    return record.model_copy(update={"run": RunPart(), "model": model})


def without_folders(value: Any) -> Any:
    """JSON for readers elsewhere: of each path on this machine its last part.

    >>> without_folders({"model": "/home/ada/clip-spec", "base": ["ada/clip", "~/b32.pt"]})
    {'model': 'clip-spec', 'base': ['ada/clip', 'b32.pt']}
    """
    if isinstance(value, dict):
        return {name: without_folders(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(one) for one in value]
    is_path = isinstance(value, str) and re.match(r"/|\.\.?/|~|[A-Za-z]:\\", value)
    return PurePath(value).name or value if is_path else value


@dataclass(frozen=True)
class ReadRecord:
    """A record to be pushed: where it will lie, its bytes there, and its line in the index."""

    path: str
    content: bytes
    facts: dict[str, JsonValue]


def read_for_push(paths: Sequence[Path]) -> list[ReadRecord]:
    """The records of files, or of folders with such files.

    Raises:
        UsageError: two of them would have one name, or a folder has none.
        DataError, IncompleteError: a file is no record, or a broken one.
    """
    read: dict[str, ReadRecord] = {}
    for path in _files_in(paths):
        record = public_record(read_record(path))
        name = (
            re.sub(r"[^A-Za-z0-9_.\-]+", "-", path.name.removesuffix(".gz").removesuffix(".jsonl"))[:180].strip("-.")
            or "run"
        )
        made = ReadRecord(f"{FOLDER}/{name}.jsonl.gz", record_bytes(record, compressed=True), _facts(record))
        if read.setdefault(made.path, made) != made:
            raise UsageError(f"{path}: another record would be named {made.path} too; rename one of them")
    return list(read.values())


def _files_in(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        inside = sorted(file for file in path.iterdir() if file.name.endswith(_ENDINGS) and "record" in file.name)
        if not inside:
            raise UsageError(f"{path}: has no run records (…_record.jsonl); name the files")
        yield from inside


def records_push(read: Sequence[ReadRecord], address: HubAddress, there: There | None) -> Push:
    """A push that adds records to those that lie there.

    Args:
        there: the repository as it is; None for a new one.
    """
    before = there.manifest if there and there.manifest else None
    index: dict[str, Any] = dict(_index(before)) if before else {}
    own = {record.path for record in read}
    on_hub = there.tree if there else {}
    kept = {path: held for path, held in _records_of(before).items() if path not in own and path in on_hub}
    index = {path: facts for path, facts in index.items() if path in kept}
    index |= {record.path: record.facts for record in read}
    return Push(
        kind="records",
        content={record.path: record.content for record in read},
        card=_card(address, index),
        facts={"records": index},
        message=f"{len(read)} run record{'s' if len(read) > 1 else ''}",
        kept=kept,
        beside=before,
    )


def _index(manifest: Manifest) -> Mapping[str, Any]:
    index = manifest.facts.get("records")
    return index if isinstance(index, dict) else {}


def _records_of(manifest: Manifest | None) -> dict[str, Held]:
    files = manifest.files if manifest else {}
    return {path: held for path, held in files.items() if path.startswith(f"{FOLDER}/") and path.endswith(_ENDINGS)}


def _facts(record: RunRecord) -> dict[str, JsonValue]:
    inside = {member for members in record.groups.values() for member in members}
    names = [*record.groups, *(task.name for task in record.tasks if task.name not in inside)]
    values: dict[str, JsonValue] = {name: _headline(record.metrics.get(name, ())) for name in names}
    return {
        "model": record.model.name,
        "adapter": record.model.adapter,
        "weights": (record.model.weights_sha256 or "")[:12],
        "results": values,
        "partial": any(task.items < task.items_in_full for task in record.tasks),
        "slim": bool(record.slim_of),
        "digest": digest(record)[:12],
    }


def _headline(values: Sequence[MetricValue]) -> dict[str, JsonValue]:
    wholes = {value.name: value for value in values if not value.subset}
    for name in _HEADLINES:
        if name in wholes:
            value = wholes[name]
            return {
                "metric": name,
                "value": round(value.value, 4),
                "low": round(value.low, 4),
                "high": round(value.high, 4),
                "chance": None if value.chance is None else round(value.chance, 4),
                "n": value.n,
            }
    return {}


def _card(address: HubAddress, index: Mapping[str, Any]) -> str:
    import yaml

    front = yaml.safe_dump(
        {
            "pretty_name": f"Run records {address.name}",
            "tags": ["minchange-eval", "evaluation-results"],
            "viewer": False,
        },
        sort_keys=False,
    )
    rows = "\n".join(row for path, facts in sorted(index.items()) for row in _rows(path, facts))
    example = next(iter(sorted(index)), f"{FOLDER}/run.jsonl.gz")
    return f"""---
{front}---

# Run records

What models answered on minimal-change benchmarks, query by query, as `minchange-eval` wrote it down.

| record | model | benchmark | metric | value, % | 95 % interval | chance, % | n |
|---|---|---|---|---|---|---|---|
{rows}

Host names, times and folders of the machines that they were made on are left out. *slim*: verdicts without scores
and replies. *partial*: not all items were asked, no score to publish.

## How to read them

```sh
minchange-eval report {address} --out report.html
minchange-eval gate --baseline {address}/{example} --candidate new.jsonl
```
"""


def _rows(path: str, facts: Any) -> Iterator[str]:
    facts = facts if isinstance(facts, dict) else {}
    marks = [mark for mark in ("slim", "partial") if facts.get(mark)]
    name = path.removeprefix(f"{FOLDER}/") + (f" ({', '.join(marks)})" if marks else "")
    results = facts.get("results")
    for benchmark, value in (results if isinstance(results, dict) else {}).items():
        cells = [name, facts.get("model"), benchmark, *_numbers(value if isinstance(value, dict) else {})]
        yield "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _numbers(value: Mapping[str, Any]) -> list[Any]:
    if not value:
        return ["", "", "", "", ""]
    interval = f"{_percent(value.get('low'))} to {_percent(value.get('high'))}"
    return [value.get("metric"), _percent(value.get("value")), interval, _percent(value.get("chance")), value.get("n")]


def _percent(share: Any) -> str:
    return f"{100 * share:.1f}" if isinstance(share, int | float) else "-"


def _cell(value: object) -> str:
    """Text of others in a table: on one line, and no markup."""
    text = printable(str("" if value is None else value))[:120]
    return re.sub(r"([|\\`*_<>\[\]])", r"\\\1", text)


def record_files(address: HubAddress, hub: Hub) -> list[Path]:
    """The records that an address names, in the Hub's own cache: all of a repository, or the one file.

    A repository of records, or a checkpoint with the records before and after its training. With HF_HUB_OFFLINE no
    connection is tried, and the cache has to hold them.

    Raises:
        UsageError: there is no such repository, revision or file, or it holds no records.
        NotPreparedError: offline, and not in the cache.
        DataError: a file is not what was pushed.
    """
    refused: list[UsageError] = []
    for repository_type in ("dataset", "model"):
        try:
            return _records_in(repository_type, address, hub)
        except UsageError as error:
            refused.append(error)
    raise next((error for error in refused if not isinstance(error, NoSuchRepositoryError)), refused[0])


def _records_in(repository_type: str, address: HubAddress, hub: Hub) -> list[Path]:
    offline, revision = is_offline(), address.revision or "main"
    if not offline:  # the library would take what it has for what is there
        hub.ask(address, lambda: hub.api.repo_info(address.repo_id, repo_type=repository_type, revision=revision))

    def fetch(path: str, sha256: str | None, at: str = revision) -> Path:
        return download(hub, address, repository_type, at, path, sha256, offline=offline)

    try:
        manifest_file = fetch(MANIFEST, None)
    except UsageError as error:
        if isinstance(error, NotPreparedError) or not address.path:
            raise
        require_safe(address, [address.path])
        return [fetch(address.path, None)]  # a record that somebody has put there by hand
    manifest = read_manifest(manifest_file.read_bytes(), address)
    commit = manifest_file.parent.name  # a branch may move between two files
    held = {path: file for path, file in _records_of(manifest).items() if address.path in ("", path)}
    if not held:
        there = ", ".join(list(_records_of(manifest))[:5]) or "none"
        raise UsageError(f"{address}: holds no such run record; there are: {there}")
    require_safe(address, held)
    for path, file in held.items():
        if file.size > _LARGEST:
            raise UsageError(f"{address}: {path} has {file.size:,} bytes, which no run record has; look at it first")
    return [fetch(path, file.sha256, commit) for path, file in held.items()]
