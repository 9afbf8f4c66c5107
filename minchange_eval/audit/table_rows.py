"""Rows of a table in a file: JSONL, JSON, CSV, TSV or Parquet, one row at a time."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minchange_eval.core.errors import DataError
from minchange_eval.data.json_rows import BadRowError, as_row, json_lines, json_list

JSON_SUFFIXES = (".jsonl", ".json")
SUFFIXES = (*JSON_SUFFIXES, ".csv", ".tsv", ".parquet")
_PARQUET_ROWS = 64  # in memory at a time: a row may hold megabytes of pixels


def table_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[Mapping[str, Any]]:
    """Rows of a file, by its suffix; of a JSON file every row is an object whose texts can be stored.

    Args:
        columns: spare a Parquet file's others, which may be pixels.

    Raises:
        DataError: the file cannot be read, is no such file or damaged; with the row or line.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            yield from _parquet_rows(path, columns)
        elif suffix in {".csv", ".tsv"}:
            yield from _csv_rows(path, "\t" if suffix == ".tsv" else ",")
        else:
            parse = json_lines if suffix == ".jsonl" else json_list
            yield from _json_rows(path, parse(path.read_bytes(), str(path)))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _json_rows(path: Path, rows: Iterable[Any]) -> Iterator[Mapping[str, Any]]:
    for number, row in enumerate(rows, 1):
        try:
            yield as_row(row)
        except BadRowError as error:
            raise DataError(f"{path} row {number}: {error}; mend or remove it") from error


def _csv_rows(path: Path, delimiter: str) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file, _long_fields():
        reader = csv.DictReader(file, delimiter=delimiter, strict=True)
        try:
            for row in reader:
                if None in row or None in row.values():
                    raise DataError(f"{path} line {reader.line_num}: expected {len(reader.fieldnames or ())} fields")
                yield row
        except csv.Error as error:
            raise DataError(f"{path} line {reader.line_num}: is no CSV ({error})") from error
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: expected UTF-8, got byte {error.object[error.start]:#04x}") from error


@contextmanager
def _long_fields() -> Iterator[None]:
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # csv's own limit is 128 kB; captions may be longer
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _parquet_rows(path: Path, columns: Sequence[str] | None) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(io.BytesIO(b"") if path.stat().st_size == 0 else path) as file:
            for batch in file.iter_batches(_PARQUET_ROWS, columns=None if columns is None else list(columns)):
                yield from batch.to_pylist()
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"{path}: is no Parquet file, or is damaged ({str(error).splitlines()[0]})") from error
