"""Rows of a release's JSON: shape and types checked where they are read, with a reason that a person can act on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from minchange_eval.core.errors import DataError


class BadRowError(ValueError):
    """Why a row makes no item; becomes a `BrokenRow`."""


def json_list(data: bytes, where: str) -> list[Any]:
    """The rows of a JSON list, or of the list under `results`, which some of the authors' tools write.

    Raises:
        DataError: not UTF-8, no JSON, or no list.
    """
    value = _parsed(data, where)
    if isinstance(value, dict) and isinstance(value.get("results"), list):
        value = value["results"]
    if not isinstance(value, list):
        raise DataError(
            f"{where}: expected a JSON list of rows, got {_kind(value)}; check that it is the released file"
        )
    return value


def json_lines(data: bytes, where: str) -> list[Any]:
    """The rows of a file with one JSON value a line; blank lines do not count.

    Raises:
        DataError: not UTF-8, or a line that is no JSON.
    """
    return [_parsed(line, f"{where} line {number}") for number, line in enumerate(data.splitlines(), 1) if line.strip()]


def _parsed(data: bytes, where: str) -> Any:
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: expected UTF-8, got byte {data[error.start]:#04x} at {error.start}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a bare ValueError
        raise DataError(f"{where}: is no JSON ({error}); get the file again") from error


def as_row(row: Any) -> Mapping[str, Any]:
    """A row that is a JSON object whose texts can be stored.

    Raises:
        BadRowError: it is something else, or half a character (a lone surrogate, `"\\ud83d"`) stands in it.
    """
    if not isinstance(row, dict):
        raise BadRowError(f"expected an object, got {_kind(row)}")
    for field, value in row.items():
        try:
            json.dumps({field: value}, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = ascii(error.object[error.start])
            raise BadRowError(f"field {field!r}: expected text, got half a character {half}") from error
    return row


def text(row: Mapping[str, Any], field: str) -> str:
    """A text field; empty texts are judged later, for every release alike.

    Raises:
        BadRowError: it is missing or no text.
    """
    value = row.get(field)
    if not isinstance(value, str):
        raise BadRowError(f"field {field!r}: expected a text, got {_kind(value) if field in row else 'nothing'}")
    return value


def texts(row: Mapping[str, Any], field: str) -> tuple[str, ...]:
    """A field that is a list of texts.

    Raises:
        BadRowError: it is missing or something else.
    """
    value = row.get(field)
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise BadRowError(
            f"field {field!r}: expected a list of texts, got {_kind(value) if field in row else 'nothing'}"
        )
    return tuple(value)


def label(row: Mapping[str, Any], field: str, candidates: int) -> int:
    """A field that is an index into the candidates.

    Raises:
        BadRowError: missing, no whole number, or out of range.
    """
    value = row.get(field)
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadRowError(
            f"field {field!r}: expected a whole number, got {_kind(value) if field in row else 'nothing'}"
        )
    if not 0 <= value < candidates:
        raise BadRowError(f"field {field!r}: expected 0..{candidates - 1}, got {value}")
    return value


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), f"the number {value!r}" if isinstance(value, int | float) else type(value).__name__)
