"""Items to Arrow IPC stream files and back; the layout is described in docs/formats.md.

Writing holds one record batch in memory. Reading maps the file: texts are read from the map when asked for, image
bytes are not touched until one image is, and do not stay. Imported lazily, because it loads pyarrow.
"""

from __future__ import annotations

import json
import mmap
import os
from bisect import bisect_right
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from minchange_eval.core.errors import DataError
from minchange_eval.core.items import CandidateSet, Item
from minchange_eval.data.fingerprint import item_texts
from minchange_eval.data.release import Kind
from minchange_eval.data.store_card import StoredFile

BATCH_BYTES = 16 * 2**20  # pixels of one record batch: bounds the memory of writing, and of a reader that copies
BATCH_ROWS = 512
FILE_BYTES = 512 * 2**20  # as the Hub's own shards
LET_GO_AFTER_BYTES = 64 * 2**20  # of images read: the pages of one file that a reader holds at most

_INDICES = pa.list_(pa.int32())
_IMAGES = pa.list_(pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())]))
_FIRST = [
    ("id", pa.string()),
    ("subset", pa.string()),
    ("images", _IMAGES),
    ("image_sha256", pa.list_(pa.string())),
]
_COLUMNS: dict[str, list[tuple[str, Any]]] = {
    "sets": [
        *_FIRST,
        ("captions", pa.list_(pa.string())),
        ("query_captions", pa.list_(pa.string())),
        ("image_to_text", pa.list_(_INDICES)),
        ("text_to_image", pa.list_(_INDICES)),
        ("facts", pa.string()),
    ],
    "questions": [
        *_FIRST,
        ("question", pa.string()),
        ("options", pa.list_(pa.string())),
        ("answers", _INDICES),
        ("facts", pa.string()),
    ],
}


def schema_of(kind: Kind) -> Any:
    """Arrow schema of one kind of item, with the note that lets `datasets` decode the image column."""
    features = {name: _feature(name, kind_of_value) for name, kind_of_value in _COLUMNS[kind]}
    note = json.dumps({"info": {"features": features}})
    return pa.schema(_COLUMNS[kind], metadata={"huggingface": note})


def _feature(name: str, value: Any) -> dict[str, Any]:
    if name == "images":
        return {"feature": {"_type": "Image"}, "_type": "Sequence"}
    if pa.types.is_list(value):
        return {"feature": _feature("", value.value_type), "_type": "Sequence"}
    return {"dtype": str(value), "_type": "Value"}


class ArrowWriter:
    """Writes items into `<prefix>-00000.arrow`, `<prefix>-00001.arrow`, … of a folder.

    Leaving the `with` block ends and syncs the last file.
    """

    def __init__(self, folder: Path, prefix: str, kind: Kind) -> None:
        self.files: list[StoredFile] = []
        self.image_bytes = 0
        self._folder, self._prefix, self._kind = folder, prefix, kind
        self._schema = schema_of(kind)
        self._rows: list[dict[str, Any]] = []
        self._row_bytes = 0
        self._file_rows = 0
        self._file: Any = None
        self._stream: Any = None

    def __enter__(self) -> ArrowWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._write_batch()
            self._end_file()
        elif self._file is not None:
            self._file.close()

    def add(self, item: Item) -> None:
        """Append one item; its images are read here, once."""
        texts = item_texts(item)
        texts["facts"] = json.dumps(texts["facts"], ensure_ascii=False)
        images = [{"bytes": image.read(), "path": image.name} for image in item.images]
        self._rows.append({**texts, "images": images, "image_sha256": [image.sha256 for image in item.images]})
        size = sum(len(image["bytes"]) for image in images)
        self.image_bytes += size
        self._row_bytes += size
        if self._row_bytes >= BATCH_BYTES or len(self._rows) >= BATCH_ROWS:
            self._write_batch()
            if self._file.tell() >= FILE_BYTES:
                self._end_file()

    def _write_batch(self) -> None:
        if self._file is None:
            # a Python file, not pyarrow's own: its errors keep their errno (disk full), and it can be synced
            self._file = (self._folder / f"{self._prefix}-{len(self.files):05d}.arrow").open("wb")
            self._stream = pa.ipc.new_stream(self._file, self._schema)
        if self._rows:
            self._stream.write_batch(pa.RecordBatch.from_pylist(self._rows, schema=self._schema))
            self._file_rows += len(self._rows)
        self._rows, self._row_bytes = [], 0

    def _end_file(self) -> None:
        if self._file is None:
            return
        self._stream.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        path = Path(self._file.name)
        self.files.append(StoredFile(name=path.name, rows=self._file_rows, size_bytes=self._file.tell()))
        self._file.close()
        self._file, self._stream, self._file_rows = None, None, 0


class MappedFile:
    """One Arrow file, memory-mapped.

    Raises:
        DataError: it is cut off or damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._batches = pa.ipc.open_stream(pa.py_buffer(self._map)).read_all().to_batches()
        except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
            raise DataError(_damaged(path, error)) from error
        self._read_bytes = 0
        self._starts: list[int] = []
        rows = 0
        for batch in self._batches:
            self._starts.append(rows)
            rows += batch.num_rows
        self.rows = rows

    def subsets(self) -> list[str]:
        """The subset of every row."""
        try:
            return [subset for batch in self._batches for subset in batch.column("subset").to_pylist()]
        except (pa.ArrowException, UnicodeDecodeError, KeyError) as error:
            raise DataError(_damaged(self._path, error)) from error

    def texts(self, row: int) -> dict[str, Any]:
        """Everything of a row but its pixels; `image_names` holds the released names."""
        batch, place = self._place(row)
        try:
            values = {name: batch.column(name)[place].as_py() for name in batch.schema.names if name != "images"}
            start, end = self._image_span(batch, place)
            values["image_names"] = batch.column("images").values.field("path")[start:end].to_pylist()
            values["facts"] = json.loads(values["facts"])
        except (pa.ArrowException, ValueError, KeyError, TypeError) as error:
            raise DataError(_damaged(self._path, error)) from error
        return values

    def image_bytes(self, row: int, index: int) -> bytes:
        """The released bytes of one image of a row."""
        batch, place = self._place(row)
        try:
            start, _ = self._image_span(batch, place)
            data: bytes = batch.column("images").values.field("bytes")[start + index].as_py()
        except (pa.ArrowException, IndexError, KeyError) as error:
            raise DataError(_damaged(self._path, error)) from error
        self._let_go(len(data))
        return data

    def _let_go(self, read_bytes: int) -> None:
        """Drop pages that were read: they would count as this process's memory until all of the file is in it."""
        self._read_bytes += read_bytes  # loader threads may miss a few bytes of each other's, which does not matter
        if self._read_bytes >= LET_GO_AFTER_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            self._read_bytes = 0
            self._map.madvise(mmap.MADV_DONTNEED)  # another reader of a page gets it again from the kernel's cache

    def _place(self, row: int) -> tuple[Any, int]:
        batch = bisect_right(self._starts, row) - 1
        return self._batches[batch], row - self._starts[batch]

    @staticmethod
    def _image_span(batch: Any, place: int) -> tuple[int, int]:
        offsets = batch.column("images").offsets
        return offsets[place].as_py(), offsets[place + 1].as_py()


def _damaged(path: Path, error: Exception) -> str:
    first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"{path}: is cut off or damaged ({first_line}); re-run: minchange-eval prepare {path.parent.name} --force"


def kind_of(item: Item) -> Kind:
    """The kind of store that an item belongs into."""
    return "sets" if isinstance(item, CandidateSet) else "questions"
