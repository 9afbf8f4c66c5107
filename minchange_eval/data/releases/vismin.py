"""VisMin's benchmark (arXiv:2407.16772): the Hub's Arrow shards, a `save_to_disk` folder, or Parquet.

Index 0 is the original, index 1 the edit; (image_0, text_0) and (image_1, text_1) belong together. Ids restart in
each category. The question columns are called `text_question_0`, …, in the data and `question_1` to `question_4` on
the data set's page; both are read, and kept under the first spelling.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from minchange_eval.core.errors import DataError, UsageError
from minchange_eval.core.items import BytesImage, CandidateSet, FileImage, ImageSource, Item
from minchange_eval.data.benchmark_card import benchmark_card, release_of
from minchange_eval.data.fingerprint import Fingerprint
from minchange_eval.data.json_rows import BadRowError, text
from minchange_eval.data.release import BrokenRow, HubSource, Release
from minchange_eval.data.row_paths import file_inside

SUBSETS = {name: subset.k for name, subset in benchmark_card("vismin").subsets.items()}
QUESTIONS = ("text_question_0", "text_question_1", "image_question_0", "image_question_1")
OTHER_QUESTIONS = ("question_1", "question_2", "question_3", "question_4")
_NEEDED = ("image_0", "image_1", "text_0", "text_1", "category")
_READ_AHEAD_ROWS = 16
_OF_TEST = re.compile(r"(?<![a-z])test(?![a-z])")
_PART = re.compile(r"(.+)-\d{5}-of-(\d{5})(\.\w+)")


def release() -> Release:
    """VisMin's benchmark as `prepare` knows it."""
    return release_of(
        "vismin",
        read,
        hub=HubSource(
            "mair-lab/vismin-bench",
            benchmark_card("vismin").revision,
            ("data/*", "data/test/*", "*.parquet", "**/*.parquet"),
        ),
    )


def read(source: Path | None) -> Iterator[Item | BrokenRow]:
    """The rows of all shards in their order.

    Raises:
        UsageError: no Arrow or Parquet file in the source, or both.
        DataError: a shard is missing, is damaged, or lacks a column.
    """
    assert source is not None
    seen: dict[str, set[str]] = {}
    number = 0
    for shard in _shards(source):
        for row in _rows(shard):
            number += 1
            try:
                item = _candidate_set(row, number, shard.parent)
                contents = seen.setdefault(item.set_id, set())
                if (content := _content(item)) in contents:
                    raise BadRowError(f"the same row stands twice (id {item.set_id})")
            except (BadRowError, ValueError, OSError) as error:
                yield BrokenRow(f"row {number} ({shard.name})", str(error))
                continue
            if contents:
                item = replace(item, set_id=f"{item.set_id}@row{number}")
            contents.add(content)
            yield item


def _content(item: CandidateSet) -> str:
    digest = Fingerprint(over_pixels=False)
    digest.add(item)
    return digest.hexdigest()


def _shards(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.exists():
        raise UsageError(f"--source {source}: there is no such file or folder")
    found = sorted(
        path
        for path in source.rglob("*")
        if path.suffix in {".arrow", ".parquet"} and not path.name.startswith(("cache-", "."))
    )
    if not found:
        raise UsageError(f"--source {source}: expected .arrow or .parquet files of mair-lab/vismin-bench, got none")
    # the benchmark is the split `test`; the training set lies in a data set of its own
    shards = [path for path in found if _OF_TEST.search(path.relative_to(source).as_posix())] or found
    if len({path.suffix for path in shards}) > 1:
        raise UsageError(f"--source {source}: holds .arrow and .parquet files; name the folder of one of them")
    _require_all(shards)
    return shards


def _require_all(shards: list[Path]) -> None:
    for path in shards:
        if part := _PART.fullmatch(path.name):
            before, count, suffix = part.groups()
            for number in range(int(count)):
                other = path.with_name(f"{before}-{number:05d}-of-{count}{suffix}")
                if other not in shards:
                    raise DataError(f"{other}: is missing, {path.name} says that there are {int(count)}; get it again")


def _rows(shard: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa

    try:
        for batch in _batches(shard):
            missing = [column for column in _NEEDED if column not in batch.schema.names]
            if missing:
                raise DataError(
                    f"{shard}: expected columns {', '.join(_NEEDED)}, {missing[0]} is missing; "
                    f"got {', '.join(batch.schema.names)}"
                )
            for start in range(0, batch.num_rows, _READ_AHEAD_ROWS):
                yield from batch.slice(start, _READ_AHEAD_ROWS).to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{shard}: is cut off or damaged ({str(error).splitlines()[0]}); get it again") from error


def _batches(shard: Path) -> Iterator[Any]:
    import pyarrow as pa

    if shard.suffix == ".parquet":
        import pyarrow.parquet as pq

        yield from pq.ParquetFile(shard, memory_map=True).iter_batches(batch_size=_READ_AHEAD_ROWS)
        return
    with pa.memory_map(str(shard)) as file:
        yield from pa.ipc.open_stream(file)


def _candidate_set(row: Mapping[str, Any], number: int, folder: Path) -> CandidateSet:
    category = text(row, "category")
    if category not in SUBSETS:
        raise BadRowError(f"unknown category {category!r}; VisMin has {', '.join(SUBSETS)}")
    row_id = row.get("id")
    names = OTHER_QUESTIONS if "question_1" in row else QUESTIONS
    questions = {
        ours: row[theirs] for ours, theirs in zip(QUESTIONS, names, strict=True) if row.get(theirs) is not None
    }
    used = {*_NEEDED, *names, "id"}
    facts = {name: value for name, value in row.items() if name not in used and _is_plain(value)}
    return CandidateSet(
        set_id=f"{category}/{f'row{number}' if row_id in (None, '') else row_id}",
        subset=category,
        images=tuple(_image(row[f"image_{i}"], f"row {number} image_{i}", folder) for i in (0, 1)),
        captions=(text(row, "text_0"), text(row, "text_1")),
        facts={**questions, **facts},
    )


def _image(value: Any, name: str, folder: Path) -> ImageSource:
    if not isinstance(value, dict) or not (value.get("bytes") or value.get("path")):
        raise BadRowError(f"{name}: expected an image, got nothing")
    if value.get("bytes") is not None:
        return BytesImage(value.get("path") or name, value["bytes"])
    path = file_inside((folder,), value["path"])
    if path is None:
        raise BadRowError(f"{name}: file {value['path']!r} is missing and the row holds no bytes")
    return FileImage(value["path"], path)


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)
