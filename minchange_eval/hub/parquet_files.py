"""A store as the Parquet files that data/parquet_layout.py describes: streamed, bounded, the same bytes every time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from minchange_eval.core.errors import DataError
from minchange_eval.core.items import ChoiceQuestion, Item
from minchange_eval.data.fingerprint import Fingerprint, item_texts
from minchange_eval.data.parquet_layout import DATA_FOLDER, PushedFile, folders_of, parquet_schema
from minchange_eval.data.store import Store

FILE_BYTES = 256 * 2**20  # of images in one file: what is sent again after a broken connection
GROUP_BYTES = 16 * 2**20  # of images in one row group: bounds the memory of writing, and of the Hub's viewer
GROUP_ROWS = 512
_PAGE_ROWS = 1  # how often the page size is looked at: pages of single images, so that one row can be read by itself


@dataclass(frozen=True)
class Survey:
    """What is known of a store after all of it was read once.

    Attributes:
        rows: subset -> positions of its items in released order.
        choices: subset -> (right ones, candidates) of its queries; several where its items differ.
        one_image: it holds questions about one image each.
    """

    rows: dict[str, list[int]]
    choices: dict[str, set[tuple[int, int]]]
    one_image: bool


def survey(store: Store) -> Survey:
    """Read all of a store: it must be what its card says before anything of it is published.

    Raises:
        DataError: it is damaged, or gives another fingerprint than its card says.
    """
    fingerprint = Fingerprint(over_pixels=store.card.synthetic)
    rows: dict[str, list[int]] = {}
    choices: dict[str, set[tuple[int, int]]] = {}
    one_image = store.card.kind == "questions"
    for position, item in enumerate(store.items()):
        for image in item.images:
            image.read()  # compares with its SHA-256
        fingerprint.add(item)
        rows.setdefault(item.subset, []).append(position)
        of_queries = (len(set(item.answers)), len(item.options)) if isinstance(item, ChoiceQuestion) else (1, item.k)
        choices.setdefault(item.subset, set()).add(of_queries)
        one_image = one_image and isinstance(item, ChoiceQuestion) and len(item.images) == 1
    if fingerprint.hexdigest() != store.card.fingerprint:
        raise DataError(
            f"{store.folder}: expected fingerprint {store.card.fingerprint[:12]}, got {fingerprint.hexdigest()[:12]}; "
            f"re-run: minchange-eval prepare {store.card.name} --force"
        )
    return Survey(rows, choices, one_image)


def write_parquet_files(
    store: Store, surveyed: Survey, folder: Path, *, file_bytes: int = FILE_BYTES
) -> tuple[PushedFile, ...]:
    """Write the items of every subset into `data/<subset>/00000.parquet`, … below a folder.

    Args:
        file_bytes: a file ends after so many bytes of images.

    Raises:
        DataError: the store is damaged or was replaced.
        OSError: a file cannot be written.
    """
    files: list[PushedFile] = []
    for subset, name in folders_of(list(surveyed.rows)).items():
        below = folder / DATA_FOLDER / name
        below.mkdir(parents=True)
        numbered = ((position, store.item(position)) for position in surveyed.rows[subset])
        groups = _groups(_row(*one, one_image=surveyed.one_image) for one in numbered)
        schema = parquet_schema(store.card.kind, one_image=surveyed.one_image)
        for path, rows in _files(groups, schema, below, file_bytes):
            relative, size = path.relative_to(folder).as_posix(), path.stat().st_size
            files.append(PushedFile(path=relative, subset=subset, rows=rows, size_bytes=size, sha256=_digest(path)))
    return tuple(files)


def _files(
    groups: Iterator[tuple[list[dict[str, Any]], int]], schema: Any, folder: Path, file_bytes: int
) -> Iterator[tuple[Path, int]]:
    """Write row groups into numbered files; each file and its number of rows, once it is complete."""
    import pyarrow as pa

    group = next(groups, None)
    for number in count():
        if group is None:
            return
        path, rows, size = folder / f"{number:05d}.parquet", 0, 0
        # a Python file, not pyarrow's own: its errors keep their errno (disk full)
        with path.open("wb") as file, _writer(file, schema) as writer:
            while group is not None and size < file_bytes:
                writer.write_table(pa.Table.from_pylist(group[0], schema=schema))
                rows, size = rows + len(group[0]), size + group[1]
                group = next(groups, None)
        yield path, rows


def _writer(file: BinaryIO, schema: Any) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetWriter(
        file,
        schema,
        compression="snappy",  # every reader of Parquet has it
        use_dictionary=False,  # a value takes room of its own, so that a reader can tell what it unpacks to
        write_statistics=["id", "subset", "position"],  # of image bytes they would be images again
        write_page_index=True,
        write_batch_size=_PAGE_ROWS,
    )


def _groups(rows: Iterable[dict[str, Any]]) -> Iterator[tuple[list[dict[str, Any]], int]]:
    """Row groups with the bytes of their images; a cut depends on the rows alone, so it never moves."""
    group: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        group.append(row)
        size += sum(len(image["bytes"]) for image in row.get("images") or [row["image"]])
        if size >= GROUP_BYTES or len(group) >= GROUP_ROWS:
            yield group, size
            group, size = [], 0
    if group:
        yield group, size


def _row(position: int, item: Item, *, one_image: bool) -> dict[str, Any]:
    texts = item_texts(item)
    texts["facts"] = json.dumps(texts["facts"], ensure_ascii=False)
    images = [{"bytes": image.read(), "path": image.name} for image in item.images]
    shown: dict[str, Any] = {"image": images[0]} if one_image else {"images": images}
    return {"position": position, **texts, **shown, "image_sha256": [image.sha256 for image in item.images]}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
