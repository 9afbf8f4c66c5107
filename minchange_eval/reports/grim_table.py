"""Any table of printed percentages put to the GRIM test, with line numbers for what is wrong in it."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path

from minchange_eval.core.errors import DataError
from minchange_eval.core.grim import Attainability, by_one_rule, grim, grim_mean

REQUIRED = ("value", "n")
OPTIONAL = ("decimals", "label", "group")
_MOST_DECIMALS = 12  # more are a number that was computed, not printed
_MOST_ITEMS = 10**12
_MOST_SHARES = 1000


@dataclass(frozen=True)
class TableRow:
    """One line of the table.

    Attributes:
        line: its number in the file.
        printed: the value as it stands there.
        sizes: `n`, several for the mean of several shares (`13+16+14`).
        decimals: of the percentage, as given or as printed.
        label: as given.
        group: rows of one group were printed by one rounding rule; empty for a row alone.
    """

    line: int
    printed: str
    value: Decimal
    sizes: tuple[int, ...]
    decimals: int
    label: str
    group: str


@dataclass(frozen=True)
class GrimRow:
    """A line and what the test says of it."""

    row: TableRow
    result: Attainability


def grim_rows(path: Path, *, fractions: bool = False) -> tuple[GrimRow, ...]:
    """Every line of a CSV file, tested; values of one group by one rounding rule.

    Args:
        path: CSV with a header, UTF-8; columns `value` and `n`, and if wanted `decimals`, `label` and `group`.
        fractions: values are printed as shares of 1 (`.425`), not as percentages.

    Raises:
        DataError: the file cannot be read, lacks a column, has no lines, or a line is wrong; the message names it.
    """
    lines = [GrimRow(row, _test(path, row)) for row in _rows(path, fractions)]
    if not lines:
        raise DataError(f"{path}: expected lines below the header, got none")
    groups: dict[str, list[int]] = {}
    for place, line in enumerate(lines):
        groups.setdefault(line.row.group or f"\0{place}", []).append(place)
    for places in groups.values():
        results = by_one_rule([lines[place].result for place in places]) if len(places) > 1 else ()
        for place, result in zip(places, results, strict=False):
            lines[place] = replace(lines[place], result=result)
    return tuple(lines)


def _rows(path: Path, fractions: bool) -> Iterator[TableRow]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True, skipinitialspace=True)
            _check_head(path, [name.strip() for name in reader.fieldnames or ()])
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            for fields in reader:
                if None in fields or None in fields.values():
                    raise DataError(
                        f"{path} line {reader.line_num}: expected {len(reader.fieldnames)} fields, as in the header; "
                        "quote values that hold commas"
                    )
                yield _row(path, reader.line_num, fields, fractions)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected CSV in UTF-8, got other bytes ({error.reason})") from error
    except csv.Error as error:
        raise DataError(f"{path} near line {reader.line_num}: not CSV ({error})") from error


def _check_head(path: Path, names: Sequence[str]) -> None:
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise DataError(
            f"{path} line 1: expected a header with the columns {', '.join(REQUIRED)} (and, if wanted, "
            f"{', '.join(OPTIONAL)}), got {', '.join(names)[:80] or 'nothing'}"
        )
    twice = sorted({name for name in names if name in (*REQUIRED, *OPTIONAL) and names.count(name) > 1})
    if twice:
        raise DataError(f"{path} line 1: expected each column once, got {', '.join(twice)} twice")


def _row(path: Path, line: int, fields: Mapping[str, str], fractions: bool) -> TableRow:
    where = f"{path} line {line}"
    printed = fields["value"].strip()
    value = _number(where, printed.removesuffix("%").rstrip()) * (100 if fractions else 1)
    if not 0 <= value <= 100:
        expected = "a share from 0 to 1" if fractions else "a percentage from 0 to 100"
        raise DataError(f"{where}: expected {expected} as value, got {printed[:40]}")
    as_printed = max(0, len(printed.removesuffix("%").rstrip().partition(".")[2]) - 2 * fractions)
    given = fields.get("decimals", "").strip()
    decimals = _whole(where, "decimals", given, 0, _MOST_DECIMALS) if given else as_printed
    if not given and decimals > _MOST_DECIMALS:
        raise DataError(f"{where}: expected at most {_MOST_DECIMALS} decimals, got value {printed[:40]}")
    if value % (Decimal(1).scaleb(-decimals)):
        raise DataError(
            f"{where}: expected a value of {decimals} decimals, as column decimals says, got {printed[:40]}"
        )
    sizes = tuple(_whole(where, "n", one, 1, _MOST_ITEMS) for one in fields["n"].split("+", maxsplit=_MOST_SHARES))
    return TableRow(
        line, printed, value, sizes, decimals, fields.get("label", "").strip(), fields.get("group", "").strip()
    )


def _number(where: str, text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    # 1e3 is no number that a paper prints, and how many decimals it has is not said
    if not number.is_finite() or not set(text) <= set("+-.0123456789"):
        raise DataError(f"{where}: expected a number as value, got {text[:40]!r}")
    return number


def _whole(where: str, name: str, text: str, least: int, most: int) -> int:
    cleaned = text.strip()
    if not (
        cleaned.isascii() and cleaned.isdigit() and len(cleaned) <= len(str(most)) and least <= int(cleaned) <= most
    ):
        raise DataError(f"{where}: expected a whole number from {least} to {most} as {name}, got {text[:40]!r}")
    return int(cleaned)


def _test(path: Path, row: TableRow) -> Attainability:
    try:
        if len(row.sizes) == 1:
            return grim(row.value, row.sizes[0], row.decimals)
        return grim_mean(row.value, row.sizes, row.decimals)
    except ValueError as error:
        raise DataError(f"{path} line {row.line}: {error}") from error
