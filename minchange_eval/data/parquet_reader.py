"""Published data sets (data/parquet_layout.py) back to items: each file and image by its digest, all or nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from minchange_eval.core.errors import DataError
from minchange_eval.core.items import BytesImage, Item
from minchange_eval.data.json_rows import as_row
from minchange_eval.data.parquet_layout import DATA_FOLDER, Manifest, PushedFile, parquet_schema
from minchange_eval.data.store import item_of

_BUFFER_BYTES = 2**16  # of each column: else a whole row group of each subset would lie in memory
_BATCH_BYTES = 2**20  # held of each subset, or one row
_MOST_BYTES = 2**30  # of one row group, unpacked; ours have 16 MiB or one row
# Packed so, a value takes room of its own, and what a file unpacks to is bounded by its size (Snappy: 64 bytes of 3).
_COMPRESSIONS = {"SNAPPY", "UNCOMPRESSED"}
_ENCODINGS = {"PLAIN", "RLE"}  # RLE: of the lengths of lists


def published_items(folder: Path, manifest: Manifest) -> Iterator[Item]:
    """The items in released order, with their images in memory; a few rows of each subset are held at a time.

    Raises:
        DataError: a file is missing, is not the one that was published or is damaged; an image is not what its SHA-256
            says; items are missing or stand twice.
    """
    _refuse_other_files(folder, manifest)
    for file in manifest.files:
        if fault := fault_of(folder / file.path, file):
            raise DataError(fault)
    streams = {subset: _rows(folder, manifest, subset) for subset in {file.subset: None for file in manifest.files}}
    for position, subset in enumerate(_order(folder, manifest)):
        where, values = next(streams[subset])
        if values["position"] != position:
            raise DataError(f"{where}: expected position {position}, got {values['position']}; get it again")
        yield _item(manifest, where, values)


def _refuse_other_files(folder: Path, manifest: Manifest) -> None:
    there = {path.relative_to(folder).as_posix() for path in (folder / DATA_FOLDER).rglob("*.parquet")}
    if other := sorted(there - {file.path for file in manifest.files}):
        raise DataError(
            f"{folder / other[0]}: is no part of {manifest.name} ({len(other)} such files); leftovers of another push "
            "would be read by others: remove them"
        )


def fault_of(path: Path, file: PushedFile) -> str:
    """Why a file is not the one that was published; empty where it is."""
    try:
        with path.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
    except FileNotFoundError:
        return f"{path}: is missing; get the data set again, whole"
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror or error})"
    if found == file.sha256:
        return ""
    return (
        f"{path}: is not what was published (expected {file.size_bytes:,} bytes of SHA-256 {file.sha256[:12]}, got "
        f"{path.stat().st_size:,} of {found[:12]}); get it again"
    )


def _order(folder: Path, manifest: Manifest) -> Iterator[str]:
    """The subset of each item, in released order."""
    subsets = list({file.subset: None for file in manifest.files})
    positions, owners = [], []
    for file in manifest.files:
        path = folder / file.path
        opened = _opened(path, manifest)
        with _readable(path):
            found = opened.read(columns=["position"], use_threads=False).column("position").to_numpy()
        if len(found) != file.rows:
            raise DataError(f"{path}: expected {file.rows:,} rows, got {len(found):,}; get it again")
        positions.append(found)
        owners.append(np.full(len(found), subsets.index(file.subset)))
    place, owner = np.concatenate(positions), np.concatenate(owners)
    in_order = np.argsort(place, kind="stable")
    if not np.array_equal(place[in_order], np.arange(len(place))):
        raise DataError(f"{folder}: items of {manifest.name} are missing or stand twice; get the data set again")
    return (subsets[number] for number in owner[in_order])


def _rows(folder: Path, manifest: Manifest, subset: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of one subset, each with where it stands."""
    for file in manifest.files:
        if file.subset != subset:
            continue
        path, row = folder / file.path, 0
        rows_at_once = min(64, max(1, _BATCH_BYTES * file.rows // max(1, path.stat().st_size)))
        opened = _opened(path, manifest)
        with _readable(path):
            for batch in opened.iter_batches(rows_at_once, use_threads=False):
                for values in batch.to_pylist():
                    yield f"{path} row {row}", values
                    row += 1


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); get it again") from error


def _opened(path: Path, manifest: Manifest) -> Any:
    """A Parquet file with the columns of the layout, packed as we pack."""
    import pyarrow.parquet as pq

    with _readable(path):
        file = pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        found = file.schema_arrow
    expected = parquet_schema(manifest.kind, one_image=manifest.one_image)
    if not found.equals(expected):
        raise DataError(
            f"{path}: expected the columns {', '.join(expected.names)} of this layout's types, got "
            f"{', '.join(found.names)[:200]}; get it again"
        )
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        if reason := _bomb(group):
            raise DataError(f"{path}: {reason}, refused as a bomb")
    return file


def _bomb(group: Any) -> str:
    """Why a row group could unpack to far more than it takes in the file; empty where it could not."""
    if group.total_byte_size > _MOST_BYTES:
        return f"a row group would unpack to more than {_MOST_BYTES:,} bytes"
    for column in map(group.column, range(group.num_columns)):
        packed = {column.compression, *column.encodings}
        if other := sorted(packed - _COMPRESSIONS - _ENCODINGS):
            return f"{column.path_in_schema} is packed as {', '.join(other)}, as no published data are"
        if column.num_values > column.total_uncompressed_size:
            return f"{column.path_in_schema} has {column.num_values:,} values in fewer bytes"
    return ""


def _item(manifest: Manifest, where: str, values: dict[str, Any]) -> Item:
    try:
        pictures = [values["image"]] if manifest.one_image else values["images"]
        images = tuple(BytesImage(picture["path"] or "", picture["bytes"]) for picture in pictures)
        digests = values["image_sha256"]
        for image, digest in zip(images, digests, strict=True):
            if image.sha256 != digest:
                raise DataError(f"{where}: image {image.name} is not what was published (its SHA-256 differs)")
        texts = {name: value for name, value in values.items() if name not in {"position", "image", "images"}}
        if any(text is None or (isinstance(text, list) and None in text) for text in texts.values()):
            raise ValueError("a text is null")
        return item_of(manifest.kind, {**texts, "facts": as_row(json.loads(texts["facts"]))}, images)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{where}: is damaged ({error}); get the data set again") from error
