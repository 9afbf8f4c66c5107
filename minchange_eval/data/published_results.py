"""Numbers that others have published on minimal-change benchmarks, as printed, each with its source.

Package data: `published/<benchmark>.csv` for the benchmarks with a card here, `published/elsewhere/<paper>.csv` for
what the same papers and pages say of other benchmarks. Values stand as printed, so that their decimals are known.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from minchange_eval.core.errors import DataError, UsageError

FOLDER = Path(__file__).parent / "published"
Role = Literal["model", "human", "chance", "blind"]
Unit = Literal["percent", "fraction", "score"]
COLUMNS = (
    *("model", "benchmark", "subset", "metric", "value", "unit", "role"),
    *("source", "note", "published_subset", "published_metric"),
)
# How the whole of a benchmark is named in the files: the mean of its subsets, or all of its items.
_WHOLE = ("mean", "all")


@dataclass(frozen=True)
class PublishedRow:
    """One published number.

    Attributes:
        model: as the source names it.
        benchmark: our name where there is a card (`spec`, `vismin`, `med`, `med_real`, `vsr`), else a name like it.
        subset: the card's name of the subset; empty for the whole, as in `core.metrics.MetricValue`.
        metric: our name where we have that metric, else as published (`cls_accuracy`, `score_max200`).
        printed: the value as printed, in the source's own unit.
        unit: `percent`, `fraction` or `score` (no share of anything, or of an unknown maximum).
        role: `model`; `human`; `chance`; `blind` (a rule or a model that sees no image).
        source: paper and table, page or file.
        note: what a reader must know of this number; mostly empty.
        published_subset, published_metric: as the source says.
    """

    model: str
    benchmark: str
    subset: str
    metric: str
    printed: str
    unit: Unit
    role: Role
    source: str
    note: str
    published_subset: str
    published_metric: str

    @property
    def exact(self) -> Decimal:
        """The value in percent, as printed; a score in its own unit."""
        return Decimal(self.printed) * (100 if self.unit == "fraction" else 1)

    @property
    def value(self) -> float:
        """The value in percent; a score in its own unit."""
        return float(self.exact)

    @property
    def decimals(self) -> int:
        """Decimals of the value in percent, as printed: 1 for 42.5, 0 for .72."""
        return max(0, len(self.printed.partition(".")[2]) - (2 if self.unit == "fraction" else 0))

    @property
    def approximate(self) -> bool:
        """Whether the value was read off a chart."""
        return "approx" in f"{self.note} {self.source}".lower()


def published_rows(benchmark: str) -> tuple[PublishedRow, ...]:
    """Every published number on one benchmark, in the order of its source.

    Raises:
        UsageError: nothing is published on it here; the message names what is.
    """
    rows = _all_rows().get(benchmark)
    if rows is None:
        raise UsageError(
            f"no published results of {benchmark!r} are known here; there are {', '.join(published_benchmarks())}"
        )
    return rows


def published_benchmarks() -> tuple[str, ...]:
    """Names of the benchmarks with published numbers: those with a card here first, then the others, each sorted."""
    own = {path.stem for path in FOLDER.glob("*.csv")}
    return tuple(sorted(_all_rows(), key=lambda name: (name not in own, name)))


@cache
def _all_rows() -> dict[str, tuple[PublishedRow, ...]]:
    rows: dict[str, list[PublishedRow]] = {}
    for path in (*sorted(FOLDER.glob("*.csv")), *sorted((FOLDER / "elsewhere").glob("*.csv"))):
        for row in _rows_of(path):
            rows.setdefault(row.benchmark, []).append(row)
    return {benchmark: tuple(of) for benchmark, of in rows.items()}


def _rows_of(path: Path) -> Iterator[PublishedRow]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise DataError(f"{path}: expected the columns {', '.join(COLUMNS)}; install minchange-eval again")
        for row in reader:
            if row["role"] not in get_args(Role) or row["unit"] not in get_args(Unit):
                raise DataError(f"{path} line {reader.line_num}: no such role or unit: {row['role']}, {row['unit']}")
            subset = "" if row["subset"] in _WHOLE else row["subset"]
            yield PublishedRow(printed=row.pop("value"), **{**row, "subset": subset})  # type: ignore[arg-type]
