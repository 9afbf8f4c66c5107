"""Choice questions in a plain table of one's own: JSONL, JSON, CSV, TSV or Parquet.

Columns: `question`; `options`, a list (in CSV a JSON list), or one column an option (`option_a`, `option_b`, … or
`A`, `B`, …); `answer`, the text of an option, its letter, or its place from 0. Optional: `id`, `subset`, `group` (rows
of a group never teach each other's answers), `image` and `image_1`, `image_2`, … (paths, names, or
the Hub's pixels; rows that share one are a group), `original` (which of several images is no edit, from 0).
"""

from __future__ import annotations

import hashlib
import json
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minchange_eval.audit.table_rows import SUFFIXES, table_rows
from minchange_eval.core.errors import DataError, UsageError
from minchange_eval.core.items import BytesImage, ChoiceQuestion, FileImage, ImageSource
from minchange_eval.data.json_rows import BadRowError, text
from minchange_eval.data.row_paths import file_inside

_IMAGE = re.compile(r"image(_\d+)?")


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
    for number, row in enumerate(table_rows(path), 1):
        try:
            question = _question(row, number, images or path.parent)
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
    images = _images(row, folder)
    facts = {"group": row["group"]} if row.get("group") not in (None, "") else {}
    if row.get("original") not in (None, ""):
        facts["original"] = _place(row["original"], "original", len(images))
    return ChoiceQuestion(
        question_id=str(row["id"]) if row.get("id") not in (None, "") else str(number),
        subset=str(row.get("subset") or ""),
        images=images or (NamedImage(f"of row {number}, none named"),),
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
    return _place(value, "answer", len(options))


def _place(value: Any, field: str, candidates: int) -> int:
    said = value
    if isinstance(said, str) and said.strip().isdecimal() and len(said) < 9:
        said = int(said)
    if isinstance(said, float) and said.is_integer():  # whole numbers of a column in which some are missing
        said = int(said)
    if isinstance(said, bool) or not isinstance(said, int):
        wanted = "an option's text, letter or place" if field == "answer" else "a place"
        raise BadRowError(f"field {field!r}: expected {wanted} from 0, got {value!r:.60}")
    if not 0 <= said < candidates:
        there = f"a place from 0 to {candidates - 1}" if candidates else "no place, for there are no images"
        raise BadRowError(f"field {field!r}: expected {there}, got {said}")
    return said


def _images(row: Mapping[str, Any], folder: Path) -> tuple[ImageSource, ...]:
    names = sorted(filter(_IMAGE.fullmatch, row), key=lambda name: (len(name), name))
    values = [one for name in names for one in (row[name] if isinstance(row[name], list) else [row[name]])]
    return tuple(_image(value, folder) for value in values if value not in (None, ""))


def _image(value: Any, folder: Path) -> ImageSource:
    if isinstance(value, dict):  # the Hub's image column
        if isinstance(value.get("bytes"), bytes):
            return BytesImage(str(value.get("path") or "image"), value["bytes"])
        value = value.get("path")
    if isinstance(value, bytes):
        return BytesImage("image", value)
    if not isinstance(value, str):
        raise BadRowError(f"an image: expected a path, a name or bytes, got {type(value).__name__}")
    try:
        found = None if "://" in value or "\0" in value else file_inside((folder,), value)
    except BadRowError:  # a path on the machine where the table was made
        found = None
    return NamedImage(value) if found is None else FileImage(value, found)
