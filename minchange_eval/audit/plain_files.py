"""Choice questions in a plain table of one's own: JSONL, CSV or Parquet.

Columns: `question`; `options`, a list (in CSV a JSON list), or one column an option (`option_a`, `option_b`, … or
`A`, `B`, …); `answer`, the text of an option, its letter, or its place from 0. Optional: `id`, `subset`, `group` (rows
of a group never teach each other's answers), `image` and `image_1`, `image_2`, … (paths or names; rows that share one
are a group), `original` (which of several images is no edit, from 0).
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import string
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minchange_eval.core.errors import DataError, UsageError
from minchange_eval.core.items import ChoiceQuestion, FileImage, ImageSource
from minchange_eval.data.json_rows import BadRowError, as_row, json_lines, text
from minchange_eval.data.row_paths import file_inside

SUFFIXES = (".jsonl", ".csv", ".parquet")
_IMAGE = re.compile(r"image(_\d+)?")
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class NamedImage:
    """An image that is not at hand: its name is all that is known, and enough to see which rows share it."""

    name: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(f"name {self.name}".encode()).hexdigest()

    def read(self) -> bytes:
        raise DataError(f"image {self.name}: is not at hand; name the folder of the images with --images")


def questions_of_file(path: Path, images: Path | None = None) -> list[ChoiceQuestion]:
    """The questions of a file, in their order; ids are those of the file, or row numbers from 1.

    Args:
        images: folder of the images that the rows name; by default the file's own.

    Raises:
        UsageError: no such file, or one of another kind.
        DataError: a row that is no choice question, with its number; no rows; an id that stands twice.
    """
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file")
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: expected a file of {', '.join(SUFFIXES)}; save the questions as one of them")
    questions: dict[str, ChoiceQuestion] = {}
    for number, row in enumerate(_rows(path), 1):
        try:
            question = _question(as_row(row), number, images or path.parent)
        except (BadRowError, ValueError) as error:
            raise DataError(f"{path} row {number}: {error}; mend the row") from error
        if question.question_id in questions:
            raise DataError(f"{path} row {number}: id {question.question_id!r} stands twice; make ids unique")
        questions[question.question_id] = question
    if not questions:
        raise DataError(f"{path}: expected rows with question, options and answer, got none")
    return list(questions.values())


def _question(row: Mapping[str, Any], number: int, folder: Path) -> ChoiceQuestion:
    options = _options(row)
    facts = {name: row[name] for name in ("group", "original") if row.get(name) not in (None, "")}
    if "original" in facts:
        facts["original"] = _place(facts["original"], "original")
    return ChoiceQuestion(
        question_id=str(row["id"]) if row.get("id") not in (None, "") else str(number),
        subset=str(row.get("subset") or ""),
        images=_images(row, folder) or (NamedImage(f"of row {number}, none named"),),
        question=text(row, "question") if row.get("question") else "",
        options=options,
        answers=(_answer(row.get("answer"), options),),
        facts=facts,
    )


def _options(row: Mapping[str, Any]) -> tuple[str, ...]:
    value = row.get("options")
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise BadRowError(f"field 'options': expected a JSON list, got {value[:40]!r}") from error
    if value is None:
        value = _apart(row)
    if not isinstance(value, list) or len(value) < 2 or not all(isinstance(one, str) and one.strip() for one in value):
        raise BadRowError("field 'options': expected a list of at least 2 texts, or columns option_a, option_b, …")
    return tuple(value)


def _apart(row: Mapping[str, Any]) -> list[Any]:
    lower = {name.lower(): value for name, value in row.items() if value not in (None, "")}
    for form in ("option_{}", "{}"):
        names = [form.format(letter) for letter in string.ascii_lowercase]
        if names[0] in lower:
            return [lower[name] for name in names if name in lower]
    return []


def _answer(value: Any, options: tuple[str, ...]) -> int:
    """A text is an option's own words before it is its letter, and its letter before it is a number."""
    if isinstance(value, str):
        said = value.strip()
        if said in (stripped := [option.strip() for option in options]):
            return stripped.index(said)
        letter = said.strip("().").upper()
        if len(letter) == 1 and letter in string.ascii_uppercase[: len(options)]:
            return string.ascii_uppercase.index(letter)
    place = _place(value, "answer")
    if not 0 <= place < len(options):
        raise BadRowError(f"field 'answer': expected a place from 0 to {len(options) - 1}, got {place}")
    return place


def _place(value: Any, field: str) -> int:
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 9:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRowError(f"field {field!r}: expected an option's text, letter or place from 0, got {value!r:.60}")
    return value


def _images(row: Mapping[str, Any], folder: Path) -> tuple[ImageSource, ...]:
    names = [name for name in row if _IMAGE.fullmatch(name) and row[name] not in (None, "")]
    values = [row[name] for name in sorted(names, key=lambda name: (len(name), name))]
    return tuple(_image(one, folder) for value in values for one in (value if isinstance(value, list) else [value]))


def _image(value: Any, folder: Path) -> ImageSource:
    if not isinstance(value, str):
        raise BadRowError(f"an image: expected a path or a name, got {type(value).__name__}")
    try:
        found = None if "://" in value or "\0" in value else file_inside((folder,), value)
    except BadRowError:  # a path on the machine where the table was made
        found = None
    return NamedImage(value) if found is None else FileImage(value, found)


def _rows(path: Path) -> Iterator[Any]:
    try:
        if path.suffix.lower() == ".parquet":
            yield from _parquet_rows(path)
        elif path.suffix.lower() == ".csv":
            yield from _csv_rows(path)
        else:
            yield from json_lines(path.read_bytes(), str(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _csv_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # csv's own limit is 128 kB
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            for row in reader:
                if None in row or None in row.values():
                    raise DataError(f"{path} line {reader.line_num}: expected {len(reader.fieldnames or ())} fields")
                yield row
    except csv.Error as error:
        raise DataError(f"{path}: is no CSV ({error})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected UTF-8, got byte {error.object[error.start]:#04x}") from error
    finally:
        csv.field_size_limit(before)


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_ROWS_AT_ONCE):
                yield from batch.to_pylist()
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"{path}: is no Parquet file, or is damaged ({str(error).splitlines()[0]})") from error
