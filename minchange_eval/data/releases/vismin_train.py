"""VisMin's training set (arXiv:2407.16772): 64,392 pairs of an original and its edit, in either published layout.

Nested: `train.json`, a list of originals with their `negatives`, whose images are files (`image_path` and
`edited_image_path`, as github.com/rabiulcste/vismin writes them). Rows: the Hub's data set mair-lab/vismin, one row an
image, in which an edit names its original by `source_image_id`. Of the second layout texts are read first and pixels
when a pair is asked for, so that the originals may lie in any shard.

Index 0 is the original, index 1 the edit; edits of one original are pairs of their own that share it.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

from minchange_eval.core.errors import DataError, UsageError
from minchange_eval.core.items import CandidateSet, FileImage, ImageSource, Item
from minchange_eval.data.json_rows import BadRowError, as_row, json_list, text
from minchange_eval.data.release import BrokenRow, HubSource, Release
from minchange_eval.data.releases.vismin import SUBSETS
from minchange_eval.data.row_paths import file_inside

NAME = "vismin_train"
_TEXT_COLUMNS = ("image_id", "caption", "source_image_id", "category")
_SHARDS_OPEN = 8  # memory-mapped at a time; an original and its edits mostly lie near each other
_FACTS = ("sub_category", "input_phrase", "edited_phrase", "edit_id", "edit_instruction")


def release() -> Release:
    """VisMin's training set as `prepare` knows it."""
    return Release(
        name=NAME,
        kind="sets",
        title="VisMin, training set",
        licence="CC-BY-SA-4.0",
        paper="arXiv:2407.16772",
        subsets=SUBSETS,
        read=read,
        quirks=(
            "originals without an edit make no pair and are not here",
            "an original with several edits is stored with each of them; `train clip` takes it once",
            "1,620 pairs of `attribute` carry the tag No Attribute, which the benchmark leaves out",
        ),
        items=64_392,
        how_to_get="the data set mair-lab/vismin of the Hugging Face Hub, or train.json with its folder of images",
        hub=HubSource("mair-lab/vismin", "main", ("data/*", "data/train/*")),  # no revision of it is known to work
    )


def read(source: Path | None, images: Path | None = None) -> Iterator[Item | BrokenRow]:
    """The pairs in the order of their edits.

    Args:
        images: folder that the paths of the nested layout start from; by default the folder of the JSON file.

    Raises:
        UsageError: neither layout is there.
        DataError: a file is damaged or of another shape.
    """
    assert source is not None
    nested = _json_of(source)
    if nested is not None:
        yield from _read_nested(nested, images or nested.parent)
        return
    shards = sorted(
        path
        for path in (source.rglob("*") if source.is_dir() else [source])
        if path.suffix in {".arrow", ".parquet"} and not path.name.startswith(("cache-", "."))
    )
    if not shards:
        raise UsageError(f"--source {source}: expected train.json, or .arrow or .parquet files of mair-lab/vismin")
    if len({path.suffix for path in shards}) > 1:
        raise UsageError(f"--source {source}: holds .arrow and .parquet files; name the folder of one of them")
    yield from _read_rows(shards)


def _json_of(source: Path) -> Path | None:
    if source.is_file():
        return source if source.suffix == ".json" else None
    inside = source / "train.json"
    return inside if inside.is_file() else None


def _read_nested(path: Path, images: Path) -> Iterator[Item | BrokenRow]:
    for number, row in enumerate(json_list(path.read_bytes(), str(path)), 1):
        where = f"{path.name} record {number}"
        try:
            record = as_row(row)
            negatives = record.get("negatives")
            if not isinstance(negatives, list):
                raise BadRowError("field 'negatives': expected a list of edits")
        except BadRowError as error:
            yield BrokenRow(where, str(error))
            continue
        for place, negative in enumerate(negatives, 1):
            try:
                yield _nested_pair(record, as_row(negative), images)
            except (BadRowError, ValueError) as error:
                yield BrokenRow(f"{where} edit {place}", str(error))


def _nested_pair(record: Mapping[str, Any], edit: Mapping[str, Any], images: Path) -> CandidateSet:
    pictures = (text(record, "image_path"), text(edit, "edited_image_path"))
    own = edit.get("edit_id") or hashlib.sha256(pictures[1].encode()).hexdigest()[:8]
    return _pair(
        f"{record.get('image_id')}/{own}",
        (_file(pictures[0], images), _file(pictures[1], images)),
        (text(record, "caption"), text(edit, "edited_caption")),
        text(edit, "category"),
        {**edit, "source": record.get("source")},
    )


def _file(name: str, folder: Path) -> FileImage:
    path = file_inside((folder,), name)
    if path is None:
        raise BadRowError(f"image {name!r} is not below {folder}; name its folder with --images")
    return FileImage(name, path)


def _pair(
    name: str,
    images: tuple[ImageSource, ImageSource],
    captions: tuple[str, str],
    category: str,
    facts: Mapping[str, Any],
) -> CandidateSet:
    if category not in SUBSETS:
        raise BadRowError(f"unknown category {category!r}; VisMin has {', '.join(SUBSETS)}")
    kept = {key: facts[key] for key in (*_FACTS, "source") if isinstance(facts.get(key), str | int)}
    return CandidateSet(
        set_id=f"{NAME}/{category}/{name}", subset=category, images=images, captions=captions, facts=kept
    )


@dataclass(frozen=True)
class _Place:
    """A row of the Hub's layout: which shard, and which row of it."""

    shard: Path
    row: int
    caption: Any


def _read_rows(shards: list[Path]) -> Iterator[Item | BrokenRow]:
    originals: dict[str, _Place] = {}
    for shard in shards:
        for row, values in enumerate(_texts(shard)):
            if not values["source_image_id"]:
                originals[str(values["image_id"])] = _Place(shard, row, values["caption"])
    for shard in shards:
        for row, values in enumerate(_texts(shard)):
            source_id = values["source_image_id"]
            if not source_id:
                continue
            try:
                original = originals.get(str(source_id))
                if original is None:
                    raise BadRowError(f"its original {source_id!r} is in no row")
                yield _pair(
                    f"{source_id}/{values['image_id']}",
                    (_ShardImage(original.shard, original.row), _ShardImage(shard, row)),
                    (text({"caption": original.caption}, "caption"), text(values, "caption")),
                    text(values, "category"),
                    values,
                )
            except (BadRowError, ValueError) as error:
                yield BrokenRow(f"{shard.name} row {row + 1}", str(error))


def _texts(shard: Path) -> Iterator[Mapping[str, Any]]:
    """What the rows of a shard say, without pixels."""
    with _clear_errors(shard):
        there = _opened(shard).columns
        if missing := [name for name in (*_TEXT_COLUMNS, "image") if name not in there]:
            raise DataError(
                f"{shard}: expected columns {', '.join(_TEXT_COLUMNS)} and image, {missing[0]} is missing; "
                f"got {', '.join(there)}"
            )
        yield from _opened(shard).texts([*_TEXT_COLUMNS, *(name for name in _FACTS if name in there)])


@dataclass(frozen=True)
class _ShardImage:
    """The image of one row; its shard is opened when it is read."""

    shard: Path
    row: int

    @property
    def name(self) -> str:
        return f"{self.shard.name} row {self.row + 1}"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.read()).hexdigest()

    def read(self) -> bytes:
        with _clear_errors(self.shard):
            value = _opened(self.shard).image(self.row)
        if not value or not value.get("bytes"):
            raise DataError(f"image {self.name}: the row holds no bytes")
        data: bytes = value["bytes"]
        return data


@contextmanager
def _clear_errors(shard: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{shard}: is cut off or damaged ({str(error).splitlines()[0]}); get it again") from error


class _ArrowShard:
    """A file that `save_to_disk` wrote, memory-mapped."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        self._table = pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
        self.columns: list[str] = self._table.column_names

    def texts(self, columns: list[str]) -> Iterator[Mapping[str, Any]]:
        for batch in self._table.select(columns).to_batches():
            yield from batch.to_pylist()

    def image(self, row: int) -> Any:
        return self._table.column("image")[row].as_py()


class _ParquetShard:
    """A Parquet file; of its pixels a few row groups are in memory."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self._path = path
        with pq.ParquetFile(path) as file:
            self.columns: list[str] = file.schema_arrow.names
            rows = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
        self._ends = list(accumulate(rows))

    def texts(self, columns: list[str]) -> Iterator[Mapping[str, Any]]:
        import pyarrow.parquet as pq

        with pq.ParquetFile(self._path) as file:
            for batch in file.iter_batches(columns=columns):
                yield from batch.to_pylist()

    def image(self, row: int) -> Any:
        group = bisect_right(self._ends, row)
        return _row_group(self._path, group)[row - (self._ends[group - 1] if group else 0)].as_py()


@lru_cache(maxsize=_SHARDS_OPEN)
def _row_group(path: Path, group: int) -> Any:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:  # one a read: a file is not made for several threads
        return file.read_row_group(group, columns=["image"]).column("image")


@lru_cache(maxsize=_SHARDS_OPEN)
def _opened(shard: Path) -> _ArrowShard | _ParquetShard:
    return _ParquetShard(shard) if shard.suffix == ".parquet" else _ArrowShard(shard)
