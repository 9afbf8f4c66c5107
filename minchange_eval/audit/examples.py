"""Rows of training or evaluation data: which captions are said of which images, wherever the data comes from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from minchange_eval.audit.table_rows import JSON_SUFFIXES, SUFFIXES, table_rows
from minchange_eval.core.errors import DataError, UsageError
from minchange_eval.core.items import BytesImage, CandidateSet, FileImage, ImageSource, Item, item_id
from minchange_eval.core.queries import option_text
from minchange_eval.data.json_rows import BadRowError
from minchange_eval.data.row_paths import file_inside
from minchange_eval.data.store import Store

Image = ImageSource | str  # a picture, or only its name or address where the picture is not at hand


@dataclass(frozen=True)
class Part:
    """Captions that are said of images; either may be empty."""

    images: tuple[Image, ...]
    captions: tuple[str, ...]


@dataclass(frozen=True)
class Example:
    """One row: a training example, a candidate set or a question."""

    example_id: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Columns:
    """Columns of a file that were asked for by name; None takes the usual name (`image`, `caption`, `id`), if there.

    Several columns of one kind are read one after the other.

    Attributes:
        image: path, address, bytes, or the Hub's {bytes, path}; or lists of them.
        caption: a text or a list of texts. As many captions as images belong together one by one; otherwise every
            caption is said of every image of the row.
        example_id: a text or number; where a file has none, the row number from 0 stands for it and is not compared.
    """

    image: tuple[str, ...] | None = None
    caption: tuple[str, ...] | None = None
    example_id: str | None = None

    @classmethod
    def asked_for(cls, image: str | None, caption: str | None, example_id: str | None) -> Columns:
        """From flags, names separated by commas."""
        return cls(
            None if image is None else tuple(image.split(",")),
            None if caption is None else tuple(caption.split(",")),
            example_id,
        )

    def of(self, path: Path, there: Collection[str]) -> _Present:
        """What of them a file has.

        Raises:
            DataError: one that was asked for is missing, or there is neither image nor caption.
        """
        wanted = [*(self.image or ()), *(self.caption or ()), *([self.example_id] if self.example_id else [])]
        listed = ", ".join(map(repr, there))
        if missing := [name for name in wanted if name not in there]:
            raise DataError(f"{path}: has no column {missing[0]!r}; it has {listed}")
        image, caption = (
            asked if asked is not None else (usual,) if usual in there else ()
            for asked, usual in ((self.image, "image"), (self.caption, "caption"))
        )
        if not image and not caption:
            raise DataError(
                f"{path}: expected a column 'image' or 'caption', got {listed or 'none'}; "
                "name them with --image-column and --caption-column"
            )
        return _Present(image, caption, self.example_id or ("id" if "id" in there else None))


@dataclass(frozen=True)
class _Present:
    image: tuple[str, ...]
    caption: tuple[str, ...]
    example_id: str | None

    @property
    def all(self) -> tuple[str, ...]:
        return (*self.image, *self.caption, *([self.example_id] if self.example_id else []))


@dataclass(frozen=True)
class ExampleSource:
    """Examples that can be gone through once or more.

    Attributes:
        name: as the user calls them.
        rows: how many; None where that is not known without reading.
        own_ids: whether the ids mean something beside the place of the row.
        read: yields them in their order.
    """

    name: str
    rows: int | None
    own_ids: bool
    read: Callable[[], Iterator[Example]]


def examples(source: str, columns: Columns | None = None, images: Path | None = None) -> ExampleSource:
    """The examples of a prepared data set or of a file.

    Args:
        source: name of a prepared data set, or path of a JSONL, JSON, CSV, TSV or Parquet file.
        columns: of a file; None takes `image`, `caption` and `id`, as far as they are there.
        images: folder below which the files named in the image column are looked for, by default the file's own.

    Raises:
        UsageError: no such file, or flags for files with a prepared data set.
        NotPreparedError: no such data set.
        DataError: the file cannot be read or lacks the columns.
    """
    path = Path(source)
    if path.suffix.lower() in SUFFIXES:
        if not path.is_file():
            raise UsageError(f"{source}: there is no such file")
        return _of_file(path, columns, images or path.parent)
    if path.exists() and not path.is_dir():
        raise UsageError(f"{source}: expected a file of {', '.join(SUFFIXES)}, or the name of a prepared data set")
    return examples_of(Store.open(source))


def examples_of(store: Store) -> ExampleSource:
    """The items of a prepared data set: a set's captions belong to their images, a question's texts to all of its."""
    return ExampleSource(store.card.name, len(store), True, lambda: map(_of_item, store.items()))


def _of_item(item: Item) -> Example:
    if isinstance(item, CandidateSet):
        texts = [tuple(dict.fromkeys(pair)) for pair in zip(item.captions, item.query_captions, strict=True)]
        parts = tuple(Part((image,), captions) for image, captions in zip(item.images, texts, strict=True))
    else:
        options = [] if set(item.options) == {"false", "true"} else [option_text(option) for option in item.options]
        parts = (Part(item.images, tuple(dict.fromkeys([item.question, *options]))),)
    return Example(item_id(item), parts)


def _of_file(path: Path, columns: Columns | None, images: Path) -> ExampleSource:
    present = (columns or Columns()).of(path, _columns(path))

    def read() -> Iterator[Example]:
        for number, row in enumerate(table_rows(path, present.all)):
            try:
                yield _of_row(row, number, present, images)
            except BadRowError as error:
                raise DataError(f"{path} row {number + 1}: {error}; mend or remove it") from error

    return ExampleSource(str(path), None, present.example_id is not None, read)


def _columns(path: Path) -> list[str]:
    """Of a JSON file those that any row has: the first of many trainers' rows is text alone."""
    rows = table_rows(path)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{path}: expected at least one row, got none")
    more = rows if path.suffix.lower() in JSON_SUFFIXES else ()
    return list(dict.fromkeys(name for row in chain([first], more) for name in row))


def _of_row(row: Mapping[str, Any], number: int, columns: _Present, folder: Path) -> Example:
    values = [value for name in columns.image for value in _values(row, name) if not _is_nothing(value)]
    images = [_image(value, number, folder) for value in values]
    captions = [_caption(value, name) for name in columns.caption for value in _values(row, name)]
    example_id = number if columns.example_id is None else row.get(columns.example_id)
    if not isinstance(example_id, str | int) or example_id == "":
        raise BadRowError(f"field {columns.example_id!r}: expected a text or a whole number, got {example_id!r}")
    if len(images) == len(captions) > 1:
        parts = tuple(Part((image,), (caption,)) for image, caption in zip(images, captions, strict=True))
    else:
        parts = (Part(tuple(images), tuple(captions)),)
    return Example(str(example_id), parts)


def _values(row: Mapping[str, Any], name: str) -> list[Any]:
    value = row.get(name)
    return [one for one in value if one is not None] if isinstance(value, list) else [] if value is None else [value]


def _caption(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise BadRowError(f"field {name!r}: expected a text, got {type(value).__name__}")
    return value


def _is_nothing(value: Any) -> bool:
    """How tables write that a row has no image: an empty text, or the Hub's column without bytes and path."""
    return value == "" or (isinstance(value, dict) and not (value.get("bytes") or value.get("path")))


def _image(value: Any, number: int, folder: Path) -> Image:
    if isinstance(value, dict):  # the Hub's image column
        name = value.get("path") or f"row {number}"
        value = value.get("bytes") or name
        if isinstance(value, bytes):
            return BytesImage(str(name), value)
    if isinstance(value, bytes):
        return BytesImage(f"row {number}", value)
    if isinstance(value, int) and not isinstance(value, bool):  # COCO's and Visual Genome's ids
        return str(value)
    if not isinstance(value, str):
        raise BadRowError(f"an image: expected a path, an address or bytes, got {type(value).__name__}")
    return _file_or_name(value, folder)


def _file_or_name(name: str, folder: Path) -> Image:
    try:
        path = file_inside((folder,), name) if "://" not in name and "\0" not in name else None
    except BadRowError:  # an absolute path of the machine where the file was made: only its name means something here
        path = None
    return name if path is None else FileImage(name, path)
